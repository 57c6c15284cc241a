"""Images in the shared cache: a value that is not exactly the registry's own counts as absent."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lib.stores import image_id, write_image
from v1registry.lib.images import shared_cache
from v1registry.lib.images.commit import Commits
from v1registry.lib.images.images import Image, Images
from v1registry.lib.images.shared_cache import SharedImages, dump, load, name_of, secret_of
from v1registry.lib.names import ImageId
from v1registry.storage import keys
from v1registry.storage.errors import Refused, Unavailable
from v1registry.storage.memory import MemoryStorage

A, B = (ImageId(image_id(letter)) for letter in "ab")
SECRET = b"s" * 32
IMAGE = Image(A, b'{"id": 1}\xff\n', f'["{A}", "{B}"]'.encode(), ("sha256:abc",), 5)
SIGNED = len(shared_cache._FORM) + shared_cache._SIGNATURE


class Memory:
    """A shared cache in memory."""

    name = "memory"

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}

    def get(self, key: str) -> bytes | None:
        return self.values.get(key)

    def put(self, key: str, value: bytes) -> None:
        self.values[key] = value

    def check(self) -> str | None:
        return None


@given(
    st.binary(max_size=50),
    st.lists(st.sampled_from([A, B]), min_size=1).map(lambda ids: str(ids).replace("'", '"')),
    st.lists(st.text(st.characters(codec="ascii", exclude_categories=["Cc"]))).map(tuple),
    st.none() | st.integers(0, 2**62),
)
def test_comes_back_as_it_was(
    data: bytes, ancestry: str, checksums: tuple[str, ...], size: int | None
) -> None:
    image = Image(A, data, ancestry.encode(), checksums, size)
    assert load(dump(image, SECRET), SECRET) == image


@given(st.data())
def test_any_other_value_is_absent(data: st.DataObject) -> None:
    value = dump(IMAGE, SECRET)
    place = data.draw(st.integers(0, len(value) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != value[place]))
    for wrong in (
        value[:place] + bytes([byte]) + value[place + 1 :],
        value[:place],
        value + b"x",
        value[: place + 1] + value,
        data.draw(st.binary(max_size=200)),
    ):
        assert load(wrong, SECRET) is None
    assert load(value, b"t" * 32) is None


@pytest.mark.parametrize(
    "facts",
    [
        b"",
        b"5",
        b"{}",
        b"[" * 100_000,
        b'{"id": "x", "ancestry": 2, "json": 2, "size": 1, "checksums": []}\n[]{}',
        b'{"id": "%s", "ancestry": 2, "json": 2, "size": -1, "checksums": []}\n[]{}' % A.encode(),
        b'{"id": "%s", "ancestry": 2, "json": 2, "size": true, "checksums": []}\n[]{}' % A.encode(),
        b'{"id": "%s", "ancestry": 2, "json": 2, "size": 1, "checksums": ["\\n"]}\n[]{}'
        % A.encode(),
        b'{"id": "%s", "ancestry": 2, "json": 2, "size": 1, "checksums": "ab"}\n[]{}' % A.encode(),
        b'{"id": "%s", "ancestry": 2, "json": 3, "size": 1, "checksums": []}\n[]{}' % A.encode(),
        b'{"id": "%s", "ancestry": 5, "json": 2, "size": 1, "checksums": []}\n["x"]{}' % A.encode(),
        b'{"id": "%s", "ancestry": 1, "json": 2, "size": 1, "checksums": []}\n5{}' % A.encode(),
    ],
)
def test_signed_nonsense_is_absent_too(facts: bytes) -> None:
    """Another version of the registry may sign with the same secret."""
    value = shared_cache._FORM + shared_cache._signature(facts, SECRET) + facts
    assert load(value, SECRET) is None


def test_the_value_of_another_image_is_absent(caplog: pytest.LogCaptureFixture) -> None:
    level = Memory()
    shared = SharedImages(level, SECRET)
    shared.put(A, IMAGE)
    assert shared.get(A) == IMAGE
    [key] = level.values
    level.values[key.replace(A, B)] = level.values[key]
    with caplog.at_level(logging.WARNING):
        assert shared.get(B) is None
        assert shared.get(B) is None
    assert len(caplog.records) == 1


def test_images_ask_memory_then_the_shared_cache_then_the_store() -> None:
    storage, level = MemoryStorage(), Memory()

    def images(cache_limit: int = 100_000) -> Images:
        shared = SharedImages(level, SECRET)
        return Images(
            storage, Commits(storage), cache_limit=cache_limit, cache_life=60, shared=shared
        )

    one, other = images(), images()
    assert one.find(A) is None
    storage.put(keys.image(A, "_inprogress"), b"true")
    write_image(storage, A)
    assert one.find(A) is None
    assert level.values == {}  # only complete images
    storage.delete(keys.image(A, "_inprogress"))
    found = one.get(A)
    [(key, value)] = level.values.items()
    storage.delete_folder(f"images/{A}")
    assert other.get(A) == found
    level.values.clear()
    assert other.get(A) == found  # in the cache of the process now
    assert images().find(A) is None
    write_image(storage, A)
    level.values[key] = b"garbage"
    assert images().get(A) == found
    assert level.values[key] == value  # written anew


# -- the secret of a store ------------------------------------------------------------------------


def test_nodes_of_one_store_have_one_secret_and_others_have_others() -> None:
    store, other = MemoryStorage(), MemoryStorage()
    secret = secret_of(store, "here", read_only=False)
    assert secret_of(store, "here", read_only=False) == secret
    assert secret_of(store, "here", read_only=True) == secret
    assert secret_of(other, "here", read_only=False) != secret
    assert secret_of(store, "there", read_only=False) != secret  # the place of a copy
    assert name_of(secret) != name_of(secret_of(other, "here", read_only=False))


def test_a_read_only_store_is_not_written() -> None:
    store = MemoryStorage()
    secret = secret_of(store, "here", read_only=True)
    assert list(store.list(keys.OURS)) == []
    assert secret != secret_of(store, "there", read_only=True)


class Broken(MemoryStorage):
    def get(self, key: str) -> bytes:
        raise Unavailable(key)


def test_a_store_that_does_not_answer() -> None:
    assert secret_of(Broken(), "here", read_only=True)
    with pytest.raises(Unavailable):
        secret_of(Broken(), "here", read_only=False)


class Full(MemoryStorage):
    def create(self, key: str, data: bytes) -> bool:
        raise Refused(key)


def test_a_store_that_refuses_the_secret_stops_the_start() -> None:
    with pytest.raises(Refused):
        secret_of(Full(), "here", read_only=False)
