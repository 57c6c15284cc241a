"""The journal of a migration, with which a stopped run can be resumed.

It is a text file with one JSON object per line. Lines are only appended, and a truncated line is
ignored. The journal only saves requests: its tags are compared with the store, and work whose line is
lost is repeated.
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
    """The notes of one migration. With `None` as path, they are kept in memory only."""

    def __init__(self, path: Path | None, target: str) -> None:
        """Read an existing journal. Raise TransferError for the journal of another migration."""
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

    def repositories_with(self, digest: str) -> list[str]:
        """Return the repositories of the target that have the blob."""
        with self._lock:
            return list(self._blobs.get(digest, ()))

    def upload(self, repository: str, digest: str) -> str | None:
        """Return the location of an unfinished upload of the blob, or None."""
        with self._lock:
            return self._uploads.get((repository, digest))

    def tag(self, repository: str, tag: str) -> tuple[str, str] | None:
        """Return the v1 id and the manifest digest of a copied tag, or None."""
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
        if len(lines) < 2 and not head:  # new, or its first line is truncated
            file.truncate(0)
            self._append({"v1registry-journal": _FORM, "to": target})
            return
        if head.get("v1registry-journal") != _FORM:
            raise TransferError(f"{path} is not the journal of a migration")
        if head.get("to") != target:
            raise TransferError(
                f"{path} is the journal of a migration to {head.get('to')}:"
                " name another with --journal"
            )
        for line in lines[1:]:
            self._take(_parse(line))
        file.write("\n")  # ends a truncated line

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
    """Open and lock the file. Raise TransferError."""
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
