"""Reading a layer: bounded decompression, and a walk over the entries of a tar archive.

A layer comes from strangers. So nothing here trusts a size that the archive
states, decompression goes in bounded steps (`unpack`), and what is held in memory
(headers, long names, extended attributes) is capped: memory stays constant
whatever the layer says. Nothing is ever extracted.

What a header means follows Go's archive/tar, which the engines use; where its
versions differ, the ones engines were built with (up to 1.7). Their facts:
global pax headers are entries like others and change nothing; NUL and `0` type
flags stay apart; device numbers count for devices only; the prefix field is a
part of the name in old GNU headers too, unless it holds times.
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
    text,
)

__all__ = ["LayerTooLarge", "LayerUnreadable", "Readable", "TarEntry", "entries", "walk"]

_ZEROS = bytes(BLOCK)
_PIECE = 256 * 1024
_XATTR = "SCHILY.xattr."
MAX_SPARSE_BLOCKS = 50_000  # of 21 regions each; Go stops at a million regions


class Observer(Protocol):
    """Gets all bytes of a layer that are no entry's body, in their order.

    header: each header block; extended: the data of an extended header; between: padding
    and sparse maps; after: what follows the last entry; incomplete: called if
    a compressed layer has bytes that its archive does not show (`unpack.Source.hides`).
    """

    def header(self, block: bytes) -> None: ...
    def extended(self, typeflag: str, data: bytes) -> None: ...
    def between(self, data: bytes) -> None: ...
    def after(self, data: bytes) -> None: ...
    def incomplete(self) -> None: ...


class TarEntry:
    """One entry of the archive; see `tarheader.Header` for the plain fields.

    name, linkname, uname, gname: str, bytes that are no UTF-8 as surrogate escapes;
    size: bytes as the archive states it; mtime: whole seconds since the epoch;
    typeflag: one character; xattrs: extended attributes, name -> raw value;
    sparse_name, sparse_size: what a GNU sparse file unpacks to, else None.
    """

    __slots__ = (
        "_left",
        "_source",
        "devmajor",
        "devminor",
        "gid",
        "gname",
        "linkname",
        "mode",
        "mtime",
        "name",
        "size",
        "sparse_name",
        "sparse_size",
        "typeflag",
        "uid",
        "uname",
        "xattrs",
    )

    def __init__(self, header: Header, pax: dict[str, bytes], source: DecompressedLayer) -> None:
        self.typeflag = header.typeflag
        self.mode = header.mode
        self.devmajor = header.devmajor
        self.devminor = header.devminor
        self.sparse_size = header.sparse_size
        self.sparse_name: str | None = None
        self.xattrs: dict[str, bytes] = {}
        if pax:
            header.merge(pax)
            for key, value in pax.items():
                if key.startswith(_XATTR):
                    self.xattrs[key[len(_XATTR) :]] = value
            if "GNU.sparse.name" in pax:
                self.sparse_name = text(pax["GNU.sparse.name"])
            self.sparse_size = header.sparse_size
        self.size = header.size
        self.mtime = header.mtime
        self.uid = header.uid
        self.gid = header.gid
        self.name = text(header.name)
        self.linkname = text(header.linkname)
        self.uname = text(header.uname)
        self.gname = text(header.gname)
        self._source: DecompressedLayer | None = source
        self._left = header.body_size()

    def body(self) -> Iterator[bytes]:
        """Yield the stored bytes in pieces, once, before the walk goes on.

        Raises `LayerUnreadable` where the archive ends inside the body.
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
    """Walk over a layer: plain tar, gzip, bzip2, xz or lzma, known by its first bytes.

    `max_bytes` counts decompressed bytes. The archive may end without its zero
    blocks (Docker up to 1.2) and inside the padding of its last entry; an empty
    file has no entries. A compressed layer is read to its end, so its own
    checksum is checked; what follows a whole gzip, bzip2 or xz member and is none
    is passed over. With an `observer` a plain archive is read to its end, too.
    `pause` is called after each entry and each step of decompression.

    Raises `LayerUnreadable` (no tar, damaged, cut off), `LayerTooLarge` (a limit
    is passed), and whatever `file.read` raises.
    """
    return walk(DecompressedLayer(file, max_bytes, pause=pause), max_entries, observer, pause)


def walk(
    source: DecompressedLayer,
    max_entries: int | None = None,
    observer: Observer | None = None,
    pause: Callable[[], None] | None = None,
) -> Iterator[TarEntry]:
    """Walk over a source. When an entry is yielded, the source is at the first byte of its body."""
    extended = ExtendedHeaders()
    pending = False
    count = 0
    while True:
        block = source.read(BLOCK)
        if block == _ZEROS[: len(block)]:
            break
        header = Header(block)
        if observer:
            observer.header(block)
        padding = -header.body_size() % BLOCK
        if header.typeflag in EXTENDED:
            data = _read_extended(source, header, extended)
            if observer:
                observer.extended(header.typeflag, data)
            pending = True
            _skip(source, padding, observer)
            continue
        _skip_sparse_map(source, header, observer)
        count += 1
        if max_entries is not None and count > max_entries:
            raise LayerTooLarge(f"the layer holds more than {max_entries} entries")
        entry = TarEntry(header, extended.take(), source)
        padding = -entry._left % BLOCK
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
    """Read what a pax header or a long name says about the next entry; return its data."""
    extended.reserve(header.size)
    data = source.read(header.size)
    if len(data) < header.size:
        raise LayerUnreadable("the archive is cut off inside an extended header")
    extended.add(header.typeflag, data)
    return data


def _skip_sparse_map(source: DecompressedLayer, header: Header, observer: Observer | None) -> None:
    """Old GNU sparse files have the rest of their map between header and body."""
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
