"""Writer of tar archives for a stream that is not seekable."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import IO, Any

from v1registry.lib.documents import dump
from v1registry.transfer.errors import TransferError


class Writer:
    """Writes members to `out`. All times are 0, so that equal input gives equal bytes."""

    def __init__(self, out: IO[bytes]) -> None:
        self._tar = tarfile.open(fileobj=out, mode="w|", format=tarfile.GNU_FORMAT)  # noqa: SIM115
        self._folders: set[str] = set()
        self.names: set[str] = set()

    def json(self, name: str, value: Any) -> None:
        self.add(name, dump(value))

    def add(self, name: str, data: bytes) -> None:
        self.stream(name, len(data), iter([data]))

    def stream(self, name: str, size: int, pieces: Iterator[bytes]) -> None:
        """Write a member of `size` bytes. Raise TransferError if `pieces` yields more or fewer."""
        self._folder(name)
        member = tarfile.TarInfo(name)
        member.size, member.mode = size, 0o644
        self._tar.addfile(member, _Pieces(name, size, pieces))
        self.names.add(name)

    def close(self) -> None:
        self._tar.close()

    def _folder(self, name: str) -> None:
        for folder in reversed(PurePosixPath(name).parents):
            path = str(folder)
            if path != "." and path not in self._folders:
                self._folders.add(path)
                member = tarfile.TarInfo(path)
                member.type, member.mode = tarfile.DIRTYPE, 0o755
                self._tar.addfile(member)


class _Pieces(io.RawIOBase):
    """A file over pieces, from which tarfile reads `size` bytes."""

    def __init__(self, name: str, size: int, pieces: Iterator[bytes]) -> None:
        self._name, self._left, self._pieces, self._rest = name, size, pieces, b""

    def read(self, size: int = -1) -> bytes:
        taken = []
        while size > 0:
            if not self._rest:
                self._rest = next(self._pieces, b"")
                if not self._rest:
                    break
            part, self._rest = self._rest[:size], self._rest[size:]
            taken.append(part)
            size -= len(part)
            self._left -= len(part)
        if size > 0:
            raise TransferError(f"{self._name} ended {self._left} bytes too early")
        if not self._left and (self._rest or next(self._pieces, b"")):
            raise TransferError(f"{self._name} is longer than it was")
        return b"".join(taken)
