"""`files` and `diff` over a store, kept as 0.x keeps them."""

from __future__ import annotations

import json

import pytest

from tests.lib.stores import Domain, image_id, layer_of, write_image
from v1registry.lib.errors import Failure
from v1registry.lib.listings import Listings
from v1registry.lib.names import ImageId
from v1registry.storage import exists, keys
from v1registry.storage.file import call
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


def test_files_are_computed_once_and_kept(domain: Domain) -> None:
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
        (layer_of(*map(str, range(50))), {"max_entries": 10}, "holds more than"),
        (layer_of(a=b"x" * 50_000), {"max_bytes": 10_000}, "holds more than"),
    ],
)
def test_layers_that_are_not_listed(
    domain: Domain, layer: bytes, bounds: dict[str, int], text: str
) -> None:
    write_image(domain.storage, BASE, (), layer)
    with pytest.raises(Failure, match=text) as caught:
        listings(domain, **bounds).files(domain.images.get(BASE))
    assert caught.value.status == 400
    assert not exists(domain.storage, keys.image(BASE, "_files"))
