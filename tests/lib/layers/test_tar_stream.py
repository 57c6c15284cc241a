"""Walking over layers: every format and compression, damaged and hostile ones."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import math
import os
import tarfile
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lib.tars import (
    END,
    Endless,
    Slow,
    binary,
    folder,
    header,
    hostile_tars,
    member,
    padded,
    pax,
    tar,
    vector,
)
from v1registry.lib.layers import tar_header
from v1registry.lib.layers.tar_stream import LayerTooLarge, LayerUnreadable, TarEntry, entries

MIB = 1 << 20

FORMATS = {
    "ustar": tarfile.USTAR_FORMAT,
    "gnu": tarfile.GNU_FORMAT,
    "pax": tarfile.PAX_FORMAT,
}
COMPRESSIONS = {
    "plain": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
}


def walk(layer: bytes, **limits: int) -> list[TarEntry]:
    return list(entries(io.BytesIO(layer), **limits))


def names(layer: bytes) -> list[str]:
    return [entry.name for entry in walk(layer)]


def contents(layer: bytes) -> list[tuple[str, bytes]]:
    return [(entry.name, b"".join(entry.body())) for entry in entries(io.BytesIO(layer))]


def peak(file: object, expected: type[Exception], **limits: int) -> int:
    """Bytes of memory at the highest point of a walk that must end in `expected`."""
    tracemalloc.start()
    try:
        with pytest.raises(expected):
            for entry in entries(file, **limits):  # type: ignore[arg-type]
                for _ in entry.body():
                    pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# ---- ordinary archives


@pytest.mark.parametrize("compress", COMPRESSIONS.values(), ids=COMPRESSIONS)
def test_every_compression_is_known_by_its_first_bytes(compress):
    layer = compress(vector())
    assert contents(layer) == [("d/", b""), ("d/a", b"hello\n"), ("d/l", b"")]
    assert [entry.name for entry in entries(Slow(layer))] == ["d/", "d/a", "d/l"]


def test_fields():
    entry = walk(vector())[1]
    assert (entry.mode, entry.uid, entry.gid, entry.size) == (0o644, 1000, 1000, 6)
    assert (entry.mtime, entry.typeflag, entry.linkname) == (1400000001, "0", "")
    assert (entry.uname, entry.gname, entry.devmajor, entry.devminor) == ("u", "g", 0, 0)
    assert walk(vector())[2].linkname == "a"


@pytest.mark.parametrize("format", FORMATS.values(), ids=FORMATS)
def test_devices_links_and_long_names(format):
    long = "/".join(["d" * 40] * (2 if format == tarfile.USTAR_FORMAT else 8)) + "/" + "f" * 90
    layer = tar(
        [
            member(long, b"x"),
            member("hard", type=tarfile.LNKTYPE, linkname=long[:100]),
            member("char", type=tarfile.CHRTYPE, devmajor=5, devminor=1),
            member("block", type=tarfile.BLKTYPE, devmajor=8, devminor=3),
            member("fifo", type=tarfile.FIFOTYPE),
        ],
        format,
    )
    found = walk(layer)
    assert [entry.name for entry in found] == [long, "hard", "char", "block", "fifo"]
    assert [entry.typeflag for entry in found] == ["0", "1", "3", "4", "6"]
    assert found[1].linkname == long[:100]
    assert (found[2].devmajor, found[2].devminor) == (5, 1)
    assert (found[3].devmajor, found[3].devminor) == (8, 3)


def test_pax_replaces_what_the_header_says():
    record = {
        "path": "näme".encode(),
        "linkpath": b"l\xff",
        "uname": "ü".encode(),
        "gname": b"g",
        "uid": b"4000000000",
        "gid": b"-2",
        "size": b"3",
        "mtime": b"1400000000.999",
        "SCHILY.xattr.security.capability": b"\1\0\0\2\xff\n=\0",
    }
    (entry,) = entries(io.BytesIO(pax(record) + header(size=0) + padded(b"abc") + END))
    assert (entry.name, entry.linkname) == ("näme", "l\udcff")
    assert (entry.uname, entry.gname, entry.uid, entry.gid) == ("ü", "g", 4000000000, -2)
    assert (entry.size, entry.mtime) == (3, 1400000000)
    assert entry.xattrs == {"security.capability": b"\1\0\0\2\xff\n=\0"}


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(b"7", 7), (b"7.", 7), (b"-1", -1), (b"-1.5", -2), (b"-1.000", -1), (b"0.9", 0)],
)
def test_pax_times_are_rounded_down(value, seconds):
    assert walk(pax({"mtime": value}) + header() + END)[0].mtime == seconds


def test_pax_applies_to_one_entry_only():
    layer = pax({"path": b"long"}) + header(b"a") + header(b"b") + END
    assert names(layer) == ["long", "b"]


def test_a_global_pax_header_is_an_entry_and_changes_nothing():
    layer = pax({"path": b"p"}, b"g") * 3 + header(b"a") + END
    assert [(entry.name, entry.typeflag) for entry in walk(layer)] == [("pax", "g")] * 3 + [
        ("a", "0")
    ]


def test_names_that_are_no_utf8_survive():
    (entry,) = walk(header(b"f\xff\xed\xb0\x80") + END)
    assert entry.name.encode("utf-8", "surrogateescape") == b"f\xff\xed\xb0\x80"


def test_type_flags_and_names_stay_as_the_archive_has_them():
    layer = header(b"old/", typeflag=b"\0", magic=bytes(8)) + header(b"./d/", typeflag=b"5") + END
    assert [(e.name, e.typeflag) for e in walk(layer)] == [("old/", "\0"), ("./d/", "5")]


def test_fields_that_a_format_does_not_have_are_empty():
    noise = {"at_265": b"root\0", "at_329": b"0000007\0", "at_345": b"prefix\0"}
    (v7,) = walk(header(magic=bytes(8), **noise) + END)
    assert (v7.name, v7.uname, v7.devmajor) == ("f", "", 0)
    (file,) = walk(header(**noise) + END)  # device numbers of what is no device
    assert (file.name, file.uname, file.devmajor) == ("prefix/f", "root", 0)


def test_the_prefix_field():
    gnu = b"ustar  \0"
    times = {"at_345": b"14000000000\0", "at_357": b"14000000000\0"}
    assert names(header(magic=gnu, **times) + END) == ["f"]
    # as Go wrote it before 1.8
    assert names(header(magic=gnu, at_345=b"some/folder\0") + END) == ["some/folder/f"]
    star = {"at_345": b"p" * 131 + b"14000000000\0", "at_508": b"tar\0"}
    assert names(header(**star) + END) == ["p" * 131 + "/f"]


def test_old_gnu_sparse_files_are_passed_by_their_stored_size():
    more = bytearray(512)
    more[504] = 1
    layer = (
        header(b"s", 4, b"S", b"ustar  \0", at_482=b"\1", at_483=b"00077777777\0")
        + bytes(more)
        + bytes(512)
        + padded(b"data")
        + header(b"next")
        + END
    )
    first, second = entries(io.BytesIO(layer))
    assert (first.size, first.sparse_size, second.name) == (4, 0o77777777, "next")


def test_pax_sparse_files_tell_their_real_name_and_size():
    record = {"GNU.sparse.name": b"real", "GNU.sparse.realsize": b"1000000"}
    (entry,) = walk(pax(record) + header(b"GNUSparseFile.1/real", 3) + padded(b"abc") + END)
    assert (entry.name, entry.size) == ("GNUSparseFile.1/real", 3)
    assert (entry.sparse_name, entry.sparse_size) == ("real", 1000000)


def test_old_checksums_summed_over_signed_bytes():
    block = bytearray(header(b"\xff\xfe"))
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(b - 256 if b > 127 else b for b in block)
    assert len(walk(bytes(block) + END)) == 1


def test_a_body_is_read_once_and_skipped_by_itself():
    layer = tar([member("a", b"x" * 300_000), member("b", b"y" * 5)])
    found = []
    for entry in entries(io.BytesIO(layer)):
        if entry.name == "a":
            assert next(entry.body())  # the rest is skipped
        else:
            assert b"".join(entry.body()) == b"y" * 5
            assert list(entry.body()) == []
        found.append(entry)
    with pytest.raises(RuntimeError):
        list(found[0].body())


# ---- where an archive ends


def test_ends_that_are_fine():
    assert walk(b"") == []
    assert walk(bytes(512)) == []
    assert walk(END) == walk(gzip.compress(b"")) == walk(gzip.compress(END)) == []
    assert len(walk(header())) == 1  # Docker up to 1.2 writes no zero blocks
    assert len(walk(header() + bytes(512))) == 1
    assert len(walk(header() + bytes(100))) == 1
    assert contents(header(size=5) + b"hello") == [("f", b"hello")]  # no padding


def test_cut_at_every_byte():
    layer = tar([member("a", b"x" * 700), folder("d")], tarfile.GNU_FORMAT)[: 512 + 1024 + 512]
    for cut in range(len(layer)):
        # whole: nothing, or all of the first header, its body and any of the padding
        whole = cut == 0 or 512 + 700 <= cut <= 512 + 1024
        if whole:
            assert len(walk(layer[:cut])) == (1 if cut else 0)
        else:
            with pytest.raises(LayerUnreadable):
                contents(layer[:cut])
            with pytest.raises(LayerUnreadable):
                walk(layer[:cut])


@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz", "lzma"])
def test_a_compressed_layer_cut_at_every_byte(name):
    layer = COMPRESSIONS[name](vector())
    assert len(walk(layer)) == 3
    for cut in range(1, len(layer)):
        with pytest.raises(LayerUnreadable):
            walk(layer[:cut])


def test_cut_inside_or_after_an_extended_header():
    special = pax({"path": b"p" * 600})
    for cut in (512, 513, 1100, len(special)):
        with pytest.raises(LayerUnreadable):
            walk(special[:cut])
    with pytest.raises(LayerUnreadable):
        walk(special + END)


@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz"])
def test_members_one_after_another_and_what_follows_them(name):
    layer, compress = vector(), COMPRESSIONS[name]
    joined = compress(layer[:700]) + compress(b"") + compress(layer[700:])
    assert names(joined) == ["d/", "d/a", "d/l"]
    for tail in (bytes(5), bytes(100_000), b"garbage", b"\0\0garbage", joined[:1]):
        assert names(joined + tail) == ["d/", "d/a", "d/l"]
    assert [entry.name for entry in entries(Slow(joined + bytes(9)))] == ["d/", "d/a", "d/l"]


def test_a_wrong_checksum_after_the_archive_is_noticed():
    layer = bytearray(gzip.compress(vector()))
    layer[-6] ^= 1
    with pytest.raises(LayerUnreadable):
        walk(bytes(layer))


# ---- what is no archive, or a lie


@pytest.mark.parametrize(
    "layer",
    [
        b"x",
        b'{"id": "a"}',
        b"x" * 5000,
        os.urandom(4096),
        gzip.compress(b"x" * 5000),
        b"\x1f\x8b",
        b"\x1f\x8b\x08" + b"x" * 600,
        b"BZh9" + b"x" * 600,
        b"\xfd7zXZ\0" + b"x" * 600,
        b"\x5d\0\0\xff\xff" + b"\xff" * 8 + bytes(600),  # a dictionary of 4 GiB
        bytes(511) + b"x" + END,
    ],
    ids=range(11),
)
def test_no_archive(layer):
    with pytest.raises(LayerUnreadable):
        walk(layer)


def test_garbage_after_an_entry():
    with pytest.raises(LayerUnreadable):
        walk(header() + b"x" * 512)


@pytest.mark.parametrize(
    "block",
    [
        header(size=binary(-1)),
        header(size=binary(1 << 70)),
        header(size=binary(1 << 62)),
        header(size=b"77777777777\0"),
        header(size=b"-0000000001\0"),
        header(size=b"0_0\0" + bytes(8)),
        header(size=b"8\0" + bytes(10)),
        header(at_100=b"rwxr-xr\0"),
        header(at_108=binary(1 << 65, 12)[:8] + b"", at_136=binary(1 << 80)),
        pax({"size": b"-1"}) + header(),
        pax({"size": b"9" * 19}) + header(),
        pax({"size": b"9" * 5000}) + header(),
        pax({"size": b"1e3"}) + header(),
        pax({"uid": b" 1"}) + header(),
        pax({"mtime": b"nan"}) + header(),
        header(size=11, typeflag=b"x") + padded(b"99 path=abc\n") + header(),
        header(size=7, typeflag=b"x") + padded(b"7 path\n") + header(),
        header(size=4, typeflag=b"x") + padded(b"4 =\n") + header(),
        header(size=9, typeflag=b"x") + padded(b"0 path=a\n") + header(),
        header(size=9, typeflag=b"x") + padded(b"junkjunk\n") + header(),
        header(typeflag=b"S", magic=b"ustar  \0", at_482=b"\1"),
    ],
    ids=range(21),
)
def test_invalid_numbers_and_records(block):
    with pytest.raises(LayerUnreadable):
        walk(block)


@pytest.mark.parametrize("flag", [b"x", b"L", b"K"])
def test_an_extended_header_of_8_gib_is_not_read(flag):
    for size in (binary(8 << 30), binary(1 << 62), b"%011o\0" % (MIB + 1)):
        file = Endless(header(b"h", size, flag), b"x")
        assert peak(file, LayerTooLarge) < MIB
        assert file.taken < MIB


def test_extended_headers_without_end_take_no_memory():
    block = pax({"SCHILY.xattr.user.a": b"x" * 4000})
    assert peak(Endless(b"", block), LayerTooLarge, max_bytes=16 * MIB) < 2 * MIB


class PaxHeaders:
    """A file of pax headers without end, and no entry. Each record has a name of its own."""

    def __init__(self, records: int) -> None:
        self._records = records
        self._left = b""
        self.headers = 0

    def read(self, size: int, /) -> bytes:
        if not self._left:
            names = range(self.headers * self._records, (self.headers + 1) * self._records)
            self._left = pax({f"SCHILY.xattr.user.{name}": b"x" * 20 for name in names})
            self.headers += 1
        piece, self._left = self._left[:size], self._left[size:]
        return piece


@pytest.mark.parametrize("records", [1, 500, 9_000])
def test_pax_records_of_many_headers_count_together(records):
    file = PaxHeaders(records)
    # about 200 bytes for each of 10,000 records, and the text of the headers
    assert peak(file, LayerTooLarge, max_bytes=16 * MIB) < 6 * MIB
    assert file.headers * records < 30_000


def test_pax_records_are_counted_before_they_are_kept():
    tiny = b"".join(b"9 %05x=\n" % number for number in range(100_000))
    file = io.BytesIO(header(b"h", len(tiny), b"x") + padded(tiny) + header())
    assert peak(file, LayerTooLarge) < 5 * MIB
    assert len(walk(pax({f"a{n}": b"v" for n in range(9_999)}) + header())) == 1


def test_empty_extended_headers_without_end_are_refused():
    file = Endless(b"", header(b"h", 0, b"L"))
    assert peak(file, LayerTooLarge, max_bytes=16 * MIB) < MIB
    assert file.taken < 8 * MIB


def test_long_names_and_pax_records_of_one_entry_share_the_limit():
    half = header(b"h", 600_000, b"L") + padded(b"n" * 600_000)
    with pytest.raises(LayerTooLarge, match="1200000 bytes before one entry"):
        walk(half + half + header())
    assert len(walk(half + header() + half + header())) == 2


def test_pax_records_of_a_whole_archive_are_limited(monkeypatch):
    monkeypatch.setattr(tar_header, "MAX_ARCHIVE_EXTENDED_RECORDS", 40)
    one = pax({"a": b"1", "b": b"2", "c": b"3"}) + header()
    assert len(walk(one * 10)) == 10  # a header counts as a record
    with pytest.raises(LayerTooLarge, match="more than 40 pax records"):
        walk(one * 11)
    monkeypatch.undo()
    monkeypatch.setattr(tar_header, "MAX_ARCHIVE_EXTENDED_BYTES", 150)
    with pytest.raises(LayerTooLarge, match="extended headers of 162 bytes"):
        walk(one * 11)


def test_a_million_entries_stop_at_the_limit():
    file = Endless(b"", header())
    assert peak(file, LayerTooLarge, max_entries=1000) < 2 * MIB
    assert file.taken < 2 * MIB
    assert len(walk(header() * 1000, max_entries=1000)) == 1000


def bomb(start: bytes) -> bytes:
    """`start` and then 1 GiB of zeros, as one gzip stream of 1 MiB."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    head = squeeze.compress(start) + squeeze.flush(zlib.Z_FULL_FLUSH)
    block = squeeze.compress(bytes(MIB)) + squeeze.flush(zlib.Z_FULL_FLUSH)
    return head + block * 1024


@pytest.mark.parametrize(
    "start", [header(size=binary(1 << 60)), b""], ids=["in a body", "after the end"]
)
def test_a_gzip_bomb_is_stopped_in_constant_memory(start):
    layer = io.BytesIO(bomb(start))
    assert peak(layer, LayerTooLarge, max_bytes=64 * MIB) < 4 * MIB
    assert layer.tell() < 200_000


@pytest.mark.parametrize("compress", [bz2.compress, lzma.compress], ids=["bzip2", "xz"])
def test_other_bombs_are_stopped(compress):
    layer = compress(header(size=binary(1 << 60)) + bytes(64 * MIB))
    with pytest.raises(LayerTooLarge):
        walk(layer, max_bytes=8 * MIB)


def test_empty_members_are_not_free():
    member_ = gzip.compress(b"")
    file = Endless(b"", member_)
    assert peak(file, LayerTooLarge, max_bytes=MIB) < 4 * MIB


def test_max_bytes_is_the_whole_archive():
    layer = vector()
    assert len(walk(layer, max_bytes=len(layer))) == 3
    with pytest.raises(LayerTooLarge):
        walk(gzip.compress(layer), max_bytes=len(layer))


def test_the_file_s_own_errors_pass():
    class Broken(io.BytesIO):
        def read(self, size=-1, /):
            raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        list(entries(Broken()))


# ---- properties

SAFE = st.characters(blacklist_characters="\0", blacklist_categories=["Cs"])
NAME = st.text(SAFE, min_size=1, max_size=140).filter(lambda name: name.strip("/"))
MEMBERS = st.lists(
    st.builds(
        member,
        NAME,
        st.binary(max_size=1500),
        mode=st.integers(0, 0o7777),
        uid=st.integers(0, 1 << 40),
        gid=st.integers(0, 1 << 20),
        mtime=st.integers(0, 1 << 36),
        uname=st.text(SAFE, max_size=20),
        pax_headers=st.dictionaries(
            st.sampled_from(["SCHILY.xattr.user.a", "SCHILY.xattr.b", "comment"]),
            st.text(SAFE, max_size=30),
        ),
    ),
    max_size=6,
)


@settings(deadline=None)
@given(MEMBERS, st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]), st.data())
def test_entries_equal_what_tarfile_reads(members, format, data):
    layer = tar(members, format)
    compress = data.draw(st.sampled_from(list(COMPRESSIONS.values())))
    found = []
    for entry in entries(io.BytesIO(compress(layer))):
        xattrs = {name: value.decode() for name, value in entry.xattrs.items()}
        fields = (entry.name, entry.mode, entry.uid, entry.gid, entry.size, entry.mtime)
        found.append((*fields, entry.typeflag, entry.uname, xattrs, b"".join(entry.body())))
    expected = []
    with tarfile.open(fileobj=io.BytesIO(layer), errors="surrogateescape") as archive:
        for info, (made, content) in zip(archive, members, strict=True):
            xattrs = {
                key.removeprefix("SCHILY.xattr."): value
                for key, value in info.pax_headers.items()
                if key.startswith("SCHILY.xattr.")
            }
            # tarfile cuts slashes at the end of pax names
            fields = (made.name, info.mode, info.uid, info.gid, info.size, info.mtime)
            expected.append((*fields, info.type.decode(), info.uname, xattrs, content))
    assert found == expected


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_damage_never_raises_anything_else(data):
    layer = bytearray(
        pax({"path": b"p", "SCHILY.xattr.a": b"v"})
        + tar([member("n" * 120, b"x" * 600), folder("d")], tarfile.GNU_FORMAT)[:-8192]
    )
    for place in data.draw(st.lists(st.integers(0, len(layer) - 1), max_size=8)):
        layer[place] = data.draw(st.integers(0, 255))
    blocks = range(0, len(layer) - 511, 512)
    for start in data.draw(st.lists(st.sampled_from(blocks), max_size=3)):
        # make the block's checksum right again, so that the damage is read
        layer[start + 148 : start + 156] = b" " * 8
        layer[start + 148 : start + 156] = b"%06o\0 " % sum(layer[start : start + 512])
    try:
        contents(bytes(layer))
    except (LayerUnreadable, LayerTooLarge):
        pass


TEXT = NAME.map(lambda name: name.strip("/").encode())
RECORDS = st.fixed_dictionaries(
    {},
    optional={
        "path": TEXT,
        "linkpath": TEXT,
        "uname": TEXT,
        "gname": TEXT,
        "uid": st.integers(0, 1 << 60).map(lambda number: b"%d" % number),
        "gid": st.integers(0, 1 << 60).map(lambda number: b"%d" % number),
        "mtime": st.integers(-(1 << 40), 1 << 40).map(lambda number: b"%.2f" % (number / 4)),
        "comment": TEXT,
        "SCHILY.xattr.user.a": TEXT,
    },
)


@settings(deadline=None)
@given(
    st.lists(st.tuples(RECORDS, st.sampled_from([b"0", b"1", b"2", b"3", b"5", b"6"])), max_size=4)
)
def test_pax_records_equal_what_tarfile_reads(made):
    layer = (
        b"".join(pax(records) + header(b"f", 0, flag, at_157=b"l") for records, flag in made) + END
    )
    fields = ("uid", "gid", "mtime", "uname", "gname")
    found, expected = [], []
    for entry in walk(layer):
        link = entry.linkname if entry.typeflag in "12" else ""
        values = [getattr(entry, field) for field in fields]
        found.append((entry.name, entry.typeflag, link, entry.xattrs.get("user.a"), *values))
    with tarfile.open(fileobj=io.BytesIO(layer), errors="surrogateescape") as archive:
        for info in archive:
            link = info.linkname if info.type in (b"1", b"2") else ""
            xattr = info.pax_headers.get("SCHILY.xattr.user.a")
            values = [getattr(info, field) for field in fields]
            values[2] = math.floor(values[2])
            text = None if xattr is None else xattr.encode()
            expected.append((info.name, info.type.decode(), link, text, *values))
    assert found == expected


#: Extended headers before one entry: the number of pax records, or the size of a long name in bytes.
EXTENDED = st.lists(
    st.tuples(st.just("x"), st.integers(0, 8))
    | st.tuples(st.sampled_from("LK"), st.integers(1, 900) | st.sampled_from([1500, 1501])),
    max_size=5,
)


@settings(deadline=None, max_examples=200)
@given(st.lists(EXTENDED, max_size=6))
def test_limits_of_extended_headers_hold_exactly(made):
    limits = {
        "BYTES": 1500,
        "RECORDS": 16,
        "ARCHIVE_EXTENDED_BYTES": 3000,
        "ARCHIVE_EXTENDED_RECORDS": 40,
    }
    layer, sizes, counts = b"", [], []
    for headers in made:
        size = count = 0
        for flag, number in headers:
            if flag == "x":
                block = pax({f"k{n}": b"v" * 20 for n in range(number)})
                size += 27 * number  # `27 k0=vvvvvvvvvvvvvvvvvvvv` and a line end
                count += number
            else:
                block = header(b"long", number, flag.encode()) + padded(b"n" * number)
                size += number
            count += 1
            layer += block
        sizes.append(size)
        counts.append(count)
        layer += header()
    too_large = (
        max(sizes, default=0) > 1500
        or sum(sizes) > 3000
        or max(counts, default=0) > 16
        or sum(counts) > 40
    )
    with pytest.MonkeyPatch.context() as patch:
        for name, limit in limits.items():
            full = name if name.startswith("ARCHIVE") else f"EXTENDED_{name}"
            patch.setattr(tar_header, f"MAX_{full}", limit)
        if too_large:
            with pytest.raises(LayerTooLarge):
                walk(layer)
        else:
            assert len(walk(layer)) == len(made)


@settings(deadline=None, max_examples=100)
@given(
    hostile_tars(),
    st.sampled_from(list(COMPRESSIONS)),
    st.sampled_from([2000, 4 * MIB, 64 * MIB]),
    st.sampled_from([1, 3, 1000]),
)
def test_hostile_layers_stay_within_their_limits(layer, compression, max_bytes, max_entries):
    stays_within_its_limits(layer, compression, max_bytes, max_entries)


def file_of(size: int, flag: bytes = b"0") -> bytes:
    return header(b"f", size, flag) + padded(bytes(size))


@pytest.mark.parametrize("compression", list(COMPRESSIONS))
@pytest.mark.parametrize(
    ("blocks", "max_bytes", "max_entries"),
    [
        ([header()] * 4, 4 * MIB, 3),
        ([file_of(1 << 20)] * 20, 64 * MIB, 1000),  # bodies are not kept
        ([file_of(20 * MIB)], 2000, 1000),
        ([file_of(20 * MIB, b"L"), header()], 64 * MIB, 1000),
        ([file_of(20 * MIB, b"x"), header()], 64 * MIB, 1000),
        ([file_of(1 << 20, b"K"), header()] * 20, 64 * MIB, 1000),  # each one within the limit
    ],
    ids=["entries", "bodies", "bytes", "long name", "pax records", "long links"],
)
def test_whole_layers_stay_within_their_limits(blocks, max_bytes, max_entries, compression):
    stays_within_its_limits(b"".join(blocks) + END, compression, max_bytes, max_entries)


def stays_within_its_limits(
    layer: bytes, compression: str, max_bytes: int, max_entries: int
) -> None:
    packed = COMPRESSIONS[compression](layer)
    count = taken = 0
    tracemalloc.start()
    try:
        for entry in entries(io.BytesIO(packed), max_bytes, max_entries):
            count += 1
            for piece in entry.body():
                taken += len(piece)
    except (LayerUnreadable, LayerTooLarge):
        pass
    finally:
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert count <= max_entries
    assert taken <= max_bytes
    # bzip2, xz and lzma have dictionaries of up to 8 MiB
    assert most < (6 if compression in ("plain", "gzip") else 16) * MIB
