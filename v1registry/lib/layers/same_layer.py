"""Compares two layers by content.

An engine writes the tar of a layer anew for each push, in the way of its version. Two layers are the
same if they contain equal entries, and equal bytes wherever a tar can contain bytes that belong to no
entry. Only these may differ: the compression, zeros at the end, the first entry for the root folder
`.` (see `_is_plain_root`), the order of entries with different names, and what a tar writer adds by
itself (see `UnreadBytes`).
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Sequence
from typing import Any

from v1registry.lib.layers.decompress import Tap
from v1registry.lib.layers.tar_stream import (
    LayerTooLarge,
    LayerUnreadable,
    Readable,
    TarEntry,
    entries,
)
from v1registry.lib.layers.tar_trailer import UnreadBytes
from v1registry.lib.running import sorted_in_steps

#: More entries than any real layer has; each takes 40 bytes of memory.
MAX_ENTRIES = 1_000_000

_MAX_HEADERS = 8  # of one entry with its extended ones; tar writers make up to four
_SIZE = 32  # bytes of one SHA-256

_FILE_TYPES = {  # type bits in the mode; Go writes them, GNU tar does not
    "0": 0o100000,
    "1": 0o100000,
    "2": 0o120000,
    "3": 0o020000,
    "4": 0o060000,
    "5": 0o040000,
    "6": 0o010000,
}
_TYPE_MASK = 0o170000
_UNSAFE = (
    0o7022  # bits of a mode: set-user-id, set-group-id, and writable by other users than the owner
)


class LayerContent:
    """The content of a layer as one digest. Takes 40 bytes of memory for each entry.

    As the observer of a walk it receives all bytes outside the entries. The caller passes each entry
    to `start`, hashes the body with the returned hash, and passes that to `finish`.
    """

    def __init__(self) -> None:
        self._digests = bytearray()
        self._names = array("q")
        self._rest = UnreadBytes()
        self._heads: list[bytes] = []  # of the next entry, its extended headers' first
        self._extended: list[tuple[str, bytes]] = []
        self._root_is_known = False
        self._after = hashlib.sha256()
        self._ends_in_zeros = True
        self._is_readable = True

    @classmethod
    def read(cls, file: Readable, max_bytes: int | None = None) -> str:
        """Read a layer to its end once and return its `value`.

        `max_bytes` (decompressed) limits the walk over its entries.
        """
        sent = hashlib.sha256()
        tap = Tap(file, sent)
        content = cls()
        try:
            for entry in entries(tap, max_bytes, MAX_ENTRIES, content):
                running = content.start(entry)
                for piece in entry.body():
                    running.update(piece)
                content.finish(running)
        except (LayerUnreadable, LayerTooLarge):
            content.incomplete()
        tap.drain()
        return content.value(sent.hexdigest())

    def value(self, raw: str) -> str:
        """Return a text that is equal for two layers with the same content.

        `raw` is the hex SHA-256 of the layer as it was sent. It is the value of a layer that the walk
        cannot read, or that has bytes besides its compressed tar.
        """
        if not self._is_readable:
            return f"bytes:{raw}"
        total = hashlib.sha256()
        for digest in in_archive_order(split(self._digests), self._names):
            total.update(digest)
        total.update(self._rest.digest())
        if not self._ends_in_zeros:
            total.update(self._after.digest())
        return f"entries:{total.hexdigest()}"

    # -- entries ------------------------------------------------------------------

    def start(self, entry: TarEntry) -> Any:
        """Return the hash for the entry's body, None if the entry is ignored."""
        if self._is_readable:
            self._rest.add_headers(entry, self._heads, self._extended)
        self._heads, self._extended = [], []
        fields = _fields(entry)
        if not self._root_is_known and _is_plain_root(fields):
            self._root_is_known = True  # a second root entry could hide data
            return None
        self._names.append(hash(entry.name.removeprefix("./").removesuffix("/")))
        return hashlib.sha256(ascii(fields).encode() + b"\n")

    def finish(self, running: Any) -> None:
        """Add the entry whose body was hashed with `running`."""
        if running is not None:
            self._digests += running.digest()

    # -- as the observer of a walk --------------------------------------------------

    def header(self, block: bytes) -> None:
        if len(self._heads) < _MAX_HEADERS:
            self._heads.append(block)
        else:
            self.incomplete()  # comparing all of them would take seconds for a few bytes

    def extended(self, typeflag: str, data: bytes) -> None:
        self._extended.append((typeflag, data))

    def between(self, data: bytes) -> None:
        self._rest.add(data.rstrip(b"\0"))

    def after(self, data: bytes) -> None:
        self._after.update(data)
        self._ends_in_zeros = self._ends_in_zeros and not data.strip(b"\0")

    def incomplete(self) -> None:
        self._is_readable = False


def _fields(entry: TarEntry) -> tuple[Any, ...]:
    """Return the fields that a TarSum covers and extended attributes, equal for all tar writers."""
    typeflag, name, linkname = entry.typeflag, entry.name, entry.linkname
    if typeflag == "\0" and not name.endswith("/"):
        typeflag = "0"  # both mean a file
    if typeflag == "5":
        name = name.removesuffix("/")
    if typeflag == "1":
        linkname = linkname.removeprefix("./")
    mode = entry.mode
    if mode & _TYPE_MASK == _FILE_TYPES.get(typeflag):
        mode &= ~_TYPE_MASK
    owner = (mode, entry.uid, entry.gid, entry.mtime)
    devices = (entry.devmajor, entry.devminor)
    texts = (linkname, entry.uname, entry.gname)
    attributes = sorted(entry.xattrs.items())
    return (name.removeprefix("./"), typeflag, *owner, entry.size, *texts, *devices, attributes)


def _is_plain_root(fields: tuple[Any, ...]) -> bool:
    """Return whether this is the root folder as engines write it; some engines omit it.

    Any other root folder must count. Otherwise a client could make `/` writable to others in an image
    that another client pushes later.
    """
    name, typeflag, mode, uid, gid, _mtime, *others = fields
    is_safe = mode & _UNSAFE == 0 and uid == gid == 0
    return (name, typeflag) == (".", "5") and is_safe and not any(others)


def split(digests: bytes | bytearray) -> list[bytes]:
    """Split concatenated SHA-256 digests."""
    raw = bytes(digests)
    return [raw[at : at + _SIZE] for at in range(0, len(raw), _SIZE)]


def in_archive_order(digests: list[bytes], names: Sequence[int]) -> list[bytes]:
    """Sort the digests, but keep the archive's order among those of one name."""
    order = sorted_in_steps(range(len(digests)), digests.__getitem__)
    places: dict[int, list[int]] = {}
    for place, position in enumerate(order):
        places.setdefault(names[position], []).append(place)
    for taken in places.values():
        for place, position in zip(taken, sorted(order[i] for i in taken), strict=True):
            order[place] = position
    return [digests[position] for position in order]
