"""The digest index: from a digest to images."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lib.stores import image_id
from v1registry.lib.errors import Failure
from v1registry.lib.names import Digest
from v1registry.lib.oci.digest_index import DigestIndex
from v1registry.storage import Storage
from v1registry.storage.errors import Refused
from v1registry.storage.local.driver import FileStorage
from v1registry.storage.memory import MemoryStorage

A, B = (Digest("sha256:" + letter * 64) for letter in "ab")
CLOSE = Digest("sha256:" + "a" * 63 + "b")  # in the same folder as A


def digests(storage: Storage, *, read_only: bool = False) -> DigestIndex:
    return DigestIndex(storage, cache_limit=10_000, cache_life=60, read_only=read_only)


@pytest.fixture(params=["memory", "file"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return MemoryStorage() if request.param == "memory" else FileStorage(tmp_path)


def test_entries_are_found_by_any_node(storage: Storage) -> None:
    one, other = digests(storage), digests(storage)
    one.note(A, "layer", image_id("1"))
    one.note(A, "part", image_id("2"))
    one.note(CLOSE, "config", image_id("3"))
    one.note(A, "layer", image_id("1"))
    assert set(other.find(A)) == {("layer", image_id("1")), ("part", image_id("2"))}
    assert other.find(CLOSE) == [("config", image_id("3"))]
    assert other.find(B) == []


def test_a_miss_is_not_cached_and_a_hit_is(storage: Storage) -> None:
    one, other = digests(storage), digests(storage)
    assert one.find(A) == []
    other.note(A, "oci", image_id("1"))
    assert one.find(A) == [("oci", image_id("1"))]
    other.note(A, "oci", image_id("2"))
    assert len(one.find(A)) == 1
    assert len(one.find(A, anew=True)) == 2
    assert len(one.find(A)) == 2


def test_entries_are_forgotten(storage: Storage) -> None:
    one = digests(storage)
    one.note(A, "layer", image_id("1"))
    one.find(A)
    one.forget(A, "layer", image_id("1"))
    one.forget(A, "layer", image_id("2"))
    assert one.find(A) == []


def test_invalid_names_are_ignored(storage: Storage) -> None:
    one = digests(storage)
    one.note(A, "layer", image_id("1"))
    for name in ("layer-x", "what-" + image_id("1"), "layer"):
        storage.put(f"_v1registry/digests/sha256/aaa/{'a' * 64}.{name}", b"")
    assert one.find(A) == [("layer", image_id("1"))]


def test_a_store_that_refuses_entries(storage: Storage) -> None:
    class Full(MemoryStorage):
        def put(self, key: str, data: bytes, *, durable: bool = True) -> None:
            raise Refused(key)

    full = digests(Full())
    assert not full.incomplete
    full.note(A, "layer", image_id("1"))
    assert full.incomplete

    read_only = digests(storage, read_only=True)
    read_only.note(A, "layer", image_id("1"))
    assert read_only.incomplete
    assert digests(storage).find(A) == []


@pytest.mark.parametrize(
    "text",
    ["", "sha256:", "sha256:" + "a" * 63, "sha256:" + "A" * 64, "sha512:" + "a" * 128,
     "sha256:" + "a" * 64 + "\n", "a" * 64, "sha256:../../../" + "a" * 55],
)  # fmt: skip
def test_invalid_digests(text: str) -> None:
    assert not Digest.is_valid(text)
    with pytest.raises(Failure) as raised:
        Digest.parse(text)
    assert raised.value.status == 400
