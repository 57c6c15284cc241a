"""Tars for tests: ordinary ones made by tarfile, unusual ones block by block."""

from __future__ import annotations

import base64
import io
import json
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

RECORDINGS = Path(__file__).parents[1] / "fixtures" / "recordings"
VERSIONS = ("1.0.1", "1.5.0", "1.8.3", "1.12.6")

#: the two blocks that end an archive
END = bytes(1024)

#: protocol-v1.md section 3: the JSON of the TarSum vector
VECTOR_JSON = b'{"id":"' + 64 * b"a" + b'"}'


def member(name: str, data: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


def folder(name: str, **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=tarfile.DIRTYPE, mode=0o755, **fields)


def tar(
    members: Iterable[tuple[tarfile.TarInfo, bytes]], format: int = tarfile.USTAR_FORMAT
) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format, errors="surrogateescape") as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def vector() -> bytes:
    """The layer of the TarSum vector."""
    return tar(
        [
            folder("d", uname="root", gname="root", mtime=1400000000),
            member("d/a", b"hello\n", uid=1000, gid=1000, uname="u", gname="g", mtime=1400000001),
            member("d/l", type=tarfile.SYMTYPE, linkname="a", mode=0o777, mtime=1400000002),
        ]
    )


def header(
    name: bytes = b"f",
    size: int | bytes = 0,
    typeflag: bytes = b"0",
    magic: bytes = b"ustar\x0000",
    **at: bytes,
) -> bytes:
    """One header block; `at_OFFSET=bytes` overwrites bytes before the checksum is computed."""
    block = bytearray(512)
    block[0 : len(name)] = name
    block[100:108] = b"0000644\0"
    block[124:136] = size if isinstance(size, bytes) else b"%011o\0" % size
    block[136:148] = b"%011o\0" % 1400000000
    block[156:157] = typeflag
    block[257:265] = magic
    for place, value in at.items():
        start = int(place.removeprefix("at_"))
        block[start : start + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def binary(value: int, width: int = 12) -> bytes:
    """A number in base 256."""
    raw = bytearray((value % (1 << 8 * width)).to_bytes(width, "big"))
    raw[0] |= 0x80
    return bytes(raw)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def pax(records: dict[str, bytes], typeflag: bytes = b"x") -> bytes:
    """A pax header with its records."""
    data = b""
    for key, value in records.items():
        line = b" " + key.encode() + b"=" + value + b"\n"
        length = len(line)
        while len(str(length)) + len(line) != length:
            length = len(str(length)) + len(line)
        data += b"%d" % length + line
    return header(b"pax", len(data), typeflag) + padded(data)


class Endless:
    """A file that repeats one block endlessly, and counts the bytes that were read."""

    def __init__(self, start: bytes, block: bytes) -> None:
        self._start = start
        self._block = block
        self.taken = 0

    def read(self, size: int, /) -> bytes:
        if self._start:
            piece, self._start = self._start[:size], self._start[size:]
        else:
            piece = self._block * (size // len(self._block))
        self.taken += len(piece)
        return piece


class Slow(io.BytesIO):
    """A file that returns one byte for each read."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(size or 0, 1))


def pushes() -> Iterator[tuple[str, bytes, bytes, str]]:
    """Each image of the recorded pushes: name for the test, JSON, layer, X-Docker-Checksum."""
    for version in VERSIONS:
        sent: dict[str, dict[str, bytes]] = {}
        with open(RECORDINGS / f"{version}-push-new.jsonl") as lines:
            for request in (json.loads(line)["request"] for line in lines):
                method, path, _ = request["line"].split()
                parts = path.split("/")
                if method != "PUT" or parts[2] != "images":
                    continue
                image = sent.setdefault(parts[3], {})
                image[parts[4]] = base64.b64decode(request["body_base64"] or "")
                if parts[4] == "checksum":
                    headers = {name.lower(): value for name, value in request["headers"]}
                    value = headers["x-docker-checksum"]
                    yield f"{version}-{parts[3][:8]}", image["json"], image["layer"], value


@st.composite
def hostile_tars(draw: st.DrawFn) -> bytes:
    """Return a tar of complete members, then headers with any fields, garbage and zeros.

    It may be cut off.
    """
    numbers = [0, 1, 511, 512, 513, 4000, 1 << 20, (1 << 20) + 1, 8 << 30, 1 << 62]
    sizes: st.SearchStrategy[int | bytes] = st.one_of(
        st.sampled_from(numbers[:-2]),
        st.sampled_from([*numbers, -1]).map(binary),
        st.sampled_from([b"77777777777\0", b"-0000000001\0", b"x" * 12, bytes(12)]),
    )
    flags = st.sampled_from(
        [b"0", b"\0", b"1", b"2", b"3", b"5", b"7", b"x", b"g", b"L", b"K", b"S", b"V"]
    )
    names = st.sampled_from([b"a", b"../../a", b"/", b"", b"a/../b", b"f\xff", b"n" * 100])
    keys = ["path", "linkpath", "size", "uid", "mtime", "GNU.sparse.realsize", "GNU.sparse.name"]
    values = st.sampled_from(
        [b"1", b"-1", b"9" * 25, b"1.5", b"x" * 5000, b"a", b"", b"\xff\0\n", b"a/b"]
    )
    records = st.dictionaries(st.sampled_from([*keys, "SCHILY.xattr.user.a"]), values, max_size=5)
    blocks = st.one_of(
        st.builds(
            header,
            names,
            sizes,
            flags,
            st.sampled_from([b"ustar\x0000", b"ustar  \0", bytes(8)]),
            at_157=names,
            at_482=st.sampled_from([b"\0", b"\1"]),
            at_483=st.sampled_from([b"00000000100\0", b"77777777777\0", b"y" * 12]),
        ),
        st.builds(pax, records, st.sampled_from([b"x", b"g"])),
        st.builds(lambda name: header(b"long", len(name), b"L") + padded(name), names),
        st.builds(
            lambda data: header(b"x", len(data), b"x") + padded(data), st.binary(max_size=40)
        ),
        st.binary(max_size=600),
        st.sampled_from([512, 1 << 20, 16 << 20]).map(bytes),
    )
    members = st.builds(
        lambda size, flag, count: (header(b"f", size, flag) + padded(bytes(size))) * count,
        st.sampled_from([0, 513, 4 << 20, 4 << 20]),
        st.sampled_from([b"0", b"0", b"0", b"5", b"L", b"x"]),
        st.integers(1, 3),
    )
    complete = b"".join(draw(st.lists(members, max_size=2)))
    hostile = b"".join(draw(st.lists(blocks, max_size=8)))
    whole = complete + hostile + draw(st.sampled_from([END, b""]))
    cut = draw(st.none() | st.integers(0, 3000))
    return whole if cut is None else whole[:cut]
