"""Caches of what cannot change: the in-process one, and what one that nodes share must be."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from v1registry.lib.support.counts import Counts

V = TypeVar("V")


class Shared(Protocol[V]):
    """Values that nodes share. It may forget, never raises, and holds nobody up."""

    def get(self, key: str) -> V | None: ...

    def put(self, key: str, value: V) -> None: ...


class SharedCache(Shared[bytes], Counts, Protocol):
    """What keeps them, as bytes: Redis. What it answers is not to be trusted."""

    name: str

    def check(self) -> str | None:
        """Why it cannot be used now, for everybody to read; None if it can."""


class Cache(Generic[V]):
    """Keeps values, the least recently used going first.

    `limit` in bytes, `life` in seconds; `size` tells the bytes of a value. May
    be used by threads.
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
