"""The layer scan: metadata for every encoding, and every kind of damage that it must find."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import zlib

import pytest

from tests.lib.stores import payload
from tests.lib.tars import END, Endless, header, member, padded, pushes, tar
from v1registry.lib.layers.scan import DamagedLayer, LayerDescriptor, is_checked, scan_layer, walk

JSON = b'{"id":"x"}'
ARCHIVE = tar([member("a", b"hello\n"), member("b", bytes(100_000))])


def _short(value: object) -> str:
    return value if isinstance(value, str) and len(value) < 20 else ""


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def look(
    layer: bytes, checksums: list[str] | None = None, limit: int | None = None
) -> LayerDescriptor:
    sums = [payload(JSON, layer)] if checksums is None else checksums
    return scan_layer(io.BytesIO(layer), JSON, sums, limit)


def test_a_plain_tar_is_its_own_diff() -> None:
    wanted = LayerDescriptor(digest(ARCHIVE), len(ARCHIVE), digest(ARCHIVE), "tar", True)
    assert look(ARCHIVE) == wanted
    assert not look(ARCHIVE).gzipped


def test_gzip_is_served_as_it_is_stored() -> None:
    for layer in (
        gzip.compress(ARCHIVE),
        gzip.compress(ARCHIVE[:700]) + gzip.compress(ARCHIVE[700:]),
    ):
        facts = look(layer)
        assert facts == LayerDescriptor(digest(layer), len(layer), digest(ARCHIVE), "gzip", True)
        assert facts.gzipped


@pytest.mark.parametrize(
    ("encoding", "layer"),
    [
        ("bzip2", bz2.compress(ARCHIVE)),
        ("xz", lzma.compress(ARCHIVE)),
        ("xz", lzma.compress(ARCHIVE, preset=9)),
        ("lzma", lzma.compress(ARCHIVE, lzma.FORMAT_ALONE)),
        # clients fail on the following bytes
        ("gzip", gzip.compress(ARCHIVE) + bytes(512)),
        ("gzip", gzip.compress(ARCHIVE) + b"more"),
        ("gzip", gzip.compress(ARCHIVE) + b"\0" + gzip.compress(b"")),
    ],
)
def test_encodings_that_clients_do_not_read_are_served_as_plain_tar(
    encoding: str, layer: bytes
) -> None:
    facts = look(layer)
    assert facts == LayerDescriptor(digest(ARCHIVE), len(ARCHIVE), digest(ARCHIVE), encoding, False)
    assert not facts.gzipped


def test_the_compressor_does_not_matter() -> None:
    """The same tar is the same blob for every version and level of a compressor."""
    seen = {look(bz2.compress(ARCHIVE, level)).digest for level in (1, 9)}
    seen |= {look(lzma.compress(ARCHIVE, preset=level)).digest for level in (0, 6)}
    assert seen == {digest(ARCHIVE)}


def test_a_tar_without_zero_blocks_is_complete() -> None:
    """Docker up to 1.2 writes such tars; the digest is that of the existing bytes."""
    layer = gzip.compress(ARCHIVE[: -len(END)])
    assert look(layer).diff_id == digest(ARCHIVE[: -len(END)])


@pytest.mark.parametrize("archive", [b"", bytes(1024), bytes(10240)])
def test_empty_archives(archive: bytes) -> None:
    for layer in (archive, gzip.compress(archive)):
        facts = look(layer)
        assert facts.diff_id == digest(archive)
        assert facts.is_empty
    assert not look(ARCHIVE).is_empty


@pytest.mark.parametrize(("name", "document", "layer", "_sum"), list(pushes()), ids=_short)
def test_what_engines_pushed(name: str, document: bytes, layer: bytes, _sum: str) -> None:
    facts = scan_layer(io.BytesIO(layer), document, [payload(document, layer)], None)
    assert (facts.digest, facts.size) == (digest(layer), len(layer))
    assert (facts.encoding, facts.diff_id) == ("gzip", digest(gzip.decompress(layer)))


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (gzip.compress(ARCHIVE)[:-1], "cut off"),
        (gzip.compress(ARCHIVE)[: len(gzip.compress(ARCHIVE)) // 2], "cut off"),
        (gzip.compress(ARCHIVE)[:-8] + bytes(8), "damaged"),  # the gzip's own checksum
        (lzma.compress(ARCHIVE)[:-1], "cut off"),
        (gzip.compress(b"no archive", mtime=0), "no tar archive"),
        (b"no archive", "no tar archive"),
        (b"\0\0x", "no tar archive"),
        (bytes(511) + b"x", "no tar archive"),
        (b"\x1f\x8b", "cut off"),
        (b"\x1f\x8b" + bytes(600), "damaged"),
    ],
)
def test_damage_is_found_without_a_checksum(layer: bytes, reason: str) -> None:
    with pytest.raises(DamagedLayer, match=reason):
        look(layer, [])


def test_damage_is_found_by_the_checksum() -> None:
    """Only the checksum detects a flipped bit in a file of a plain tar."""
    flipped = bytearray(ARCHIVE)
    flipped[600] ^= 1
    with pytest.raises(DamagedLayer, match="not those that were pushed"):
        look(bytes(flipped), [payload(JSON, ARCHIVE)])
    assert look(ARCHIVE, ["tarsum+sha256:x", payload(JSON, b"another"), payload(JSON, ARCHIVE)])
    assert look(
        bytes(flipped), ["tarsum+sha256:x"]
    )  # no simple checksum, so there is nothing to compare


def test_the_checksum_is_of_all_stored_bytes() -> None:
    """Also of bytes after the compressed ones, which are not unpacked."""
    layer = gzip.compress(ARCHIVE) + b"x" * 3_000_000
    assert look(layer).encoding == "gzip"
    with pytest.raises(DamagedLayer, match="not those"):
        look(layer + b"y", [payload(JSON, layer)])


def test_a_decompression_bomb_is_stopped() -> None:
    packer = zlib.compressobj(9, wbits=31)
    start = packer.compress(header(size=1 << 34) + bytes(1 << 20))
    block = packer.compress(bytes(1 << 24)) + packer.flush(zlib.Z_SYNC_FLUSH)
    bomb = Endless(start + block, block)
    with pytest.raises(DamagedLayer, match="more than 50000000 bytes"):
        scan_layer(bomb, JSON, [], 50_000_000)
    assert bomb.taken < 1_000_000


def test_a_plain_archive_without_checksum_is_walked() -> None:
    cut = ARCHIVE[: len(ARCHIVE) // 2]
    facts = look(cut, [])
    assert not is_checked(facts, [])
    assert not is_checked(facts, ["tarsum+sha256:x"])
    assert is_checked(facts, [payload(JSON, cut)])
    assert is_checked(look(gzip.compress(ARCHIVE), []), [])
    walk(io.BytesIO(ARCHIVE))
    with pytest.raises(DamagedLayer, match="cut off"):
        walk(io.BytesIO(cut))
    with pytest.raises(DamagedLayer, match="cannot be read"):
        walk(io.BytesIO(header(size=10) + padded(b"x" * 10) + b"y" * 512))
