"""`files` and `diff` of a store, stored in the form of 0.x."""

from __future__ import annotations

import gzip
import json
import threading
import tracemalloc

import pytest

from tests.lib.stores import Domain, image_id, layer_of, write_image
from v1registry.lib.errors import LAYER_FORMAT, LAYER_TOO_LARGE, Failure
from v1registry.lib.images.listings import Listings
from v1registry.lib.names import ImageId
from v1registry.storage import Blob, exists, keys
from v1registry.storage.errors import Unavailable
from v1registry.storage.local.driver import call
from v1registry.storage.memory import MemoryStorage

BASE, MIDDLE, TOP = (ImageId(image_id(letter)) for letter in "abc")


@pytest.fixture
def domain() -> Domain:
    domain = Domain(MemoryStorage())
    write_image(domain.storage, BASE, (), layer_of("etc/a", "etc/b", "keep"))
    write_image(domain.storage, MIDDLE, (BASE,), layer_of("etc/.wh.a", "new"))
    write_image(domain.storage, TOP, (MIDDLE, BASE), layer_of("etc/a", "new", "etc/.wh.b"))
    return domain


def listings(domain: Domain, max_bytes: int = 1_000_000, max_entries: int = 1000) -> Listings:
    return Listings(
        domain.storage, domain.images, call, max_bytes=max_bytes, max_entries=max_entries
    )


def test_files_are_computed_once_and_stored(domain: Domain) -> None:
    image = domain.images.get(MIDDLE)
    rows = json.loads(listings(domain).files(image))
    assert [(row[0], row[2]) for row in rows] == [("etc/a", True), ("new", False)]
    domain.storage.delete(keys.image(MIDDLE, "layer"))
    assert json.loads(listings(domain).files(image)) == rows


def test_diff(domain: Domain) -> None:
    found = json.loads(listings(domain).diff(domain.images.get(TOP)))
    names = {kind: sorted(found[kind]) for kind in found}
    assert names == {"created": ["etc/a"], "changed": ["new"], "deleted": ["etc/b"]}
    assert exists(domain.storage, keys.image(TOP, "_diff"))
    assert json.loads(listings(domain).diff(domain.images.get(TOP))) == found


def test_lists_of_0x_are_used_unless_it_overlooked_whiteouts(domain: Domain) -> None:
    row = ["/x", "f", False, 1, 2, 3, 4, 5]
    key = keys.image(MIDDLE, "_files")
    domain.storage.put(key, json.dumps([row]).encode())
    image = domain.images.get(MIDDLE)
    assert json.loads(listings(domain).files(image)) == [row]
    domain.storage.put(key, json.dumps([["/etc/.wh.a", *row[1:]]]).encode())
    assert [found[0] for found in json.loads(listings(domain).files(image))] == ["etc/a", "new"]


@pytest.mark.parametrize(
    ("layer", "bounds", "text"),
    [
        (b"no tar at all, but long enough" * 100, {}, "Layer format not supported"),
        (layer_of(*map(str, range(50))), {"max_entries": 10}, "contains more than"),
        (layer_of(a=b"x" * 50_000), {"max_bytes": 10_000}, "contains more than"),
    ],
)
def test_layers_that_cannot_be_listed(
    domain: Domain, layer: bytes, bounds: dict[str, int], text: str
) -> None:
    write_image(domain.storage, BASE, (), layer)
    with pytest.raises(Failure, match=text) as caught:
        listings(domain, **bounds).files(domain.images.get(BASE))
    assert caught.value.status == 400
    assert not exists(domain.storage, keys.image(BASE, "_files"))


# ---- stored results

NO_TAR = gzip.compress(b"no tar at all, but long enough" * 100)
BOMB = gzip.compress(layer_of(a=bytes(1_100_000)))


class CountingStorage(MemoryStorage):
    """Counts how often layers are opened; a `broken` store fails as if it were unavailable."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.broken = False

    def open(self, key: str) -> Blob:
        self.opened.append(key)
        if self.broken:
            raise Unavailable(key)
        return super().open(key)


@pytest.fixture
def counted(domain: Domain) -> Domain:
    storage = CountingStorage()
    for image, ancestors in ((BASE, ()), (MIDDLE, (BASE,)), (TOP, (MIDDLE, BASE))):
        write_image(storage, image, ancestors, domain.storage.get(keys.image(image, "layer")))
    return Domain(storage)


def opened(domain: Domain) -> list[str]:
    assert isinstance(domain.storage, CountingStorage)
    return domain.storage.opened


@pytest.mark.parametrize(
    ("layer", "text"), [(NO_TAR, LAYER_FORMAT), (BOMB, LAYER_TOO_LARGE)], ids=["no tar", "bomb"]
)
def test_a_layer_that_cannot_be_listed_is_read_once(
    counted: Domain, layer: bytes, text: tuple[int, str]
) -> None:
    write_image(counted.storage, BASE, (), layer)
    for _ in range(3):  # each without a cache, like another process
        with pytest.raises(Failure) as caught:
            listings(counted).files(counted.images.get(BASE))
        assert (caught.value.status, caught.value.text) == text
    assert opened(counted) == [keys.image(BASE, "layer")]


def test_a_refusal_is_valid_for_its_limits_and_its_layer(counted: Domain) -> None:
    write_image(counted.storage, BASE, (), BOMB)
    with pytest.raises(Failure, match="more than this registry can list"):
        listings(counted).files(counted.images.get(BASE))
    assert json.loads(listings(counted, max_bytes=2_000_000).files(counted.images.get(BASE)))
    write_image(counted.storage, MIDDLE, (BASE,), BOMB)
    with pytest.raises(Failure, match="more than this registry can list"):
        listings(counted).files(counted.images.get(MIDDLE))
    write_image(counted.storage, MIDDLE, (BASE,), layer_of("new"))  # as 0.x may, after a deletion
    assert json.loads(listings(counted).files(counted.images.get(MIDDLE)))


def test_a_missing_layer_or_store_is_not_remembered(counted: Domain) -> None:
    image = counted.images.get(BASE)
    layer = counted.storage.get(keys.image(BASE, "layer"))
    counted.storage.delete(keys.image(BASE, "layer"))
    with pytest.raises(Failure) as caught:
        listings(counted).files(image)
    assert caught.value.status == 404
    counted.storage.put(keys.image(BASE, "layer"), layer)
    counted.storage.broken = True  # type: ignore[attr-defined]
    with pytest.raises(Unavailable):
        listings(counted).files(image)
    counted.storage.broken = False  # type: ignore[attr-defined]
    assert len(json.loads(listings(counted).files(image))) == 3


def test_a_diff_with_a_hostile_ancestor_is_refused_once(counted: Domain) -> None:
    write_image(counted.storage, BASE, (), BOMB)
    for _ in range(3):
        with pytest.raises(Failure, match="more than this registry can list"):
            listings(counted).diff(counted.images.get(TOP))
    assert sorted(opened(counted)) == [keys.image(id, "layer") for id in (BASE, MIDDLE, TOP)]
    read = json.loads(counted.storage.get(keys.image(TOP, "_diff_refused")))
    assert read["reason"] == "too large"


def test_concurrent_requests_share_one_read(counted: Domain) -> None:
    write_image(counted.storage, BASE, (), BOMB)
    shared, begun, go = listings(counted), threading.Event(), threading.Event()
    image, found = counted.images.get(BASE), []

    def offload(function, *args):  # type: ignore[no-untyped-def]
        begun.set()
        assert go.wait(10)
        return function(*args)

    shared.run_in_thread = offload

    def ask() -> None:
        try:
            shared.files(image)
        except Failure as failure:
            found.append(failure.text)

    threads = [threading.Thread(target=ask) for _ in range(5)]
    threads[0].start()
    assert begun.wait(10)
    for thread in threads[1:]:
        thread.start()
    go.set()
    for thread in threads:
        thread.join(10)
    assert found == [LAYER_TOO_LARGE[1]] * 5
    assert opened(counted) == [keys.image(BASE, "layer")]


# ---- limits of memory


def test_a_damaged_listing_is_computed_again(domain: Domain) -> None:
    expected = json.loads(listings(domain).diff(domain.images.get(TOP)))
    for damaged in (b'[["etc/a", "f", false, 0', b'[["etc/a", "f"], 17]', b"[[]]", b"[["):
        domain.storage.put(keys.image(MIDDLE, "_files"), damaged)
        domain.storage.delete(keys.image(TOP, "_diff"))
        assert json.loads(listings(domain).diff(domain.images.get(TOP))) == expected
        domain.storage.put(keys.image(MIDDLE, "_files"), damaged)
        assert len(json.loads(listings(domain).files(domain.images.get(MIDDLE)))) == 2


def test_a_diff_holds_the_rows_of_one_layer_at_a_time() -> None:
    """The rows of ten ancestors must not take ten times the memory of one."""
    domain = Domain(MemoryStorage())
    ids = [ImageId(f"{number:064x}") for number in range(11)]
    for number, id in enumerate(ids):
        names = (f"layer{number}/file-{file:05}" for file in range(3000))
        write_image(domain.storage, id, tuple(reversed(ids[:number])), layer_of(*names))
    asked = listings(domain, max_bytes=10_000_000, max_entries=10_000)
    for id in ids:
        asked.files(domain.images.get(id))
    tracemalloc.start()
    try:
        found = json.loads(asked.diff(domain.images.get(ids[-1])))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(found["created"]) == 3000
    assert peak < 6_000_000, peak


def test_a_diff_of_very_many_folders_is_refused() -> None:
    """Deep names create folders that have no entry."""
    domain = Domain(MemoryStorage())
    deep = "/".join("d" * 90)
    write_image(domain.storage, BASE, (), layer_of(*(f"{n:05}/{deep}" for n in range(100))))
    asked = listings(domain)
    assert len(json.loads(asked.files(domain.images.get(BASE)))) == 100
    with pytest.raises(Failure, match="more than this registry can list"):
        asked.diff(domain.images.get(BASE))
    assert json.loads(listings(domain, max_entries=5000).diff(domain.images.get(BASE)))
