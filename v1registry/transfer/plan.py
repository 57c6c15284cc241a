"""The blobs that a migration must send, each once. The plan is complete before sending starts."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable

from v1registry.transfer.journal import Journal
from v1registry.transfer.remote import Remote
from v1registry.transfer.report import TransferReport


class Plan:
    """The plan. `uploads`, `mounts` and `present` count blobs, `size` is in bytes. Safe for threads."""

    def __init__(self, remote: Remote, journal: Journal, report: TransferReport) -> None:
        self._remote = remote
        self._journal = journal
        self._report = report
        self._lock = threading.Lock()
        self._asked: dict[tuple[str, str], bool] = {}  # (repository, digest) -> whether missing
        self._sizes: dict[str, int] = {}  # of missing blobs whose upload has not begun
        self._holders: dict[str, str] = {}  # digest -> a repository of the target that has it
        self.uploads = self.mounts = self.present = self.size = 0

    def add(self, repository: str, blobs: Iterable[tuple[str, int]]) -> None:
        """Ask the target which of the blobs (digest, size) are missing from a repository."""
        for digest, size in blobs:
            with self._lock:
                if (repository, digest) in self._asked:
                    continue
                self._asked[repository, digest] = False  # so that other threads do not ask too
            if self._remote.has_blob(repository, digest, size):
                with self._lock:
                    self.present += 1
                self.note(repository, [(digest, size)])
            else:
                with self._lock:
                    self._asked[repository, digest] = True
                    self._sizes[digest] = size

    def note(self, repository: str, blobs: Iterable[tuple[str, int]]) -> None:
        """Note that a repository of the target has the blobs, so they can be mounted from it."""
        with self._lock:
            for digest, _ in blobs:
                self._holders.setdefault(digest, repository)

    def close(self) -> None:
        """Compute the counts, after all blobs were added."""
        wanted = Counter(digest for (_, digest), missing in self._asked.items() if missing)
        for digest, count in wanted.items():
            if self.holders(digest):
                del self._sizes[digest]
                self.mounts += count
            else:
                self.uploads += 1
                self.mounts += count - 1
                self.size += self._sizes[digest]

    def is_missing(self, repository: str, digest: str) -> bool:
        """Return whether the blob was missing. Another client may have pushed it since."""
        return self._asked.get((repository, digest), False)

    def holders(self, digest: str) -> list[str]:
        """Return repositories of the target that had the blob before this run."""
        holder = self._holders.get(digest)
        others = self._journal.repositories_with(digest)
        return others if holder is None else [holder, *others]

    def sends(self, digest: str, size: int) -> None:
        """Note that an upload begins, and expect its bytes unless the plan included them."""
        with self._lock:
            expected = self._sizes.pop(digest, None) is not None
        if not expected:  # a mount was refused, or an upload failed before
            self._report.expect(size)
