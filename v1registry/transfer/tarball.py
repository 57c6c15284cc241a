"""Tar archives with members of bytes and of streams: written straight through, read by name."""

from __future__ import annotations

import io
import itertools
import json
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import IO, Any

from v1registry.lib.documents import dump
from v1registry.transfer.errors import TransferError

LARGEST_JSON = 8 * 1024 * 1024  # bytes
_PIECE = 1024 * 1024
_MOST_MEMBERS = 100_000
_LARGEST_HEADER = 1024 * 1024  # bytes of a long name, or of what pax says of a member
_EXTENDED = (
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
)
# What reading an archive raises whose bytes are wrong, whatever it is compressed with.
_DAMAGED = (tarfile.TarError, EOFError, OSError, ValueError, zlib.error, lzma.LZMAError)


class Writer:
    """Writes members to `out`, which need not be seekable. Times are 0: equal input, equal bytes."""

    def __init__(self, out: IO[bytes]) -> None:
        self._tar = tarfile.open(fileobj=out, mode="w|", format=tarfile.GNU_FORMAT)  # noqa: SIM115
        self._folders: set[str] = set()
        self.names: set[str] = set()

    def json(self, name: str, value: Any) -> None:
        self.add(name, dump(value))

    def add(self, name: str, data: bytes) -> None:
        self.stream(name, len(data), iter([data]))

    def stream(self, name: str, size: int, pieces: Iterator[bytes]) -> None:
        """A member of `size` bytes. Raise TransferError if `pieces` yields more or fewer."""
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
    """Pieces as the file that tarfile reads a member from; it asks for `size` bytes in all."""

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


class _Bounded(tarfile.TarInfo):
    """A member whose long names and the like are read into memory only if they are of any size that
    such things have."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in _EXTENDED and self.size > _LARGEST_HEADER:
            raise tarfile.ReadError(f"a header of {self.size} bytes")
        member: tarfile.TarInfo = super()._proc_member(archive)  # type: ignore[misc]
        return member


class Reader:
    """Reads members of a seekable archive, plain or compressed, by name.

    Nothing is unpacked to a disk, so no name in it can lead anywhere.
    """

    def __init__(self, file: IO[bytes]) -> None:
        """Raise TransferError for what is no tar archive."""
        try:
            self._tar = tarfile.open(fileobj=file, mode="r:*", tarinfo=_Bounded)  # noqa: SIM115
            members = list(itertools.islice(self._tar, _MOST_MEMBERS + 1))
        except _DAMAGED as error:
            raise TransferError(f"the archive cannot be read: {error}") from None
        if len(members) > _MOST_MEMBERS:
            raise TransferError(f"the archive has more than {_MOST_MEMBERS} members")
        self._members = {_plain(member.name): member for member in members}

    def __contains__(self, name: str) -> bool:
        return name in self._members

    @property
    def names(self) -> list[str]:
        return list(self._members)

    def read(self, name: str, limit: int = LARGEST_JSON) -> bytes:
        """A small member whole. Raise TransferError if it is missing or larger than `limit`."""
        member = self._member(name)
        if member.size > limit:
            raise TransferError(f"{name} in the archive is larger than {limit} bytes")
        return b"".join(self.pieces(name))

    def json(self, name: str) -> Any:
        try:
            return json.loads(self.read(name))
        except (ValueError, RecursionError):
            raise TransferError(f"{name} in the archive is no JSON") from None

    def pieces(self, name: str) -> Iterator[bytes]:
        """The bytes of a member. Raise TransferError where the archive is cut off."""
        member = self._member(name)
        try:
            file = self._tar.extractfile(member)
            assert file is not None
            left = member.size
            while left:
                piece = file.read(min(_PIECE, left))
                if not piece:
                    raise TransferError(f"{name} in the archive is cut off")
                left -= len(piece)
                yield piece
        except _DAMAGED as error:
            raise TransferError(f"{name} in the archive cannot be read: {error}") from None

    def _member(self, name: str) -> tarfile.TarInfo:
        """The file of this name, links within the archive followed."""
        path = _plain(name)
        for _ in range(10):
            member = self._members.get(path)
            if member is None:
                break
            if member.isreg():
                return member
            if member.issym():
                path = _joined(str(PurePosixPath(path).parent), member.linkname)
            elif member.islnk():
                path = _plain(member.linkname)
            else:
                break
        raise TransferError(f"the archive lacks {name}")


def _plain(name: str) -> str:
    return _joined("", name)


def _joined(folder: str, name: str) -> str:
    """A path within the archive: `.` and `..` resolved, never above its root."""
    parts: list[str] = []
    for part in f"{folder}/{name}".split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)
