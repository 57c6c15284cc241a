"""The driver that keeps objects in memory: for tests, and as the shortest example of a driver."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, BinaryIO

from v1registry.storage import Buffer, ListEntry, Stage, Stat, Storage
from v1registry.storage.errors import NotFound


class MemoryBlob:
    """An object in memory, opened for reading."""

    file: BinaryIO | None = None

    def __init__(self, data: bytes) -> None:
        self.size = len(data)
        self._data = data
        self._position = 0

    def pieces(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        if start < (self.size if stop is None else stop):
            yield self._data[start:stop]

    def read(self, size: int = -1) -> bytes:
        start = self._position
        self._position = self.size if size < 0 else min(self.size, start + size)
        return self._data[start : self._position]

    def close(self) -> None:
        pass

    def __enter__(self) -> MemoryBlob:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class MemoryStorage(Storage):
    """Keeps objects in a dictionary until the process ends; `clock` returns their times."""

    marker_seconds = 0.0

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._objects: dict[str, tuple[bytes, float]] = {}
        self._staged: dict[str, tuple[str, bytes, float]] = {}  # handle -> key, bytes, time

    def _find(self, key: str) -> tuple[bytes, float]:
        try:
            return self._objects[key]
        except KeyError:
            raise NotFound(key) from None

    def get(self, key: str) -> bytes:
        return self._find(key)[0]

    def open(self, key: str) -> MemoryBlob:
        return MemoryBlob(self._find(key)[0])

    def stat(self, key: str) -> Stat:
        data, modified = self._find(key)
        return Stat(len(data), modified)

    def put(self, key: str, data: bytes, *, durable: bool = True) -> None:
        self._objects[key] = (bytes(data), self._clock())

    def create(self, key: str, data: bytes) -> bool:
        value = (bytes(data), self._clock())
        return self._objects.setdefault(key, value) is value

    def list(self, folder: str) -> Iterator[ListEntry]:
        prefix = f"{folder}/"
        children: dict[str, bool] = {}
        for key in list(self._objects):
            if key.startswith(prefix):
                name, slash, _ = key[len(prefix) :].partition("/")
                children[name] = bool(slash)
        for name, is_folder in children.items():
            yield ListEntry(name, is_folder)

    def delete(self, key: str, *, durable: bool = True) -> None:
        self._objects.pop(key, None)

    def delete_folder(self, folder: str) -> None:
        for key in [key for key in self._objects if key.startswith(f"{folder}/")]:
            self.delete(key)

    def stage(self, key: str, pieces: Iterable[Buffer]) -> str:
        data = b"".join(bytes(piece) for piece in pieces)
        handle = secrets.token_hex(8)
        self._staged[handle] = (key, data, self._clock())
        return handle

    def commit(self, handle: str) -> None:
        try:
            key, data, _ = self._staged.pop(handle)
        except KeyError:
            raise NotFound(handle) from None
        self.put(key, data)

    def abandon(self, handle: str) -> None:
        self._staged.pop(handle, None)

    def open_staged(self, handle: str) -> MemoryBlob:
        try:
            return MemoryBlob(self._staged[handle][1])
        except KeyError:
            raise NotFound(handle) from None

    def stages(self) -> Iterator[Stage]:
        for handle, (key, _, modified) in list(self._staged.items()):
            yield Stage(handle, key, modified)

    def check(self) -> None:
        pass


def make(_options: Mapping[str, Any], _run_in_thread: Callable[..., Any]) -> MemoryStorage:
    """Return the driver."""
    return MemoryStorage()
