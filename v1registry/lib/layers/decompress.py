"""Decompressing a layer in bounded steps.

A layer comes from an untrusted client. So one step produces at most `_OUT` bytes, and the whole output
counts against a limit.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from v1registry.lib.layers.tar_header import BLOCK, LayerTooLarge, LayerUnreadable, is_header

_IN = 64 * 1024
_OUT = 256 * 1024
_ZEROS = bytes(BLOCK)
_MEMBER_START = 8  # bytes: the longest magic number, the flags of gzip
_MEMBER_COST = 1024  # bytes counted for each compressed member, because empty ones take time
_GZIP_EXTRAS = 0x1C  # flags of a gzip header: an extra field, a file name, a comment
_XZ_MEMORY = 80 << 20  # bytes; `xz -9` needs 65 MiB


class Readable(Protocol):
    """A source of bytes; an empty result means the end."""

    def read(self, size: int, /) -> bytes: ...


class Tap:
    """A file that hashes and counts what is read from it."""

    def __init__(self, file: Readable, *hashes: Any) -> None:
        self._file = file
        self._hashes = hashes
        self.size = 0

    def read(self, size: int, /) -> bytes:
        piece = self._file.read(size)
        for hash in self._hashes:
            hash.update(piece)
        self.size += len(piece)
        return piece

    def drain(self) -> None:
        """Read the file to its end."""
        while self.read(_OUT):
            pass


class _Decoder(Protocol):
    """The interface of the decompressors in bz2 and lzma."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Gzip:
    """zlib's gzip decompressor with the interface of the others."""

    def __init__(self) -> None:
        self._z = zlib.decompressobj(31)

    @property
    def eof(self) -> bool:
        return self._z.eof

    @property
    def needs_input(self) -> bool:
        # zlib may still hold output, but it needs the trailer after that in any case.
        return not self._z.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._z.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return self._z.decompress(self._z.unconsumed_tail + data, max_length)


def _xz() -> _Decoder:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)


def _lzma_alone() -> _Decoder:
    return lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_XZ_MEMORY)


_DECODERS: tuple[tuple[str, bytes, Callable[[], _Decoder]], ...] = (
    ("gzip", b"\x1f\x8b", _Gzip),
    ("bzip2", b"BZh", bz2.BZ2Decompressor),
    ("xz", b"\xfd7zXZ\0", _xz),
    ("lzma", b"\x5d\0\0", _lzma_alone),
)


class DecompressedLayer:
    """The decompressed bytes of a layer, counted against the limit.

    `jump` skips bytes of a seekable file without reading them and returns their number. `pause` is
    called after each step. `encoding` is `tar` for a plain tar, otherwise gzip, bzip2, xz or lzma.

    At the end, `pure` is whether a compressed layer has no bytes besides its members, and `hides` is
    whether it has bytes other than zeros that are not part of its tar.
    """

    def __init__(
        self,
        file: Readable,
        max_bytes: int | None,
        *,
        jump: Callable[[int], int] | None = None,
        pause: Callable[[], None] | None = None,
    ) -> None:
        self._file = file
        self._max = max_bytes
        self._jump = jump
        self._pause = pause
        self._total = 0
        self._filled = 0  # bytes that went into the buffer so far
        self._buffer = b""
        self._at = 0
        self.encoding = "tar"
        self.pure = True
        self.hides = False
        self._pieces = self._open()

    def _charge(self, count: int) -> None:
        self._total += count
        if self._max is not None and self._total > self._max:
            raise LayerTooLarge(f"the layer holds more than {self._max} bytes")
        if self._pause is not None:
            self._pause()

    def _open(self) -> Iterator[bytes]:
        head = self._file.read(_IN)
        while 0 < len(head) < BLOCK and (more := self._file.read(_IN)):
            head += more
        block = head[:BLOCK]
        # Check for a tar header first: the first name of a plain tar may look like a magic number.
        if not is_header(block) and block != _ZEROS[: len(block)]:
            for encoding, magic, decoder in _DECODERS:
                if head.startswith(magic):
                    self.encoding = encoding
                    return self._decode(head, magic, decoder)
        return self._plain(head)

    def _plain(self, piece: bytes) -> Iterator[bytes]:
        while piece:
            yield piece
            piece = self._file.read(_OUT)

    def _decode(self, data: bytes, magic: bytes, make: Callable[[], _Decoder]) -> Iterator[bytes]:
        decoder = self._start_member(data, make)
        while True:
            try:
                piece = decoder.decompress(data, _OUT)
            except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as error:
                raise LayerUnreadable(f"the compressed layer is damaged: {error}") from error
            if piece:
                yield piece
            data = b""
            if decoder.eof:
                self._charge(_MEMBER_COST)
                data = self._next_member(decoder.unused_data, magic)
                if not data:
                    return
                decoder = self._start_member(data, make)
            elif decoder.needs_input:
                data = self._file.read(_IN)
                if not data:
                    raise LayerUnreadable("the compressed layer is cut off")

    def _start_member(self, data: bytes, make: Callable[[], _Decoder]) -> _Decoder:
        if self.encoding == "gzip" and data[3:4] and data[3] & _GZIP_EXTRAS:
            self.hides = True
        return make()

    def _next_member(self, data: bytes, magic: bytes) -> bytes:
        """Return the start of the next member, or b"" for padding, garbage or the end."""
        while True:
            stripped = data.lstrip(b"\0")
            self.pure = self.pure and len(stripped) == len(data)
            data = stripped
            if len(data) >= _MEMBER_START or not (more := self._file.read(_IN)):
                break
            data += more
        if data.startswith(magic):
            return data
        self.pure = self.pure and not data
        self.hides = self.hides or bool(data)
        return b""

    def _fill(self) -> bool:
        """Refill the empty buffer; return whether there was another piece."""
        self._buffer = next(self._pieces, b"")
        self._at = 0
        self._filled += len(self._buffer)
        self._charge(len(self._buffer))
        return bool(self._buffer)

    @property
    def position(self) -> int:
        """The number of bytes of the tar that were read or skipped."""
        return self._filled - len(self._buffer) + self._at

    def some(self, count: int) -> bytes:
        """Return 1 to `count` bytes; b"" at the end."""
        if self._at == len(self._buffer) and not self._fill():
            return b""
        start = self._at
        self._at = min(start + count, len(self._buffer))
        return self._buffer[start : self._at]

    def read(self, count: int) -> bytes:
        """Return `count` bytes, fewer at the end, for counts that fit into memory."""
        piece = self.some(count)
        if len(piece) == count or not piece:
            return piece
        parts = [piece]
        left = count - len(piece)
        while left and (piece := self.some(left)):
            parts.append(piece)
            left -= len(piece)
        return b"".join(parts)

    def skip(self, count: int) -> int:
        """Skip `count` bytes; return how many were missing."""
        while count:
            if self._at == len(self._buffer):
                # Only after the first piece, which was read to detect the encoding.
                if self._jump and self._buffer and self.encoding == "tar" and count > _OUT:
                    jumped = self._jump(count)
                    self._filled += jumped
                    self._charge(jumped)
                    count -= jumped
                if not count or not self._fill():
                    break
            step = min(count, len(self._buffer) - self._at)
            self._at += step
            count -= step
        return count

    def drain(self) -> None:
        """Read a compressed layer to its end, so that its own checksum is verified."""
        while self.encoding != "tar" and self._fill():
            pass
