"""Tar archives, plain or compressed, whose members are read by name without unpacking to a disk.

Archives are untrusted. They are read like layers (`lib.layers.tar_stream`), with the same limits on
headers. The number of members and the length of their names are limited too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Any

from v1registry.lib.layers.decompress import DecompressedLayer
from v1registry.lib.layers.tar_stream import LayerTooLarge, LayerUnreadable, walk
from v1registry.transfer import zstd
from v1registry.transfer.errors import TransferError, parse_json

LARGEST_JSON = 8 * 1024 * 1024  # bytes
_PIECE = 1024 * 1024
_MOST_MEMBERS = 100_000
_LONGEST_NAME = 4096  # characters, as of a path on Linux
_MOST_NAMES = 32 * 1024 * 1024  # characters of all names together
_MOST_LINKS = 10  # in a row
_MOST_TIMES = 20  # largest allowed compression ratio, as for layers over v2
_FILE, _HARD_LINK, _SYMBOLIC_LINK = ("0", "\0", "7"), "1", "2"


@dataclass(frozen=True, slots=True)
class _Member:
    """`offset` and `size` in bytes of the archive, decompressed."""

    typeflag: str
    link: str
    offset: int
    size: int
    sparse: bool


class ArchiveReader:
    """Reads members by name, also several at once. `file` must be seekable.

    A member of a compressed archive costs a pass over the archive up to that member.
    """

    def __init__(self, file: IO[bytes], max_bytes: int) -> None:
        """Raise TransferError if the file is not a tar archive, or exceeds a limit.

        `max_bytes` limits a compressed archive after unpacking, if it exceeds 20 times its size.
        """
        self._file = file
        self._max_bytes = max(max_bytes, _MOST_TIMES * os.fstat(file.fileno()).st_size)
        # A stream that no caller uses. It can serve members behind its position.
        self._idle: DecompressedLayer | None = None
        self._members: dict[str, _Member] = {}
        names = 0
        try:
            source = self._source()
            for entry in walk(source, _MOST_MEMBERS):
                names += len(entry.name) + len(entry.linkname)
                if max(len(entry.name), len(entry.linkname)) > _LONGEST_NAME:
                    raise LayerTooLarge(f"a name has more than {_LONGEST_NAME} characters")
                if names > _MOST_NAMES:
                    raise LayerTooLarge(f"its names have more than {_MOST_NAMES} characters")
                sparse = entry.sparse_size is not None or entry.sparse_name is not None
                self._members[_plain(entry.sparse_name or entry.name)] = _Member(
                    entry.typeflag, entry.linkname, source.position, entry.size, sparse
                )
        except (LayerUnreadable, LayerTooLarge, OSError) as error:
            raise TransferError(f"the archive cannot be read: {_words(error)}") from None

    def __contains__(self, name: str) -> bool:
        return _plain(name) in self._members

    def size(self, name: str) -> int:
        """Return the size of a member in bytes. Raise TransferError if it is missing."""
        return self._member(name).size

    def read(self, name: str, limit: int = LARGEST_JSON) -> bytes:
        """Return a whole small member. Raise TransferError if it is missing or larger than `limit`."""
        member = self._member(name)
        if member.size > limit:
            raise TransferError(f"{name} in the archive is larger than {limit} bytes")
        return b"".join(self.pieces(name))

    def json(self, name: str) -> Any:
        """Return a member as parsed JSON. Raise TransferError if it is missing or not JSON."""
        return parse_json(self.read(name), f"{name} in the archive")

    def pieces(self, name: str) -> Iterator[bytes]:
        """Yield the bytes of a member. Raise TransferError if the archive is truncated."""
        member = self._member(name)
        source, self._idle = self._idle, None
        try:
            if source is None or source.position > member.offset:
                source = self._source()
            left = source.skip(member.offset - source.position) + member.size
            while left:
                piece = source.some(min(_PIECE, left))
                if not piece:
                    raise TransferError(f"{name} in the archive is cut off")
                left -= len(piece)
                yield piece
        except (LayerUnreadable, LayerTooLarge, OSError) as error:
            raise TransferError(f"{name} in the archive cannot be read: {_words(error)}") from None
        finally:
            self._idle = source

    def _source(self) -> DecompressedLayer:
        file = _FromStart(self._file)
        if file.read(len(zstd.MAGIC)) == zstd.MAGIC:
            packed = zstd.Unpacked(_FromStart(self._file), "the archive")
            return DecompressedLayer(packed, self._max_bytes)
        file = _FromStart(self._file)
        return DecompressedLayer(file, self._max_bytes, jump=file.jump)

    def _member(self, name: str) -> _Member:
        """Return the member of this name, following links. Raise TransferError if there is none."""
        path = _plain(name)
        for _ in range(_MOST_LINKS):
            member = self._members.get(path)
            if member is None:
                break
            if member.sparse:
                raise TransferError(
                    f"{name} in the archive is a sparse file: pack the archive without --sparse"
                )
            if member.typeflag in _FILE:
                return member
            if member.typeflag == _SYMBOLIC_LINK:
                path = _joined(str(PurePosixPath(path).parent), member.link)
            elif member.typeflag == _HARD_LINK:
                path = _plain(member.link)
            else:
                break
        raise TransferError(f"{name} is missing from the archive")


class _FromStart:
    """A view of a file from its start, with a separate read position."""

    def __init__(self, file: IO[bytes]) -> None:
        self._descriptor = file.fileno()
        self._at = 0

    def read(self, size: int, /) -> bytes:
        data = os.pread(self._descriptor, size, self._at)
        self._at += len(data)
        return data

    def jump(self, count: int) -> int:
        """Skip up to `count` bytes, and return how many were skipped."""
        jumped = max(0, min(count, os.fstat(self._descriptor).st_size - self._at))
        self._at += jumped
        return jumped


def _words(error: Exception) -> str:
    """Return an error text of the layer reader, changed to speak of an archive."""
    return str(error).replace("the layer", "it").replace("compressed layer", "compressed archive")


def _plain(name: str) -> str:
    return _joined("", name)


def _joined(folder: str, name: str) -> str:
    """Join a path within the archive; `.` and `..` are resolved and never lead above its root."""
    parts: list[str] = []
    for part in f"{folder}/{name}".split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)
