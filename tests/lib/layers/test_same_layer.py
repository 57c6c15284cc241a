"""Which layers have the same content (lib.layers.same_layer): only what tar writers change may differ."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import subprocess
import sys
import tarfile
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fixtures import engines
from tests.lib.tars import END, Slow, binary, folder, header, member, padded, pax, tar
from v1registry.lib.layers.same_layer import LayerContent
from v1registry.lib.layers.tar_header import is_header
from v1registry.lib.layers.tarsum import TarSums

LONG = "a/" + "long" * 40 + "/name"
NARROW = "dir/ü" + "n" * 98  # bytes: more than a header's name takes, and no place to cut it
MEMBERS = [
    folder("etc", mtime=1400000000),
    member("etc/secret", b"Ada's\n", mode=0o600, uid=1000, gid=1000, mtime=1400000001),
    member("etc/l", type=tarfile.SYMTYPE, linkname="secret", mode=0o777, mtime=1400000002),
    member("etc/hard", type=tarfile.LNKTYPE, linkname="etc/secret", mode=0o600),
    member("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
]
PLAIN = tar(MEMBERS)
ENTRIES = PLAIN[: PLAIN.rindex(b"null") // 512 * 512 + 512]  # without the trailer
ROOT = folder("./", mtime=1400000009)
XATTRS = {"SCHILY.xattr.security.capability": b"\1\0\0\2", "SCHILY.xattr.user.x": b"y"}


def content(layer: bytes, **options: Any) -> str:
    return LayerContent.read(io.BytesIO(layer), **options)


def with_modes(members: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    """As Go writes it: with the type in the mode."""
    bits = {b"0": 0o100000, b"1": 0o100000, b"2": 0o120000, b"3": 0o020000, b"5": 0o040000}
    copies = []
    for info, data in members:
        copy = tarfile.TarInfo.frombuf(info.tobuf(), "utf-8", "strict")
        copy.mode = info.mode | bits[info.type]
        copies.append((copy, data))
    return tar(copies)


def as_gnu_tar(members: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    """As engines up to 0.7 write it: `tar -C FOLDER .`."""
    copies = []
    for info, data in members:
        copy = tarfile.TarInfo.frombuf(info.tobuf(), "utf-8", "strict")
        copy.name = f"./{info.name}"
        if info.type == tarfile.LNKTYPE:
            copy.linkname = f"./{info.linkname}"
        copies.append((copy, data))
    return tar([ROOT, *copies], tarfile.GNU_FORMAT)


def long(format: int, **fields: Any) -> bytes:
    entries = [
        member(LONG, b"x", mtime=1, **fields),
        member(NARROW, b"y", mtime=2),
        member("l", type=tarfile.SYMTYPE, linkname=LONG, mtime=3),
    ]
    return tar(entries, format)


def file(*parts: bytes, **fields: Any) -> bytes:
    """A file `f`, with anything before and in its header."""
    return b"".join(parts) + header(b"f", 3, **fields) + padded(b"abc") + END


def long_by_hand(before: bytes, name: bytes) -> bytes:
    return before + header(name, 3) + padded(b"abc") + END


PATH = b"dir/" + b"x" * 200
GNU_LONG = header(b"././@LongLink", len(PATH) + 1, b"L", b"ustar  \0") + padded(PATH + b"\0")


def pax_long(name: bytes, **more: bytes) -> bytes:
    records = pax({"path": PATH, **{key.replace("__", "."): more[key] for key in more}})
    return header(name, int(records[124:135], 8), b"x") + records[512:]


SAME = {
    "gzip": (PLAIN, gzip.compress(PLAIN, 1, mtime=0)),
    "another level and time": (gzip.compress(PLAIN, 1, mtime=1), gzip.compress(PLAIN, 9, mtime=2)),
    "members of gzip": (PLAIN, gzip.compress(PLAIN[:700]) + gzip.compress(PLAIN[700:]) + bytes(9)),
    "bzip2": (PLAIN, bz2.compress(PLAIN)),
    "xz": (PLAIN, lzma.compress(PLAIN)),
    "no trailer": (PLAIN, ENTRIES),
    "a short trailer": (PLAIN, ENTRIES + bytes(512)),
    "half a block as trailer": (PLAIN, ENTRIES + bytes(100)),
    "a long trailer": (PLAIN, ENTRIES + bytes(5_000_000)),
    "the padding cut off": (tar([member("f", b"abc")]), header(b"f", 3, at_136=b"0" * 11) + b"abc"),
    "the root folder": (PLAIN, tar([ROOT, *MEMBERS])),
    "the root folder without a slash": (PLAIN, tar([folder("."), *MEMBERS])),
    "nothing and the root folder": (b"", tar([ROOT])),
    "modes of Go": (PLAIN, with_modes(MEMBERS)),
    "names of GNU tar": (PLAIN, as_gnu_tar(MEMBERS)),
    "the order of names": (PLAIN, tar([MEMBERS[i] for i in (4, 0, 3, 2, 1)])),
    "GNU": (PLAIN, tar(MEMBERS, tarfile.GNU_FORMAT)),
    "pax": (PLAIN, tar(MEMBERS, tarfile.PAX_FORMAT)),
    "NUL as the type of a file": (file(), file(typeflag=b"\0")),
    "long names": (long(tarfile.GNU_FORMAT), long(tarfile.PAX_FORMAT)),
    "long names in ustar": (
        tar([member("dir/" + "x" * 90 + "/" + "y" * 90)]),
        tar([member("dir/" + "x" * 90 + "/" + "y" * 90)], tarfile.GNU_FORMAT),
    ),
    "large ids": (long(tarfile.GNU_FORMAT, uid=1 << 22), long(tarfile.PAX_FORMAT, uid=1 << 22)),
    "GNU's long name and Go's": (
        long_by_hand(GNU_LONG, PATH[:100]),
        long_by_hand(pax_long(b"dir/PaxHeaders.4711/" + b"x" * 80), PATH[4:104]),
    ),
    "what bsdtar measures": (
        long_by_hand(GNU_LONG, PATH[:100]),
        long_by_hand(
            pax_long(
                b"dir/PaxHeader/" + b"x" * 80,
                atime=b"1500000000.25",
                ctime=b"1500000000.123456789",
                mtime=b"1400000000.5",
                SCHILY__ino=b"123",
                SCHILY__dev=b"7",
                SCHILY__nlink=b"1",
                LIBARCHIVE__creationtime=b"1",
            ),
            PATH[:100],
        ),
    ),
    "extended attributes in another order": (
        file(pax(XATTRS)),
        file(pax(dict(reversed(XATTRS.items())))),
    ),
    "the size in a pax header": (
        long_by_hand(pax_long(b"PaxHeaders.0/x"), b"x"),
        long_by_hand(pax_long(b"PaxHeaders.0/x", size=b"3"), b"x"),
    ),
    "hidden bytes, compressed otherwise": (PLAIN + b"secret", gzip.compress(PLAIN + b"secret")),
}  # fmt: skip

TWICE = [member("f", b"one"), member("f", b"two"), member("g", b"three")]


def _patched(at: int, data: bytes, of: bytes = PLAIN) -> bytes:
    return of[:at] + data + of[at + len(data) :]


def _gzip(flags: int, extra: bytes) -> bytes:
    """The plain archive in gzip, with an optional field in its header."""
    whole = gzip.compress(PLAIN, mtime=0)
    return whole[:3] + bytes([flags]) + whole[4:10] + extra + whole[10:]


_BODY = PLAIN.index(b"Ada's\n")
HIDDEN = {
    "after the archive": PLAIN + b"secret",
    "after the archive, in gzip": gzip.compress(PLAIN + b"secret"),
    "after the archive and a gap": PLAIN + bytes(700_000) + b"secret",
    "after the archive, before zeros": PLAIN + b"secret" + bytes(4096),
    "between the two last blocks": ENTRIES + bytes(512) + padded(b"secret") + bytes(512),
    "another entry after the end": ENTRIES + bytes(512) + tar([member("secret", b"x")]),
    "after the compressed archive": gzip.compress(PLAIN) + b"secret",
    "after the compressed archive and zeros": gzip.compress(PLAIN) + bytes(600) + b"secret",
    "after bzip2": bz2.compress(PLAIN) + b"secret",
    "after xz": lzma.compress(PLAIN) + b"secret",
    "a name in the gzip header": _gzip(8, b"secret\0"),
    "a comment in the gzip header": _gzip(16, b"secret\0"),
    "an extra field in the gzip header": _gzip(4, b"\6\0secret"),
    "a name in the second gzip header": gzip.compress(PLAIN) + gzip.compress(b"")[:3] + b"\10"
    + gzip.compress(b"")[4:10] + b"secret\0" + gzip.compress(b"")[10:],
    "in the padding of a file": _patched(_BODY + 500, b"secret"),
    "an entry more": tar([*MEMBERS, member("secret")]),
    "an entry less": tar(MEMBERS[:-1]),
    "an entry twice": tar([*MEMBERS, MEMBERS[1]]),
    "another content": PLAIN.replace(b"Ada's\n", b"Bob's\n"),
    "a second root folder": tar([ROOT, ROOT, *MEMBERS]),
    "a root that is a file": tar([member(".", b"secret"), *MEMBERS]),
    "a root with extended attributes": pax({"SCHILY.xattr.user.secret": b"x"}) + tar([ROOT, *MEMBERS]),
    "a root with an owner's name": tar([folder(".", uname="secret"), *MEMBERS]),
    "a root with a target": tar([folder(".", linkname="secret"), *MEMBERS]),
    "a root that others may write": tar([member("./", type=tarfile.DIRTYPE, mode=0o777), *MEMBERS]),
    "a root of another owner": tar([folder("./", uid=1000), *MEMBERS]),
    "a root of another group": tar([folder("./", gid=1000), *MEMBERS]),
    "a root with a comment": pax({"comment": b"secret"}) + tar([ROOT, *MEMBERS]),
}  # fmt: skip
HIDDEN_IN_FILE = {
    "the name of the extended header": pax_long(b"secret"),
    "a comment": pax_long(b"x", comment=b"secret"),
    "a long fraction": pax_long(b"x", mtime=b"1400000000." + b"1" * 30),
    "no time": pax_long(b"x", atime=b"secret"),
    "an extended attribute": pax_long(b"x", SCHILY__xattr__user__x=b"secret"),
    "an empty extended attribute": pax_long(b"x", SCHILY__xattr__user__secret=b""),
    "an attribute of libarchive": pax_long(b"x", LIBARCHIVE__xattr__user__x=b"c2VjcmV0"),
    "a sparse map": pax_long(b"x", GNU__sparse__map=b"0,1"),
    "an earlier path": pax({"path": b"secret"}) + pax_long(b"x"),
    "an earlier long name": header(b"././@LongLink", 6, b"L") + padded(b"secret") + pax_long(b"x"),
    "behind the records": header(b"x", 300, b"x")
    + padded(pax_long(b"x")[512:].rstrip(b"\0") + b"\0secret"),
    "in the padding of the records": pax_long(b"x")[:-6] + b"secret",
    "behind the long name": header(b"././@LongLink", 300, b"L") + padded(PATH + b"\0secret"),
    "a target in the extended header": header(
        b"x", 214, b"x", at_157=b"secret") + pax_long(b"x")[512:],
    "an owner in the extended header": header(
        b"x", 214, b"x", at_265=b"secret") + pax_long(b"x")[512:],
    "an id in the extended header": header(
        b"x", 214, b"x", at_108=b"0001234\0") + pax_long(b"x")[512:],
    "a global header": pax({"comment": b"secret"}, b"g") + pax_long(b"x"),
}  # fmt: skip
IN_HEADER = {
    "the mode": {"at_100": b"0000600\0"},
    "the owner": {"at_108": b"0000001\0"},
    "the group": {"at_116": b"0000001\0"},
    "the time": {"at_136": b"00000000001\0"},
    "the owner's name": {"at_265": b"secret"},
    "the group's name": {"at_297": b"secret"},
    "the target of no link": {"at_157": b"secret"},
    "the type": {"typeflag": b"7"},
    "behind the name": {"at_50": b"secret"},
    "behind the target": {"at_200": b"secret"},
    "behind a number": {"at_136": b"1234\0secret!"},
    "behind the owner's name": {"at_280": b"secret"},
    "the device of a file": {"at_329": b"0000001\0"},
    "text in the device of a file": {"at_337": b"secret"},
    "behind the empty prefix": {"at_400": b"secret"},
    "the end of the block": {"at_500": b"secret"},
    "the version": {"at_263": b"xy"},
    "times of GNU": {"magic": b"ustar  \0", "at_345": b"%011o\0" % 1400000000},
    "the rest of a GNU header": {"magic": b"ustar  \0", "at_400": b"secret"},
    "the rest of a star header": {"at_476": b"secret", "at_508": b"tar\0"},
    "the rest of an old header": {"magic": bytes(8), "at_300": b"secret"},
}


def differ(one: bytes, other: bytes) -> None:
    assert content(one) != content(other)
    assert content(other) == content(other)


@pytest.mark.parametrize("what", SAME)
def test_the_same(what: str) -> None:
    one, other = SAME[what]
    assert content(one) == content(other)
    assert content(one).startswith("entries:")


@pytest.mark.parametrize("what", HIDDEN)
def test_hidden_bytes_count(what: str) -> None:
    differ(PLAIN, HIDDEN[what])
    differ(HIDDEN[what].replace(b"secret", b"SECRET"), HIDDEN[what] + b"!")


@pytest.mark.parametrize("what", HIDDEN_IN_FILE)
def test_hidden_bytes_in_extended_headers_count(what: str) -> None:
    known = long_by_hand(pax_long(b"x"), b"x")
    hidden = long_by_hand(HIDDEN_IN_FILE[what], b"x")
    TarSums.read(io.BytesIO(hidden))  # a readable archive
    assert content(hidden).startswith("entries:")
    differ(known, hidden)


@pytest.mark.parametrize("what", IN_HEADER)
def test_hidden_bytes_in_headers_count(what: str) -> None:
    hidden = file(**IN_HEADER[what])  # type: ignore[arg-type]
    assert content(hidden).startswith("entries:")
    differ(file(), hidden)


@pytest.mark.parametrize("what", ["plain", "GNU", "pax", "an engine's"])
def test_no_byte_can_be_hidden_anywhere(what: str) -> None:
    layer = {
        "plain": PLAIN,
        "GNU": long(tarfile.GNU_FORMAT),
        "pax": long(tarfile.PAX_FORMAT),
        "an engine's": gzip.decompress(engines.layer_of("1.0.1")),
    }[what]
    known = content(layer)
    for at in range(min(len(layer), 8192)):
        head = slice(at // 512 * 512, at // 512 * 512 + 512)
        changed = bytearray(_patched(at, b"\xfe" if layer[at] != 0xFE else b"A", layer))
        if is_header(layer[head]) and not 148 <= at % 512 < 156:
            changed[head.start + 148 : head.start + 156] = b" " * 8
            total = sum(changed[head])
            changed[head.start + 148 : head.start + 156] = b"%06o\0 " % total
        assert content(bytes(changed)) != known, at


def test_hidden_bytes_in_a_header_that_a_long_name_replaces() -> None:
    for name in (b"secret", b"x/" + PATH[:40]):
        differ(long_by_hand(GNU_LONG, PATH[:100]), long_by_hand(GNU_LONG, name))
    sizes = {"path": PATH, "size": b"3", "mtime": b"1400000000"}
    hidden = pax(sizes) + header(b"x", b"%011o\0" % 4711) + padded(b"abc") + END
    differ(pax(sizes) + header(b"x", 3) + padded(b"abc") + END, hidden)


def test_maps_of_sparse_files_count() -> None:
    def sparse(offset: int, in_header: bool) -> bytes:
        entry = b"%011o\0%011o\0" % (offset, 3)
        first = {"at_386": entry} if in_header else {"at_482": b"\1"}
        more = b"" if in_header else padded(entry)
        head = header(b"f", 3, b"S", b"ustar  \0", at_483=b"%011o\0" % 9000, **first)
        return head + more + padded(b"abc") + END

    for in_header in (True, False):
        differ(sparse(0, in_header), sparse(4096, in_header))


def test_the_order_of_one_name_counts() -> None:
    """The later entry replaces the earlier one."""
    differ(tar(TWICE), tar([TWICE[1], TWICE[0], TWICE[2]]))
    assert content(tar(TWICE)) == content(tar([TWICE[2], *TWICE[:2]]))
    named = [member("./f", b"one"), member("f", b"two")]
    differ(tar(named), tar([member("./f", b"two"), member("f", b"one")]))


@pytest.mark.parametrize("layer", [b"no tar", PLAIN[:700], gzip.compress(PLAIN)[:-9], b"\x1f\x8b"])
def test_an_unreadable_layer_equals_only_itself(layer: bytes) -> None:
    assert content(layer).startswith("bytes:")
    differ(layer, layer + b"\0")
    differ(layer, PLAIN)


def test_a_layer_beyond_the_limits_equals_only_itself() -> None:
    one, other = gzip.compress(PLAIN, 1), gzip.compress(PLAIN, 9)
    assert content(one, max_bytes=4096) == content(one, max_bytes=4096)
    assert content(one, max_bytes=4096) != content(other, max_bytes=4096)


def test_the_size_of_reads_does_not_matter() -> None:
    for layer in (PLAIN, gzip.compress(PLAIN + bytes(600) + b"x"), HIDDEN["after bzip2"]):
        assert LayerContent.read(Slow(layer)) == content(layer)


def test_the_value_is_equal_in_all_processes() -> None:
    code = (
        "import sys\nfrom v1registry.lib.layers.same_layer import LayerContent\n"
        "print(LayerContent.read(sys.stdin.buffer))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            input=tar(TWICE),
            capture_output=True,
            check=True,
            cwd=Path(__file__).parents[3],
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout.decode()
        for seed in "123"
    }
    assert found == {content(tar(TWICE)) + "\n"}


@pytest.mark.parametrize(("first", "second"), engines.PAIRS)
def test_values_that_engines_sent(first: str, second: str) -> None:
    one, other = (engines.layer_of(version) for version in (first, second))
    assert content(one) == content(other)
    plain = gzip.decompress(other)
    differ(one, plain + b"secret")
    differ(one, plain.replace(b"root", b"ruth") if b"root" in plain else plain[:512] + plain)


_NAMES = st.text("ab/ü.-", min_size=1, max_size=8).map(lambda text: f"x{text}x")
_LONG_NAMES = st.builds("{}/{}".format, st.text("ab", min_size=80, max_size=200), _NAMES)
_IDS = st.integers(0, 1 << 22)
_ENTRIES = st.lists(
    st.fixed_dictionaries(
        {
            "name": _NAMES | _LONG_NAMES,
            "data": st.binary(max_size=600),
            "mode": st.integers(0, 0o7777),
            "mtime": st.integers(0, 1 << 34),
            "uid": _IDS,
            "gid": _IDS,
            "uname": st.sampled_from(["", "root", "ü"]),
            "linkname": st.none() | _NAMES | _LONG_NAMES,
        }
    ),
    min_size=1,
    max_size=5,
)
_WAYS = st.tuples(
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    st.booleans(),  # the root folder
    st.integers(0, 3000),  # zeros at the end
    st.sampled_from([bytes, gzip.compress, bz2.compress, lzma.compress]),
)


def written(entries: list[dict[str, Any]], way: tuple[Any, ...]) -> bytes:
    format, has_root, zeros, compress = way
    members = [ROOT] if has_root else []
    for entry in entries:
        fields = {key: entry[key] for key in ("mode", "mtime", "uid", "gid", "uname")}
        if entry["linkname"] is None:
            members.append(member(entry["name"], entry["data"], **fields))
        else:
            link = {"type": tarfile.SYMTYPE, "linkname": entry["linkname"]}
            members.append(member(entry["name"], **link, **fields))
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
        end = archive.offset
    layer: bytes = compress(out.getvalue()[:end] + bytes(zeros))
    return layer


@settings(max_examples=150, deadline=None)
@given(_ENTRIES, _WAYS, _WAYS, st.data())
def test_any_entries_written_in_two_ways(
    entries: list[dict[str, Any]], one: tuple[Any, ...], other: tuple[Any, ...], data: st.DataObject
) -> None:
    known = content(written(entries, one))
    assert known == content(written(entries, other))
    assert known.startswith("entries:")
    index = data.draw(st.integers(0, len(entries) - 1))
    key = data.draw(st.sampled_from(["name", "data", "mode", "mtime", "uid", "gid"]))
    old = entries[index][key]
    if key == "data" and entries[index]["linkname"] is not None:
        return  # a link has none
    new = old + type(old)(b"!" if key == "data" else "!" if key == "name" else 1)
    changed = [*entries[:index], {**entries[index], key: new}, *entries[index + 1 :]]
    assert known != content(written(changed, other))


def test_many_headers_of_one_entry_cost_little() -> None:
    """A long name, and thousands of headers that would all be compared with it."""
    name = pax({"path": b"x" * 900_000 + b"yz"})
    layer = name + header(b"yz", 0, b"x") * 9_000 + header(b"x") + END
    start = time.process_time()
    assert content(layer).startswith("bytes:")
    assert content(name + header(b"yz", 0, b"x") * 6 + header(b"yz") + END).startswith("entries:")
    assert time.process_time() - start < 2


def test_memory_is_bounded() -> None:
    """A long trailer, and a large file, in compressed megabytes."""
    body = bytes(64 << 20)
    bomb = gzip.compress(header(b"f", len(body)) + body + END + bytes(64 << 20) + b"x", 1)
    one = header(b"f", 3, at_0=binary(1)) + padded(b"abc") + END
    content(one)
    tracemalloc.start()
    try:
        content(bomb)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
