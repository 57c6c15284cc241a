"""Caches of immutable values: one in the process, and the interface of one that nodes share."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from v1registry.lib.support.counts import Counts

V = TypeVar("V")


class Shared(Protocol[V]):
    """Values that nodes share. It may lose values, never raises, and never blocks for long."""

    def get(self, key: str) -> V | None: ...

    def put(self, key: str, value: V) -> None: ...


class SharedCache(Shared[bytes], Counts, Protocol):
    """Stores the values as bytes, for example in Redis. Its answers are not trustworthy."""

    name: str

    def check(self) -> str | None:
        """Return why it cannot be used now, in a text that clients may see; None if it can."""


class Cache(Generic[V]):
    """Keeps values and drops the least recently used first. Threads may share it.

    `limit` is in bytes, `life` in seconds; `size` returns the bytes of a value.
    """

    def __init__(self, limit: int, life: float, size: Callable[[V], int]) -> None:
        self._limit = limit
        self._life = life
        self._size = size
        self._used = 0
        self._values: OrderedDict[str, tuple[V, int, float]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> V | None:
        with self._lock:
            found = self._values.get(key)
            if found is None:
                return None
            if found[2] < time.monotonic():
                self._drop(key)
                return None
            self._values.move_to_end(key)
            return found[0]

    def put(self, key: str, value: V) -> None:
        size = self._size(value)
        with self._lock:
            self._drop(key)
            if size > self._limit:
                return
            self._values[key] = (value, size, time.monotonic() + self._life)
            self._used += size
            while self._used > self._limit:
                _, (_, size, _) = self._values.popitem(last=False)
                self._used -= size

    def forget(self, key: str) -> None:
        with self._lock:
            self._drop(key)

    def _drop(self, key: str) -> None:
        found = self._values.pop(key, None)
        if found is not None:
            self._used -= found[1]
