"""File listings: the format of 0.x, whiteouts and opaque folders at any depth, limits."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile

import pytest

from tests.lib.tars import END, Endless, binary, folder, header, member, pax, pushes, tar, vector
from v1registry.lib.layers.files import list_files
from v1registry.lib.layers.tar_stream import LayerTooLarge, LayerUnreadable


def rows(layer: bytes, **limits: int) -> list[list[object]]:
    return list_files(io.BytesIO(layer), **limits)  # type: ignore[return-value]


def short(layer: bytes) -> list[tuple[object, ...]]:
    """The name, the type and the deleted flag of each row."""
    return [tuple(row[:3]) for row in rows(layer)]


def files(*names: str) -> bytes:
    """A layer of files and, with a slash at the end, folders."""
    return tar([folder(name) if name.endswith("/") else member(name) for name in names])


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_rows_are_those_of_0_x(compress):
    assert rows(compress(vector())) == [
        ["d", "d", False, 0, 1400000000, 0o755, 0, 0],
        ["d/a", "f", False, 6, 1400000001, 0o644, 1000, 1000],
        ["d/l", "s", False, 0, 1400000002, 0o777, 0, 0],
    ]


def test_the_root_and_names_with_a_dot_before_them():
    layer = files("./", "./bin/", "./bin/ls", "usr", ".config", "/abs")
    assert [row[0] for row in rows(layer)] == ["/", "/bin", "/bin/ls", "usr", ".config", "/abs"]


def test_type_letters():
    flags = b"01234567S\0LKZV"
    # L and K name the next entry, so they never are rows
    layer = b"".join(header(b"f", typeflag=bytes([flag])) for flag in flags if flag not in b"LK")
    assert [row[1] for row in rows(layer + END)] == list("flscbditSfuu")
    old = header(b"old/", typeflag=b"\0", magic=bytes(8))
    assert short(old) == [("old", "d", False)]


def test_global_pax_headers_are_left_out():
    assert short(pax({"comment": b"x"}, b"g") + header(b"f")) == [("f", "f", False)]


def test_sparse_files_have_their_real_name_and_size():
    record = {"GNU.sparse.name": b"real", "GNU.sparse.realsize": b"1000000"}
    assert rows(pax(record) + header(b"GNUSparseFile.1/real"))[0][:4] == [
        "real",
        "f",
        False,
        1000000,
    ]


def test_whiteouts_at_any_depth():
    layer = files("./.wh.top", "./d/", "./d/.wh.one", "a/b/c/.wh.deep", ".wh.bare", "d/.wh..hidden")
    assert short(layer) == [
        ("/top", "f", True),
        ("/d", "d", False),
        ("/d/one", "f", True),
        ("a/b/c/deep", "f", True),
        ("bare", "f", True),
        ("d/.hidden", "f", True),
    ]


def test_a_whiteout_without_a_name_deletes_its_folder():
    """Engines and 0.x read it so; it is not listed as a file."""
    assert short(files("./.wh.", ".wh.", "/.wh..")) == [("/", "f", True)] * 3
    assert short(files("./d/", "./d/.wh.", "e/f/.wh..")) == [
        ("/d", "d", False),
        ("/d", "f", True),
        ("e/f", "f", True),
    ]


def test_whiteouts_without_a_valid_name_are_files():
    assert short(files("d/.wh...", "x.wh.y")) == [
        ("d/.wh...", "f", False),
        ("x.wh.y", "f", False),
    ]


def test_entries_of_the_union_file_system_are_omitted():
    names = ("./.wh..wh.aufs", "./.wh..wh.plnk/", "./.wh..wh.plnk/12.34", "d/.wh..wh.orph/", "d/f")
    assert short(files(*names)) == [("d/f", "f", False)]
    assert short(files(".wh..wh.plnk/.wh..wh..opq")) == []


def test_an_opaque_folder_is_deleted_and_made_anew():
    layer = files("./", "./a/", "./a/b/", "./a/b/.wh..wh..opq", "./a/b/new", "./z")
    assert short(layer) == [
        ("/", "d", False),
        ("/a", "d", False),
        ("/a/b", "d", True),
        ("/a/b", "d", False),
        ("/a/b/new", "f", False),
        ("/z", "f", False),
    ]
    # in 0.x the last row of a name counts: an ordinary folder
    assert {row[0]: row[2] for row in rows(layer)}["/a/b"] is False


def test_opaque_markers_before_or_without_their_folder_and_at_the_root():
    assert short(files("d/.wh..wh..opq", "d/")) == [("d", "d", True), ("d", "d", False)]
    assert short(files("d/.wh..wh..opq", "d/f")) == [
        ("d/f", "f", False),
        ("d", "d", True),
        ("d", "d", False),
    ]
    for root in (files("./", "./.wh..wh..opq"), files(".wh..wh..opq")):
        assert short(root) == [("/", "d", True), ("/", "d", False)]
    twice = files("d/", "d/.wh..wh..opq", "d/.wh..wh..opq")
    assert short(twice) == [("d", "d", True), ("d", "d", False)]


def test_names_that_are_no_utf8_can_be_written_as_json():
    found = rows(header(b"caf\xe9") + header("é".encode()) + END)
    assert json.loads(json.dumps(found)) == found
    assert [row[0] for row in found] == ["caf\ufffd", "é"]
    json.dumps(found, ensure_ascii=False).encode()


def test_negative_times_and_large_ids():
    layer = tar([member("f", mtime=-5, uid=1 << 31)], tarfile.GNU_FORMAT)
    assert rows(layer)[0][4:] == [-5, 0o644, 1 << 31, 0]


@pytest.mark.parametrize("layer", [push[2] for push in pushes()])
def test_recorded_layers(layer):
    with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
        expected = [["/" if info.name == "." else info.name, info.size] for info in archive]
    assert [[row[0], row[3]] for row in rows(layer)] == expected


def test_unreadable_layers():
    for layer in (b"no tar", gzip.compress(vector())[:-9], header(size=5)):
        with pytest.raises(LayerUnreadable):
            rows(layer)
    assert rows(b"") == []


def test_limits():
    with pytest.raises(LayerTooLarge):
        rows(vector(), max_entries=2)
    with pytest.raises(LayerTooLarge):
        rows(vector(), max_bytes=100)
    with pytest.raises(LayerTooLarge):
        list_files(Endless(b"", header()), max_entries=500)
    with pytest.raises(LayerTooLarge):
        rows(gzip.compress(header(size=binary(1 << 40)) + bytes(1 << 24)), max_bytes=1 << 20)


def test_names_are_limited():
    long = pax({"path": b"n" * 4097}) + header()
    with pytest.raises(LayerTooLarge):
        rows(long)
    many = (pax({"path": b"n" * 4000}) + header()) * 20
    assert len(rows(many, max_entries=400)) == 20
    with pytest.raises(LayerTooLarge):
        rows(many, max_entries=300)
