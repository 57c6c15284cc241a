"""TarSum: the protocol's vector, values that engines sent, and their differences for repeated names."""

from __future__ import annotations

import gzip
import hashlib
import io
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import pytest

from tests.lib.tars import (
    VECTOR_JSON,
    Endless,
    folder,
    header,
    member,
    padded,
    pax,
    pushes,
    tar,
    vector,
)
from v1registry.lib.layers.tar_stream import LayerTooLarge, LayerUnreadable
from v1registry.lib.layers.tarsum import TarSumFeed, TarSums

V0 = "tarsum+sha256:523f1f3a8ef64306bd6f844bdaf39fb3f3e10744afa1960bf8f22db3300a83d2"
V1 = "tarsum.v1+sha256:609fc26ef38de1b17e81a22f28a49aa861c35c77bf45d2632226c1d083bc2e60"
JSON = b'{"id":"x"}'
PUSHES = list(pushes())


def read(layer: bytes, **options: object) -> TarSums:
    return TarSums.read(io.BytesIO(layer), **options)  # type: ignore[arg-type]


def digest(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()


def total(json: bytes, digests: list[str]) -> str:
    return "tarsum+sha256:" + digest(json, *(text.encode() for text in digests))


def file_digest(name: str, data: bytes) -> str:
    """The v0 digest of `member(name, data)`."""
    fields = f"name{name}mode420uid0gid0size{len(data)}mtime0typeflag0linknameunamegname"
    return digest(fields.encode(), b"devmajor0devminor0", data)


def test_the_vector():
    for layer in (vector(), gzip.compress(vector()), vector()[:2048]):
        sums = read(layer)
        assert sums.values(VECTOR_JSON) == [V0, V1]
        assert sums.matches(VECTOR_JSON, V0)
        assert sums.matches(VECTOR_JSON, V1)


@pytest.mark.parametrize("value", ["", V0[:-1], V0 + " ", V0.upper(), V0[:14] + V1[17:], "sha256:"])
def test_other_values_do_not_match(value):
    assert not read(vector()).matches(VECTOR_JSON, value)


def test_another_json_does_not_match():
    assert not read(vector()).matches(VECTOR_JSON + b"\n", V0)


@pytest.mark.parametrize(
    ("json", "layer", "value"), [push[1:] for push in PUSHES], ids=[push[0] for push in PUSHES]
)
def test_values_that_engines_sent(json, layer, value):
    sums = read(layer)
    assert sums.matches(json, value)
    assert sums.values(json)[0] == value
    assert not sums.matches(json + b" ", value)


def test_all_twelve_recorded_images_are_there():
    assert len(PUSHES) == 12


def test_one_version_only():
    assert read(vector(), versions=(0,)).values(VECTOR_JSON) == [V0]
    assert not read(vector(), versions=(0,)).matches(VECTOR_JSON, V1)
    assert read(vector()).values(VECTOR_JSON, (1,)) == [V1]


def test_v1_takes_extended_attributes_by_name_and_no_time():
    xattrs = {"SCHILY.xattr.user.b": b"\xff\0", "SCHILY.xattr.user.a": b"", "comment": b"c"}
    sums = read(pax(xattrs) + header(b"f", 2) + padded(b"hi"))
    rest = b"typeflag0linknameunamegnamedevmajor0devminor0"
    start = b"namefmode420uid0gid0size2"
    one = digest(start, rest, b"user.auser.b\xff\0", b"hi")
    zero = digest(start, b"mtime1400000000", rest, b"hi")
    assert sums.values(JSON) == [
        total(JSON, [zero]),
        total(JSON, [one]).replace("tarsum+", "tarsum.v1+"),
    ]


def test_names_and_flags_count_as_the_archive_has_them():
    fields = b"mode420uid0gid0size0mtime1400000000"
    rest = b"linknameunamegnamedevmajor0devminor0"
    for name, flag in ((b"old/", b"\0"), (b"./d/", b"5"), (b"d", b"5"), (b"n\xff", b"0")):
        layer = header(name, typeflag=flag, magic=bytes(8))
        assert read(layer).values(JSON)[0] == total(
            JSON, [digest(b"name", name, fields, b"typeflag", flag, rest)]
        )


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=["gnu", "pax"])
def test_long_names_and_large_numbers_do_not_depend_on_the_format(format):
    name = "long/" * 40 + "name"
    layer = tar([member(name, b"x")], format)
    assert read(layer).values(JSON)[0] == total(JSON, [file_digest(name, b"x")])


def test_devices():
    layer = tar([member("c", type=tarfile.CHRTYPE, devmajor=5, devminor=1)])
    fields = b"namecmode420uid0gid0size0mtime0typeflag3linknameunamegnamedevmajor5devminor1"
    assert read(layer).values(JSON)[0] == total(JSON, [digest(fields)])


# ---- what has no TarSum


@pytest.mark.parametrize(
    "layer", [b"no tar", b"x" * 1000, gzip.compress(b"no tar", mtime=0), b"\x1f\x8b"]
)
def test_a_layer_that_is_not_a_tar_has_no_sum(layer):
    with pytest.raises(LayerUnreadable):
        read(layer)


def test_a_cut_layer_has_no_sum():
    layer = gzip.compress(vector())
    for cut in range(1, len(layer)):
        with pytest.raises(LayerUnreadable):
            read(layer[:cut])


@pytest.mark.parametrize("layer", [b"", bytes(1024), gzip.compress(bytes(1024), mtime=0)])
def test_a_layer_without_entries_is_the_json_alone(layer):
    assert read(layer).values(JSON)[0] == total(JSON, [])


def test_limits():
    with pytest.raises(LayerTooLarge):
        read(vector(), max_entries=2)
    with pytest.raises(LayerTooLarge):
        read(vector(), max_bytes=100)
    with pytest.raises(LayerTooLarge):
        TarSums.read(Endless(b"", header()), versions=(0,), max_entries=2000)


# ---- repeated names


def repeated(count: int) -> tuple[bytes, list[str], list[str]]:
    """A layer with `count` files a and b in turns; digests and names in the archive's order."""
    files = [
        ("./a" if i % 2 else "a", b"%d" % i) if i % 3 else ("b", b"%d" % i) for i in range(count)
    ]
    layer = tar([member(name, data) for name, data in files])
    names = [name.removeprefix("./") for name, _ in files]
    return layer, [file_digest(name, data) for name, data in files], names


@pytest.mark.parametrize("count", [2, 3, 6, 7, 8, 12, 13, 40])
def test_all_three_orders_of_repeated_names_match(count):
    layer, digests, names = repeated(count)
    sums = read(layer, versions=(0,))
    values = sums.values(JSON)
    assert values[0] == total(JSON, sorted(digests))
    last = dict(zip(names, digests, strict=True))
    assert total(JSON, sorted(last.values())) in values
    assert total(JSON, in_places(digests, names)) in values
    assert len(values) == len(set(values)) <= 5


def in_places(digests: list[str], names: list[str]) -> list[str]:
    """Sorted, then those of each name in the archive's order within their places."""
    name_of = dict(zip(digests, names, strict=True))
    waiting = {
        name: [d for d, n in zip(digests, names, strict=True) if n == name] for name in names
    }
    return [waiting[name_of[value]].pop(0) for value in sorted(digests)]


def go_sort(digests: list[str], names: list[str], *, shell: bool) -> list[str]:
    """Sort up to 12 elements as Go does, swap by swap: up to Go 1.4 without `shell`, from 1.5 with it."""
    items = list(zip(names, range(len(names)), digests, strict=True))

    def less(i: int, j: int) -> bool:
        one, two = items[i], items[j]
        return one[1] < two[1] if one[0] == two[0] else one[2] < two[2]

    def swap(i: int, j: int) -> None:
        items[i], items[j] = items[j], items[i]

    for i in range(6, len(items) if shell else 0):
        if less(i, i - 6):
            swap(i, i - 6)
    for i in range(1, len(items)):
        for j in range(i, 0, -1):
            if not less(j, j - 1):
                break
            swap(j, j - 1)
    return [digest for _, _, digest in items]


@pytest.mark.parametrize("count", [3, 7, 9, 12])
def test_few_entries_in_the_order_of_go_s_sort(count):
    told_apart = False
    for salt in range(60):
        names = ["abcd"[hash((salt, i)) % 4] for i in range(count)]
        files = [(name, b"%d %d" % (salt, i)) for i, name in enumerate(names)]
        digests = [file_digest(*file) for file in files]
        orders = [go_sort(digests, names, shell=shell) for shell in (False, True)]
        values = read(tar([member(*file) for file in files]), versions=(0,)).values(JSON)
        assert {total(JSON, order) for order in orders} <= set(values)
        others = [sorted(digests), in_places(digests, names)]
        told_apart |= orders[0] != orders[1] and not any(order in others for order in orders)
    assert told_apart or count == 3  # a sort left out would be noticed


def test_names_that_do_not_repeat_give_one_value():
    layer = tar([member(f"f{i}", b"%d" % i) for i in range(50)])
    assert len(read(layer, versions=(0,)).values(JSON)) == 1


def test_a_folder_and_a_file_of_one_name_are_one_name():
    layer = tar([folder("a"), member("./a", b"x")])
    assert len(read(layer, versions=(0,)).values(JSON)) > 1


# ---- the feed


def feed(layer: bytes, size: int, **options: int) -> TarSums | None:
    with TarSumFeed(**options) as running:  # type: ignore[arg-type]
        buffer = bytearray(size)
        for at in range(0, len(layer), size):
            piece = layer[at : at + size]
            buffer[: len(piece)] = piece
            running.write(memoryview(buffer)[: len(piece)])  # a view of a buffer used again
        return running.finish()


@pytest.mark.parametrize("size", [1, 7, 512, 1 << 20])
def test_the_feed_gives_what_reading_gives(size):
    for layer in (vector(), gzip.compress(vector())):
        sums = feed(layer, size, depth=1)
        assert sums is not None
        assert sums.values(VECTOR_JSON) == [V0, V1]


def test_the_feed_without_a_tar_gives_none_and_never_waits():
    garbage = b"x" * 100_000
    assert feed(garbage, 1000, depth=1) is None
    assert feed(gzip.compress(vector())[:-20], 10, depth=1) is None
    assert feed(vector(), 100, depth=1, max_entries=1) is None


def test_a_feed_goes_on_after_the_archive_s_end():
    sums = feed(gzip.compress(vector()) + b"x" * 500_000, 1000, depth=1)
    assert sums is not None
    assert sums.matches(VECTOR_JSON, V0)


def test_an_empty_feed_has_no_entries():
    sums = feed(b"", 1)
    assert sums is not None
    assert sums.values(JSON)[0] == total(JSON, [])


def test_a_feed_is_abandoned_cleanly():
    before = threading.active_count()
    for layer in (vector()[:700], b"", b"garbage" * 1000, gzip.compress(vector())):
        running = TarSumFeed(depth=1)
        running.write(layer)
        running.close()
        running.close()
        assert running.finish() is None
        with pytest.raises(ValueError, match="closed"):
            running.write(b"x")
    assert threading.active_count() == before


def test_a_bug_is_raised_and_does_not_hang(monkeypatch):
    monkeypatch.setattr(TarSums, "_add", lambda self, entry: 1 / 0)
    with TarSumFeed(depth=1) as running:
        for _ in range(100):
            running.write(vector())
        with pytest.raises(ZeroDivisionError):
            running.finish()


UNDER_GEVENT = """
from gevent import monkey; monkey.patch_all()
import threading, gevent
from tests.lib.tars import VECTOR_JSON, vector
from v1registry.lib.layers.tarsum import TarSumFeed
for layer, good in ((vector(), True), (b"x" * 50_000, False)):
    with gevent.Timeout(20), TarSumFeed(depth=1) as feed:
        for at in range(0, len(layer), 100):
            feed.write(layer[at : at + 100])
        sums = feed.finish()
        assert (sums is not None) == good
        assert not good or len(sums.values(VECTOR_JSON)) == 2
"""


def test_the_feed_under_gevent():
    root = Path(__file__).parents[3]
    ran = subprocess.run(
        [sys.executable, "-c", UNDER_GEVENT], cwd=root, capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
