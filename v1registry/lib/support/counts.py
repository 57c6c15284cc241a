"""Counters that several processes share, for limits on how often something may happen."""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import secrets
import struct
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from functools import cache
from typing import Protocol

_ENTRY = struct.Struct("=16sIi")  # digest of the key, second when it expires, total
_WAYS = 8  # entries of a set; a key belongs to one set
_SET = _WAYS * _ENTRY.size
_SETS = 16_384  # 3 MB; the system allocates only the pages that are used
_SHORT = 600  # seconds; a longer life counts as long


class Counts(Protocol):
    """Shared counters, 0 at first. A counter is deleted `life` seconds after its last change."""

    def add(self, changes: Mapping[str, int], life: int) -> dict[str, int] | None:
        """Add to each counter, all at once, and return the new totals by key.

        A change of 0 only reads. Return None if the counters are unreachable now.
        """


class MemoryCounts:
    """Counters in memory shared by the creating process and the processes that it forks.

    The memory is bounded: a new key replaces the key of its set that expires first. Keys with a
    short life never replace keys with a long life, and the sets are chosen with a random secret,
    so a client cannot choose keys that replace the counter of another key.
    """

    def __init__(self, sets: int = _SETS, clock: Callable[[], float] = time.time) -> None:
        self._sets = sets
        self._clock = clock
        self._memory = mmap.mmap(-1, sets * _SET)
        self._secret = secrets.token_bytes(16)
        self._threads = threading.Lock()
        # Record locks exclude processes, and the kernel releases those of a killed process.
        self._file = _anonymous_file()
        weakref.finalize(self, os.close, self._file)

    def add(self, changes: Mapping[str, int], life: int) -> dict[str, int]:
        """Implement `Counts`; a total never falls below 0."""
        now = int(self._clock())
        with self._threads:
            fcntl.lockf(self._file, fcntl.LOCK_EX)
            try:
                return {key: self._change(key, by, life, now) for key, by in changes.items()}
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN)

    def _change(self, key: str, by: int, life: int, now: int) -> int:
        digest = hashlib.blake2b(key.encode(), digest_size=16, key=self._secret).digest()
        start = int.from_bytes(digest[:4], "big") % self._sets * _SET
        entries = list(_ENTRY.iter_unpack(self._memory[start : start + _SET]))
        total, way = 0, None
        for number, (held, expires, count) in enumerate(entries):
            if held == digest and expires > now:
                total, way = count, number
        if not by:
            return total
        if way is None:
            half = range(_WAYS // 2) if life <= _SHORT else range(_WAYS // 2, _WAYS)
            way = min(half, key=lambda number: entries[number][1])
        total = max(0, total + by)
        _ENTRY.pack_into(self._memory, start + way * _ENTRY.size, digest, now + life, total)
        return total


@cache
def of_node() -> MemoryCounts:
    """Return the counters of this server's processes.

    The master calls this before it forks. A process without such a master counts alone.
    """
    return MemoryCounts()


def _anonymous_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("v1registry-counts")
    file, path = tempfile.mkstemp()
    os.unlink(path)
    return file
