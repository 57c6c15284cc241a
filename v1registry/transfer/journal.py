"""What a migration has done already, so that the next run goes on where it was stopped.

A text file of one JSON object a line, only ever appended to; a line that a kill
cut off is ignored. It is a hint that saves requests: what it says of tags is
held against the store, and what is lost is done again.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from pathlib import Path
from typing import Any, TextIO

from v1registry.transfer.errors import TransferError

_FORM = 1


class Journal:
    """Open it with `open`; `None` as path keeps it in memory alone."""

    def __init__(self, path: Path | None, target: str) -> None:
        """Read what is there. Raise TransferError for a journal of another migration."""
        self._path = path
        self._lock = threading.Lock()
        self._blobs: dict[str, list[str]] = {}  # digest -> repositories that have it
        self._uploads: dict[tuple[str, str], str] = {}  # (repository, digest) -> location
        self._tags: dict[tuple[str, str], tuple[str, str]] = {}  # -> (v1 id, manifest digest)
        self._file: TextIO | None = None
        if path is not None:
            self._file = _opened(path)
            try:
                self._read(self._file, path, target)
            except BaseException:
                self.close()
                raise

    @property
    def is_resumed(self) -> bool:
        """Whether another run wrote something here."""
        return bool(self._blobs or self._tags or self._uploads)

    def repositories_with(self, digest: str) -> list[str]:
        """The repositories over there that have the blob."""
        with self._lock:
            return list(self._blobs.get(digest, ()))

    def upload(self, repository: str, digest: str) -> str | None:
        """Where an upload of the blob was under way, or None."""
        with self._lock:
            return self._uploads.get((repository, digest))

    def tag(self, repository: str, tag: str) -> tuple[str, str] | None:
        """The v1 id and the digest of the manifest that was put there, or None."""
        with self._lock:
            return self._tags.get((repository, tag))

    def note_upload(self, repository: str, digest: str, location: str) -> None:
        self._write({"upload": digest, "repository": repository, "location": location})

    def note_blob(self, repository: str, digest: str) -> None:
        self._write({"blob": digest, "repository": repository})

    def note_tag(self, repository: str, tag: str, image_id: str, digest: str) -> None:
        self._write({"tag": tag, "repository": repository, "image": image_id, "manifest": digest})

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _read(self, file: TextIO, path: Path, target: str) -> None:
        file.seek(0)
        lines = file.read().splitlines()
        head = _parse(lines[0]) if lines else {}
        if len(lines) < 2 and not head:  # new, or killed within its first line
            file.truncate(0)
            self._append({"v1registry-journal": _FORM, "to": target})
            return
        if head.get("v1registry-journal") != _FORM:
            raise TransferError(f"{path} is no journal of a migration")
        if head.get("to") != target:
            raise TransferError(
                f"{path} is the journal of a migration to {head.get('to')}:"
                " name another with --journal"
            )
        for line in lines[1:]:
            self._take(_parse(line))
        file.write("\n")  # ends a line that was cut off

    def _write(self, line: dict[str, Any]) -> None:
        with self._lock:
            self._take(line)
            self._append(line)

    def _append(self, line: dict[str, Any]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(line, sort_keys=True) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())

    def _take(self, line: dict[str, Any]) -> None:
        repository = line.get("repository")
        if not isinstance(repository, str):
            return
        if isinstance(digest := line.get("blob"), str):
            known = self._blobs.setdefault(digest, [])
            if repository not in known:
                known.append(repository)
            self._uploads.pop((repository, digest), None)
        elif isinstance(digest := line.get("upload"), str):
            self._uploads[repository, digest] = str(line.get("location"))
        elif isinstance(tag := line.get("tag"), str):
            self._tags[repository, tag] = str(line.get("image")), str(line.get("manifest"))


def _opened(path: Path) -> TextIO:
    """The file for us alone. Raise TransferError."""
    try:
        file = path.open("a+", encoding="utf-8", errors="replace")
    except OSError as error:
        raise TransferError(f"the journal {path} cannot be opened: {error.strerror}") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise TransferError(f"another migration is writing the journal {path}") from None
    return file


def _parse(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
