"""One header block of a tar: its fields, and how pax records change them.

Pure functions; `tar_stream` walks. Formats: v7, ustar, star, old GNU, pax.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Any

BLOCK = 512

#: The fields of a header block, in the positions of ustar.
FIELDS = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12s")
_CHECKSUM = slice(148, 156)
_HEADER_ONLY = frozenset("123456")  # links, devices, folders, fifos: no body follows
_DEVICES = frozenset("34")
_TIME = re.compile(rb"(-?)([0-9]{1,19})(?:\.([0-9]*))?")
_INTEGER = re.compile(rb"-?[0-9]{1,19}")
_INT64 = 1 << 63

#: Limits for extended headers (pax records, long names): for all headers before one entry ...
MAX_EXTENDED_BYTES = 1 << 20  # Go has the same limit for one header
MAX_EXTENDED_RECORDS = 10_000
#: ... and for all headers in one tar. bsdtar writes seven records of 30 bytes for each entry.
MAX_ARCHIVE_EXTENDED_BYTES = 1 << 30
MAX_ARCHIVE_EXTENDED_RECORDS = 16_000_000

XATTR = "SCHILY.xattr."
_LONG_NAMES = {"L": "path", "K": "linkpath"}
EXTENDED = ("x", *_LONG_NAMES)


class LayerUnreadable(ValueError):
    """The layer is not a readable tar, or it is damaged or truncated."""


class LayerTooLarge(ValueError):
    """The layer exceeds a limit."""


def text(raw: bytes) -> str:
    """Return the text of a field, with surrogate escapes for bytes that are not UTF-8."""
    return raw.decode("utf-8", "surrogateescape")


def raw(value: str) -> bytes:
    """Undo `text`."""
    return value.encode("utf-8", "surrogateescape")


def c_string(raw: bytes) -> bytes:
    """Return the bytes before the first NUL."""
    return raw.partition(b"\0")[0]


def _number(field: bytes) -> int:
    """Return a number: octal digits among NULs and blanks, or base 256 if the first bit is set."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big") & ~(0x80 << 8 * (len(field) - 1))
        if field[0] & 0x40:
            value -= 1 << (8 * len(field) - 1)
        if not -_INT64 <= value < _INT64:
            raise LayerUnreadable("a number in a tar header is out of range")
        return value
    digits = c_string(field.strip(b" \0"))
    if not digits:
        return 0
    try:
        if digits.isdigit():
            return int(digits, 8)
    except ValueError:
        pass
    raise LayerUnreadable("a number in a tar header is invalid")


def _is_number(field: bytes) -> bool:
    try:
        _number(field)
    except LayerUnreadable:
        return False
    return True


def is_times(block: bytes) -> bool:
    """Return whether the block has GNU's times of last access and change in place of a prefix."""
    return _is_number(block[345:357]) and _is_number(block[357:369])


def is_header(block: bytes) -> bool:
    """Return whether a block contains its own checksum, of unsigned or signed bytes."""
    if len(block) < BLOCK:
        return False
    try:
        stated = _number(block[_CHECKSUM])
    except LayerUnreadable:
        return False
    unsigned = sum(block) - sum(block[_CHECKSUM]) + 8 * 0x20
    if stated == unsigned:
        return True
    rest = block[:148] + block[156:]
    return stated == unsigned - 256 * sum(byte > 127 for byte in rest)


class Header:
    """The fields of a header.

    name, linkname, uname, gname: str, with surrogate escapes for bytes that are not UTF-8; size: bytes
    as the tar states it; mtime: whole seconds since the epoch; typeflag: one character; xattrs:
    extended attributes, name -> raw value; sparse_name, sparse_size: those of the unpacked file for a
    GNU sparse file, otherwise None; sparse_continues: whether more blocks of the map of an old GNU
    sparse file are between the header and the body.
    """

    def __init__(self, block: bytes) -> None:
        """Read a header block; raise `LayerUnreadable` if it is short or not a header."""
        if len(block) < BLOCK:
            raise LayerUnreadable("the archive is cut off inside a header")
        if not is_header(block):
            raise LayerUnreadable("the layer is no tar archive")
        fields: tuple[Any, ...] = FIELDS.unpack(block)
        name, mode, uid, gid, size, mtime, _, flag, link, magic, uname, gname, major, minor = (
            fields[:14]
        )
        self.typeflag = flag.decode("latin-1")
        self.name = text(c_string(name))
        self.mode = _number(mode)
        self.uid = _number(uid)
        self.gid = _number(gid)
        self.size = _number(size)
        self.mtime = _number(mtime)
        self.linkname = text(c_string(link))
        self.uname = self.gname = ""
        self.devmajor = self.devminor = 0
        self.xattrs: dict[str, bytes] = {}
        self.sparse_name: str | None = None
        self.sparse_size: int | None = None
        self.sparse_continues = False
        posix, gnu = magic[:6] == b"ustar\0", magic == b"ustar  \0"
        if posix or gnu:
            self.uname = text(c_string(uname))
            self.gname = text(c_string(gname))
            if self.typeflag in _DEVICES:
                self.devmajor = _number(major)
                self.devminor = _number(minor)
            if gnu and self.typeflag == "S":
                self.sparse_size = _number(block[483:495])
                self.sparse_continues = block[482] != 0
            else:
                self._prepend(block, posix)
        self._check()

    def _prepend(self, block: bytes, posix: bool) -> None:
        """Put the prefix field, if there is one, before the name."""
        if not block[345]:
            return
        if posix:
            star = block[508:512] == b"tar\0"
            prefix = c_string(block[345:476] if star else block[345:500])
        elif is_times(block):
            return
        else:
            prefix = c_string(block[345:500])  # as Go before 1.8 writes it
        self.name = f"{text(prefix)}/{self.name}"

    def merge(self, pax: dict[str, bytes]) -> None:
        """Replace fields by pax records; an empty value does not replace a field."""
        self.name = _pax_text(pax, "path", self.name)
        self.linkname = _pax_text(pax, "linkpath", self.linkname)
        self.uname = _pax_text(pax, "uname", self.uname)
        self.gname = _pax_text(pax, "gname", self.gname)
        self.uid = _pax_integer(pax, "uid", self.uid)
        self.gid = _pax_integer(pax, "gid", self.gid)
        self.size = _pax_integer(pax, "size", self.size)
        self.mtime = _pax_seconds(pax, self.mtime)
        for key in ("GNU.sparse.realsize", "GNU.sparse.size"):
            if pax.get(key):
                self.sparse_size = _pax_integer(pax, key, 0)
                break
        if "GNU.sparse.name" in pax:
            self.sparse_name = text(pax["GNU.sparse.name"])
        prefix = len(XATTR)
        self.xattrs = {k[prefix:]: value for k, value in pax.items() if k.startswith(XATTR)}
        self._check()

    def _check(self) -> None:
        if self.size < 0 or (self.sparse_size or 0) < 0:
            raise LayerUnreadable("a negative size in a tar header")

    def body_size(self) -> int:
        """Return the size of the body in the tar, without padding."""
        return 0 if self.typeflag in _HEADER_ONLY else self.size


class ExtendedHeaders:
    """The extended headers of the next entry, within the limits above.

    Many headers may precede one entry, so the limits count them together. Each header and each record
    is counted before it is kept.
    """

    def __init__(self) -> None:
        self.records: dict[str, bytes] = {}
        self._bytes = self._count = 0  # before the next entry
        self._all_bytes = self._all_count = 0

    def reserve(self, size: int) -> None:
        """Count a header of `size` bytes before it is read. Raises `LayerTooLarge`."""
        self._bytes += size
        self._all_bytes += size
        if self._bytes > MAX_EXTENDED_BYTES:
            raise LayerTooLarge(f"extended headers of {self._bytes} bytes before one entry")
        if self._all_bytes > MAX_ARCHIVE_EXTENDED_BYTES:
            raise LayerTooLarge(f"extended headers of {self._all_bytes} bytes")
        self._add_record()  # an empty header takes time as well

    def add(self, typeflag: str, data: bytes) -> None:
        """Keep the records of a header, by pax key. Raise `LayerUnreadable`, `LayerTooLarge`."""
        if typeflag in _LONG_NAMES:
            self.records[_LONG_NAMES[typeflag]] = c_string(data)
            return
        for key, value in pax_records(data):
            self._add_record()
            self.records[key] = value

    def take(self) -> dict[str, bytes]:
        """Return the records of the current entry, and start again for the next one."""
        taken, self.records = self.records, {}
        self._bytes = self._count = 0
        return taken

    def _add_record(self) -> None:
        self._count += 1
        self._all_count += 1
        if self._count > MAX_EXTENDED_RECORDS:
            raise LayerTooLarge(f"more than {MAX_EXTENDED_RECORDS} pax records before one entry")
        if self._all_count > MAX_ARCHIVE_EXTENDED_RECORDS:
            raise LayerTooLarge(f"more than {MAX_ARCHIVE_EXTENDED_RECORDS} pax records")


def pax_records(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the `LENGTH KEY=VALUE` records of a pax header; values are bytes, as xattrs are."""
    at = 0
    while at < len(data) and data[at]:  # some writers pad with NULs
        blank = data.find(b" ", at, at + 20)
        length = data[at:blank] if blank > at else b""
        end = at + int(length) if length.isdigit() else at
        if end <= blank + 1 or end > len(data) or data[end - 1] != 0x0A:
            raise LayerUnreadable("a damaged pax header")
        key, equals, value = data[blank + 1 : end - 1].partition(b"=")
        if not key or not equals:
            raise LayerUnreadable("a damaged pax header")
        yield text(key), value
        at = end


def _pax_text(pax: dict[str, bytes], key: str, default: str) -> str:
    value = pax.get(key)
    return text(value) if value else default


def _pax_integer(pax: dict[str, bytes], key: str, default: int) -> int:
    value = pax.get(key)
    if not value:
        return default
    if not _INTEGER.fullmatch(value) or not -_INT64 <= (number := int(value)) < _INT64:
        raise LayerUnreadable(f"the pax record {key} is not a number")
    return number


def _pax_seconds(pax: dict[str, bytes], default: int) -> int:
    """Return a time such as 1400000000.25 or -1.5 in whole seconds, rounded down."""
    value = pax.get("mtime")
    if not value:
        return default
    match = _TIME.fullmatch(value)
    if not match:
        raise LayerUnreadable("the pax record mtime is not a time")
    seconds = int(match[2])
    if not match[1]:
        return seconds
    return -seconds - bool((match[3] or b"").strip(b"0"))
