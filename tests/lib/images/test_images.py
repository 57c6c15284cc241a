"""Complete images, also as older versions wrote them (protocol-v1.md section 4)."""

from __future__ import annotations

import json
import time

import pytest

from tests.lib.stores import Domain, image_id, image_json, write_image
from v1registry.lib.errors import Failure
from v1registry.lib.images.commit import Commits
from v1registry.lib.images.images import Images
from v1registry.lib.names import ImageId
from v1registry.storage import keys
from v1registry.storage.memory import MemoryStorage

A, B, C = (ImageId(image_id(letter)) for letter in "abc")


@pytest.fixture
def domain() -> Domain:
    return Domain(MemoryStorage())


def failure(domain: Domain, id: ImageId) -> tuple[int, str]:
    with pytest.raises(Failure) as caught:
        domain.images.get(id)
    return caught.value.status, caught.value.text


def test_a_complete_image(domain: Domain) -> None:
    data = write_image(domain.storage, A, (B, C), b"12345")
    image = domain.images.get(A)
    assert (image.json, image.size, image.ancestors) == (data, 5, [A, B, C])
    assert len(image.checksums) == 1


def test_unknown_and_in_progress(domain: Domain) -> None:
    assert failure(domain, A) == (404, "Image not found")
    write_image(domain.storage, A)
    domain.storage.put(keys.image(A, "_inprogress"), b"true")
    assert failure(domain, A) == (400, "Image is being uploaded, retry later")
    assert domain.images.find(A) is None
    assert domain.images.find("no id") is None


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (b'["sha256:abc", "tarsum+sha256:def"]', ("sha256:abc", "tarsum+sha256:def")),
        (b"tarsum+sha256:abc", ("tarsum+sha256:abc",)),
        (b"sha256:abc\n", ("sha256:abc",)),
        (b'"sha256:abc"', ("sha256:abc",)),
        (b"", ()),
        (None, ()),
        (b'[null, 5, "sha256:abc", ""]', ("sha256:abc",)),
        (b'["sha256:a\\r\\nX-Evil: yes"]', ()),
        (b"\xff\xfe", ("\ufffd\ufffd",)),
    ],
)
def test_checksums_of_all_versions(
    domain: Domain, stored: bytes | None, expected: tuple[str, ...]
) -> None:
    write_image(domain.storage, A)
    domain.storage.delete(keys.image(A, "_checksum"))
    if stored is not None:
        domain.storage.put(keys.image(A, "_checksum"), stored)
    assert domain.images.get(A).checksums == expected


@pytest.mark.parametrize("stored", [None, b"", b"not json", b"{}", b"[]", b'["../x"]'])
def test_a_missing_ancestry_is_computed_from_the_parents(
    domain: Domain, stored: bytes | None
) -> None:
    for id, ancestors in ((C, ()), (B, (C,)), (A, (B, C))):
        write_image(domain.storage, id, ancestors)
    domain.storage.delete(keys.image(B, "ancestry"))
    domain.storage.delete(keys.image(A, "ancestry"))
    if stored is not None:
        domain.storage.put(keys.image(A, "ancestry"), stored)
    assert domain.images.get(A).ancestors == [A, B, C]
    assert domain.images.get(A).ancestry == json.dumps([A, B, C]).encode()


def test_a_loop_of_parents_ends(domain: Domain) -> None:
    domain.storage.put(keys.image(A, "json"), image_json(A, B))
    domain.storage.put(keys.image(B, "json"), image_json(B, A))
    assert domain.images.get(A).ancestors == [A, B]


def test_an_image_without_layer(domain: Domain) -> None:
    write_image(domain.storage, A)
    domain.storage.delete(keys.image(A, "layer"))
    image = domain.images.get(A)
    assert image.size is None
    with pytest.raises(Failure):
        domain.images.open_layer(image)


def test_16_hex_ids(domain: Domain) -> None:
    short = ImageId("0123456789abcdef")
    data = write_image(domain.storage, short)
    assert domain.images.get(short).json == data


def test_no_image_is_cached_while_a_second_record_may_follow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One push overwrites the checksums of another push, which won, and then repairs them."""
    storage = MemoryStorage()
    storage.creates_atomically = False
    images = Images(storage, Commits(storage), cache_limit=100_000, cache_life=60)
    write_image(storage, A)
    right = images.get(A).checksums
    storage.put(keys.image(A, "_checksum"), b'["sha256:of another push"]')
    assert images.get(A).checksums == right  # by 0.x, without a commit record: counts as old

    write_image(storage, B)
    storage.put(keys.image(B, "_commit"), b"a record")
    right = images.get(B).checksums
    storage.put(keys.image(B, "_checksum"), b'["sha256:of another push"]')
    assert images.get(B).checksums == ("sha256:of another push",)
    storage.put(keys.image(B, "_checksum"), json.dumps(right).encode())
    assert images.get(B).checksums == right
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now + 60)
    assert images.get(B).checksums == right
    storage.delete(keys.image(B, "_checksum"))
    assert images.get(B).checksums == right  # kept


def test_only_finished_images_are_cached() -> None:
    storage = MemoryStorage()
    images = Images(storage, Commits(storage), cache_limit=100_000, cache_life=60)
    assert images.find(A) is None
    write_image(storage, A)
    assert images.get(A).size == 5
    storage.delete(keys.image(A, "json"))
    assert images.get(A).size == 5


def test_an_image_without_its_layer_is_not_cached() -> None:
    """The layer may return, for example if an administrator restores it."""
    storage = MemoryStorage()
    write_image(storage, A, layer=b"layer")
    storage.delete(keys.image(A, "layer"))
    images = Images(storage, Commits(storage), cache_limit=100_000, cache_life=60)
    assert images.get(A).size is None
    storage.put(keys.image(A, "layer"), b"layer")
    assert images.get(A).size == 5
