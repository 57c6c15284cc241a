"""The bytes of a tar that no field of an entry contains, such as comments in pax headers.

They belong to the layer. So a client that claims to have the layer must have sent them as well.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any

from v1registry.lib.layers.tar_header import (
    FIELDS,
    XATTR,
    Header,
    c_string,
    is_times,
    pax_records,
    raw,
)
from v1registry.lib.layers.tar_stream import TarEntry

_ENTRY_FIELDS = frozenset({"path", "linkpath", "uname", "gname", "uid", "gid", "size"})
_TIMES = re.compile(rb"-?[0-9]{1,19}(\.[0-9]{0,9})?")
_MEASURED = frozenset(  # tar writers add them, and they change whenever a file is read
    {"mtime", "atime", "ctime", "LIBARCHIVE.creationtime"}
    | {"SCHILY.dev", "SCHILY.ino", "SCHILY.nlink"}
)
_EXTENDED_NAME = re.compile(rb"@?(?:LongLink|PaxHeaders?(?:\.(?:X|[0-9]{1,10}))?)")
_PERMISSIONS = 0o7777


class UnreadBytes:
    """Hashes the bytes of a tar that are not in a field of an entry and do not follow from one.

    What tar writers add by themselves is ignored: names of extended headers derived from the entry's
    name, shortened names beside the long ones, and times and inode numbers.
    """

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self.digest = self._sha256.digest

    def add(self, *parts: bytes) -> None:
        for part in parts:
            if part:
                self._sha256.update(b"%d " % len(part) + part)

    def add_headers(
        self, entry: TarEntry, heads: list[bytes], extended: list[tuple[str, bytes]]
    ) -> None:
        """Add the rest of an entry's header, the last of `heads`, and of its extended headers."""
        for block in heads:
            self.add(*_unread_in_header(block))
        if extended:  # otherwise the entry's fields are those of its header
            self._add_replaced(entry, heads)
            self._add_records(extended)

    def _add_replaced(self, entry: TarEntry, heads: list[bytes]) -> None:
        """Add the fields of headers that extended headers replace, so the entry does not have them."""
        final = {name: raw(getattr(entry, name)) for name in ("name", "linkname", "uname", "gname")}
        *before, own = (Header(block) for block in heads)
        for header in before:
            name = _EXTENDED_NAME.sub(b"", raw(header.name)).translate(None, b"./")
            self._add_unless(_is_part(name, final["name"]), header.name)
            self._add_unless(header.linkname == "", header.linkname)
            for key in ("uname", "gname"):
                owner = getattr(header, key)
                self._add_unless(owner in ("", "root", getattr(entry, key)), owner)
            self._add_unless(header.uid in (0, entry.uid), header.uid)
            self._add_unless(header.gid in (0, entry.gid), header.gid)
            self._add_unless(header.mode & ~_PERMISSIONS == 0, header.mode)
        for key, value in final.items():
            stated = getattr(own, key)
            self._add_unless(_is_part(raw(stated), value), stated)
        for key in ("uid", "gid", "size", "mtime"):
            stated = getattr(own, key)
            self._add_unless(stated in (0, getattr(entry, key)), stated)

    def _add_records(self, extended: list[tuple[str, bytes]]) -> None:
        records: dict[str, bytes] = {}
        for typeflag, data in extended:
            if typeflag == "x":
                pairs: Iterable[tuple[str, bytes]] = pax_records(data)
                rest = data[_end_of_records(data) :]
            else:
                pairs = [("path" if typeflag == "L" else "linkpath", c_string(data))]
                rest = data.partition(b"\0")[2]
            self.add(rest.rstrip(b"\0"))
            for key, value in pairs:
                if key in records:
                    self.add(records[key])  # replaced, so no entry contains it
                records[key] = value
        for key, value in sorted(records.items()):
            if key in _ENTRY_FIELDS or key.startswith(XATTR):
                continue
            if key not in _MEASURED or not _TIMES.fullmatch(value):
                self.add(raw(key), value)

    def _add_unless(self, is_known: bool, value: str | int) -> None:
        if not is_known:
            self.add(raw(str(value)))


def _unread_in_header(block: bytes) -> list[bytes]:
    """Return the bytes of a header block that no field of its `Header` covers.

    Zeros are omitted, so the list is empty for the blocks of all common tar writers.
    """
    fields: tuple[Any, ...] = FIELDS.unpack(block)
    name, mode, uid, gid, size, mtime, checksum, flag, link, magic = fields[:10]
    uname, gname, major, minor, prefix, last = fields[10:]
    texts, numbers, rest = [name, link], [mode, uid, gid, size, mtime, checksum], []
    posix, gnu = magic[:6] == b"ustar\0", magic == b"ustar  \0"
    if not posix and not gnu:
        rest.append(block[257:])
    else:
        texts += [uname, gname]
        if flag in b"34":
            numbers += [major, minor]
        else:
            rest += [field for field in (major, minor) if field.strip(b" 0\0")]
        if posix and last[8:] == b"tar\0":
            texts.append(prefix[:131])
            rest.append(block[476:508])
        elif posix or (flag != b"S" and not is_times(block)):
            texts.append(prefix)
            rest.append(last)
        else:
            rest.append(block[345:])
        if posix and magic[6:] not in (b"00", b"\0\0"):
            rest.append(magic)
    rest += [text.partition(b"\0")[2] for text in texts]
    rest += [n.strip(b" \0").partition(b"\0")[2] for n in numbers if not n[0] & 0x80]
    return [stripped for part in rest if (stripped := part.rstrip(b"\0"))]


def _is_part(part: bytes, whole: bytes) -> bool:
    """Return whether removing some bytes of `whole` gives `part`.

    Python's tarfile writes `?` for letters that are not ASCII.
    """
    if part == whole:
        return True
    at = 0
    for byte in part.translate(None, b"?"):
        at = whole.find(byte, at) + 1
        if at == 0:
            return False
    return True


def _end_of_records(data: bytes) -> int:
    at = 0
    while at < len(data) and data[at]:
        at += int(data[at : data.index(b" ", at)])
    return at
