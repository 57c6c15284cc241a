"""Writer of tar archives for a stream that is not seekable."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import IO, Any

from v1registry.lib.documents import dump
from v1registry.transfer.errors import TransferError


class Writer:
    """Writes members to `out`. All times are 0, so that equal input gives equal bytes."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out
        self._written = 0
        self._folders: set[str] = set()
        self.names: set[str] = set()

    def json(self, name: str, value: Any) -> None:
        self.add(name, dump(value))

    def add(self, name: str, data: bytes) -> None:
        self.stream(name, len(data), [data])

    def stream(self, name: str, size: int, pieces: Iterable[bytes]) -> None:
        """Write a member of `size` bytes. Raise TransferError if `pieces` yields more or fewer."""
        for folder in reversed(PurePosixPath(name).parents[:-1]):
            if str(folder) not in self._folders:
                self._folders.add(str(folder))
                self._header(str(folder), 0o755, tarfile.DIRTYPE)
        self._header(name, 0o644, size=size)
        left = size
        for piece in pieces:
            left -= len(piece)
            if left < 0:
                raise TransferError(f"{name} is longer than it was")
            self._write(piece)
        if left:
            raise TransferError(f"{name} ended {left} bytes too early")
        self._pad(tarfile.BLOCKSIZE)
        self.names.add(name)

    def close(self) -> None:
        """Write the end of the archive."""
        self._write(bytes(2 * tarfile.BLOCKSIZE))
        self._pad(tarfile.RECORDSIZE)

    def _header(self, name: str, mode: int, type: bytes = tarfile.REGTYPE, size: int = 0) -> None:
        member = tarfile.TarInfo(name)
        member.mode, member.type, member.size = mode, type, size
        self._write(member.tobuf(tarfile.GNU_FORMAT))

    def _pad(self, unit: int) -> None:
        self._write(bytes(-self._written % unit))

    def _write(self, data: bytes) -> None:
        self._out.write(data)
        self._written += len(data)
