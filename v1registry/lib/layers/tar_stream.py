"""Walking over the entries of a layer's tar.

A layer comes from an untrusted client. So this module trusts no size that the tar states,
decompression runs in bounded steps (`DecompressedLayer`), and all that is kept in memory (headers, long
names, extended attributes) is limited: memory stays constant for any layer. Nothing is ever extracted.

Headers are read as by Go's archive/tar, which the engines use; where its versions differ, as by those
of engines up to 1.7. There, global pax headers are entries like others and change nothing. The type
flags NUL and `0` stay different. Device numbers count only for devices. The prefix field is a part of
the name in old GNU headers, too, unless it holds times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from v1registry.lib.layers.decompress import DecompressedLayer, Readable
from v1registry.lib.layers.tar_header import (
    BLOCK,
    EXTENDED,
    ExtendedHeaders,
    Header,
    LayerTooLarge,
    LayerUnreadable,
)

__all__ = ["LayerTooLarge", "LayerUnreadable", "Readable", "TarEntry", "entries", "walk"]

_ZEROS = bytes(BLOCK)
_PIECE = 256 * 1024
MAX_SPARSE_BLOCKS = 50_000  # of 21 regions each; Go allows a million regions


class Observer(Protocol):
    """Receives all bytes of a layer outside the bodies of entries, in their order.

    header: each header block; extended: the data of an extended header; between: padding and sparse
    maps; after: the bytes after the last entry; incomplete: called if a compressed layer has bytes
    that are not part of its tar (`DecompressedLayer.hides`).
    """

    def header(self, block: bytes) -> None: ...
    def extended(self, typeflag: str, data: bytes) -> None: ...
    def between(self, data: bytes) -> None: ...
    def after(self, data: bytes) -> None: ...
    def incomplete(self) -> None: ...


class TarEntry(Header):
    """One entry of the tar; see `Header` for its fields."""

    def __init__(self, block: bytes, source: DecompressedLayer) -> None:
        super().__init__(block)
        self._source: DecompressedLayer | None = source
        self._left = 0  # bytes of the body that were not read

    def begin(self, pax: dict[str, bytes]) -> None:
        """Apply the records of the extended headers. The source is at the first byte of the body."""
        if pax:
            self.merge(pax)
        self._left = self.body_size()

    def body(self) -> Iterator[bytes]:
        """Yield the stored bytes in pieces, once, before the walk continues.

        Raise `LayerUnreadable` if the tar ends inside the body.
        """
        if self._source is None:
            raise RuntimeError("the walk is past this entry")
        while self._left and self._source is not None:
            piece = self._source.some(self._left)
            if not piece:
                raise LayerUnreadable("the archive is cut off inside a file")
            self._left -= len(piece)
            yield piece

    def _pass(self) -> None:
        if self._left and self._source is not None and self._source.skip(self._left):
            raise LayerUnreadable("the archive is cut off inside a file")
        self._source = None


def entries(
    file: Readable,
    max_bytes: int | None = None,
    max_entries: int | None = None,
    observer: Observer | None = None,
    pause: Callable[[], None] | None = None,
) -> Iterator[TarEntry]:
    """Walk over a layer: plain tar, gzip, bzip2, xz or lzma, detected by its first bytes.

    `max_bytes` counts decompressed bytes. The tar may end without its zero blocks (Docker up to 1.2)
    and inside the padding of its last entry. An empty file has no entries. A compressed layer is read
    to its end, so its own checksum is verified; bytes after its last complete member are ignored. With
    an `observer`, a plain tar is read to its end as well. `pause` is called after each entry and each
    step of decompression.

    Raise `LayerUnreadable` (not a tar, damaged, truncated), `LayerTooLarge` (a limit is exceeded), and
    whatever `file.read` raises.
    """
    return walk(DecompressedLayer(file, max_bytes, pause=pause), max_entries, observer, pause)


def walk(
    source: DecompressedLayer,
    max_entries: int | None = None,
    observer: Observer | None = None,
    pause: Callable[[], None] | None = None,
) -> Iterator[TarEntry]:
    """Walk over a source. At each yielded entry, the source is at the first byte of its body."""
    extended = ExtendedHeaders()
    pending = False
    count = 0
    while True:
        block = source.read(BLOCK)
        if block == _ZEROS[: len(block)]:
            break
        entry = TarEntry(block, source)
        if observer:
            observer.header(block)
        padding = -entry.body_size() % BLOCK
        if entry.typeflag in EXTENDED:
            data = _read_extended(source, entry, extended)
            if observer:
                observer.extended(entry.typeflag, data)
            pending = True
            _skip(source, padding, observer)
            continue
        _skip_sparse_map(source, entry, observer)
        count += 1
        if max_entries is not None and count > max_entries:
            raise LayerTooLarge(f"the layer holds more than {max_entries} entries")
        entry.begin(extended.take())
        padding = -entry.body_size() % BLOCK
        yield entry
        if pause is not None:
            pause()
        entry._pass()
        _skip(source, padding, observer)
        pending = False
    if pending:
        raise LayerUnreadable("the archive ends after an extended header")
    if observer:
        while piece := source.some(_PIECE):
            observer.after(piece)
        if source.hides:
            observer.incomplete()
    source.drain()


def _skip(source: DecompressedLayer, padding: int, observer: Observer | None) -> None:
    if observer:
        observer.between(source.read(padding))
    else:
        source.skip(padding)


def _read_extended(source: DecompressedLayer, header: Header, extended: ExtendedHeaders) -> bytes:
    """Read a pax header or long name of the next entry; return its data."""
    extended.reserve(header.size)
    data = source.read(header.size)
    if len(data) < header.size:
        raise LayerUnreadable("the archive is cut off inside an extended header")
    extended.add(header.typeflag, data)
    return data


def _skip_sparse_map(source: DecompressedLayer, header: Header, observer: Observer | None) -> None:
    """Skip the rest of an old GNU sparse file's map, which is between header and body."""
    more = header.sparse_continues
    blocks = 0
    while more:
        blocks += 1
        if blocks > MAX_SPARSE_BLOCKS:
            raise LayerTooLarge(f"the map of a sparse file has more than {blocks - 1} blocks")
        block = source.read(BLOCK)
        if len(block) < BLOCK:
            raise LayerUnreadable("the archive is cut off inside a sparse map")
        if observer:
            observer.between(block)
        more = block[504] != 0
