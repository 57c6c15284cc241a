"""What a migration has to send, each blob once: known before the first byte goes."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable

from v1registry.transfer.journal import Journal
from v1registry.transfer.progress import TransferProgress
from v1registry.transfer.remote import Remote


class Plan:
    """Used by several threads. `uploads`, `mounts` and `present` count blobs, `size` is in bytes."""

    def __init__(self, remote: Remote, journal: Journal, progress: TransferProgress) -> None:
        self._remote = remote
        self._journal = journal
        self._progress = progress
        self._lock = threading.Lock()
        self._asked: dict[tuple[str, str], bool] = {}  # (repository, digest) -> whether missing
        self._sizes: dict[str, int] = {}  # of blobs that are missing anywhere, then of uploads
        self._holders: dict[str, str] = {}  # digest -> a repository over there that has it
        self.uploads = self.mounts = self.present = self.size = 0

    def add(self, repository: str, blobs: Iterable[tuple[str, int]]) -> None:
        """Ask which of the blobs (digest, size) are missing in a repository."""
        for digest, size in blobs:
            with self._lock:
                if (repository, digest) in self._asked:
                    continue
                self._asked[repository, digest] = False  # another thread need not ask
            if self._remote.has_blob(repository, digest, size):
                with self._lock:
                    self.present += 1
                self.note(repository, [(digest, size)])
            else:
                with self._lock:
                    self._asked[repository, digest] = True
                    self._sizes[digest] = size

    def note(self, repository: str, blobs: Iterable[tuple[str, int]]) -> None:
        """Note that a repository over there has the blobs: they can be mounted from it."""
        with self._lock:
            for digest, _ in blobs:
                self._holders.setdefault(digest, repository)

    def close(self) -> None:
        """Count what the plan comes to, after all blobs were added."""
        wanted = Counter(digest for (_, digest), missing in self._asked.items() if missing)
        for digest, count in wanted.items():
            if self.holders(digest):
                del self._sizes[digest]
                self.mounts += count
            else:
                self.uploads += 1
                self.mounts += count - 1
                self.size += self._sizes[digest]

    def begin(self) -> None:
        """Tell the progress how much will be sent."""
        self._progress.expect(self.size)

    def is_missing(self, repository: str, digest: str) -> bool:
        """Whether the blob was missing when it was asked for; others may have pushed it since."""
        return self._asked.get((repository, digest), False)

    def holders(self, digest: str) -> list[str]:
        """Return repositories over there that had the blob before this run."""
        holder = self._holders.get(digest)
        others = self._journal.repositories_with(digest)
        return others if holder is None else [holder, *others]

    def sends(self, digest: str, size: int) -> None:
        """An upload begins: expect its bytes, unless they are expected already."""
        with self._lock:
            expected = self._sizes.pop(digest, None) is not None
        if not expected:  # a mount was refused, or an upload failed before
            self._progress.expect(size)

    def end(self) -> None:
        """Expect no more than what was sent: blobs came there by another way, or images failed."""
        with self._lock:
            left = sum(self._sizes.values())
            self._sizes.clear()
        if left:
            self._progress.expect(-left)
