"""The objects that the driver for local files returns: open files and staged writes."""

from __future__ import annotations

import os
import stat as modes
from collections.abc import Callable, Iterator
from typing import BinaryIO

from v1registry.storage import StagedWrites
from v1registry.storage.errors import NotFound, Unavailable
from v1registry.storage.local import disk
from v1registry.storage.local.disk import FileErrors
from v1registry.storage.local.files import StoreFiles

PIECE = 1024 * 1024  # bytes read at once if sendfile cannot be used


class FileBlob:
    """An open file. It stays readable after its name is replaced or deleted."""

    __slots__ = ("file", "key", "size")

    def __init__(self, key: str, path: str) -> None:
        self.key = key
        with FileErrors(key):
            self.file: BinaryIO = open(path, "rb", buffering=0)  # noqa: SIM115 - owner closes
            status = os.fstat(self.file.fileno())
        if not modes.S_ISREG(status.st_mode):
            self.file.close()
            raise NotFound(f"{key}: not a regular file")
        self.size = status.st_size

    def pieces(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        position, end = start, self.size if stop is None else stop
        while position < end:
            with FileErrors(self.key):
                piece = os.pread(self.file.fileno(), min(PIECE, end - position), position)
            if not piece:
                raise Unavailable(f"{self.key}: cut short at byte {position}")
            position += len(piece)
            yield piece

    def read(self, size: int = -1) -> bytes:
        with FileErrors(self.key):
            return self.file.read(size)

    def close(self) -> None:
        self.file.close()

    def __enter__(self) -> FileBlob:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class FileStagedWrites(StagedWrites):
    """Staged values, each in a temporary file; `changed` are the folders that got a new name."""

    def __init__(self, store: StoreFiles, files: dict[str, str]) -> None:
        self._store = store
        self._files = files
        self.changed: set[str] = set()

    def put(self, key: str) -> None:
        with FileErrors(key):
            self._place(key, os.replace)
        del self._files[key]

    def create(self, key: str) -> bool:
        with FileErrors(key):
            try:
                self._place(key, disk.link)
            except FileExistsError:
                return False
        return True

    def _place(self, key: str, place: Callable[[str, str], None]) -> None:
        self.changed.update(self._store.place(self._files[key], key, place))
        self.changed.add(os.path.dirname(self._store.path(key)))

    def __exit__(self, *_: object) -> None:
        for path in self._files.values():
            disk.discard(path)
