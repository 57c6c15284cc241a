"""Layer metadata: computed once, stored, and valid only while it matches the layer."""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import threading
from typing import Any

import pytest

from tests.lib.stores import Domain, image_id, layer_of, payload, write_image
from v1registry.lib.images.images import Image
from v1registry.lib.layers.scan import DamagedLayer, LayerDescriptor
from v1registry.lib.names import Digest
from v1registry.lib.oci.digest_index import DigestIndex
from v1registry.lib.oci.layer_metadata import LayerMetadataStore
from v1registry.storage import Storage, exists, keys
from v1registry.storage.errors import Refused
from v1registry.storage.memory import MemoryStorage

ID = image_id("a")
LAYER = gzip.compress(layer_of("a", b=b"content"))


class Setup:
    """A store with one image, and how often its layer was read."""

    def __init__(self, storage: Storage | None = None, layer: bytes = LAYER) -> None:
        self.storage = storage or MemoryStorage()
        if storage is None:
            write_image(self.storage, ID, layer=layer)
        self.reads = 0

    def image(self) -> Image:
        image = Domain(self.storage).images.find(ID)
        assert image
        return image

    def blobs(self, max_bytes: int = 10_000_000, cache: int = 0, **more: Any) -> LayerMetadataStore:
        images = Domain(self.storage).images
        self.digests = DigestIndex(self.storage, cache_limit=0, cache_life=0)

        def counted(function: Any, *arguments: Any) -> Any:
            self.reads += 1
            return function(*arguments)

        return LayerMetadataStore(
            self.storage,
            images,
            self.digests,
            counted,
            max_bytes=max_bytes,
            cache_limit=cache,
            cache_life=60,
            **more,
        )


def test_computed_once_for_all_nodes() -> None:
    setup = Setup()
    blobs = setup.blobs()
    assert blobs.known(setup.image()) is None
    facts = blobs.get(setup.image())
    assert facts.digest == f"sha256:{hashlib.sha256(LAYER).hexdigest()}"
    assert blobs.get(setup.image()) == facts
    assert setup.blobs().get(setup.image()) == facts
    assert setup.blobs().known(setup.image()) == facts
    assert setup.reads == 1
    assert setup.digests.find(Digest(facts.digest)) == [("layer", ID)]


def test_0x_ignores_the_file_and_it_names_the_layer() -> None:
    setup = Setup()
    facts = setup.blobs().get(setup.image())
    kept = json.loads(setup.storage.get(f"images/{ID}/_oci"))
    assert kept == {
        "checksums": list(setup.image().checksums),
        "stored": len(LAYER),
        "facts": {
            "digest": facts.digest,
            "size": len(LAYER),
            "diff_id": facts.diff_id,
            "encoding": "gzip",
            "as_stored": True,
        },
    }


@pytest.mark.parametrize("sums", [True, False])
def test_a_layer_that_0x_wrote_anew_is_read_anew(sums: bool) -> None:
    setup = Setup()
    setup.blobs().get(setup.image())
    other = gzip.compress(layer_of("another"))
    write_image(setup.storage, ID, layer=other)
    if not sums:  # the size alone shows it as well
        setup.storage.put(keys.image(ID, "_checksum"), json.dumps([]).encode())
    facts = setup.blobs().get(setup.image())
    assert facts.digest == f"sha256:{hashlib.sha256(other).hexdigest()}"
    assert setup.reads == 2


@pytest.mark.parametrize(
    "kept", [b"", b"{", b"[]", b"{}", b'{"checksums":1,"stored":2}', b"null", b'{"facts":{}}']
)
def test_invalid_metadata_counts_as_missing(kept: bytes) -> None:
    setup = Setup()
    setup.storage.put(keys.image(ID, "_oci"), kept)
    assert setup.blobs().known(setup.image()) is None
    setup.blobs().get(setup.image())
    record = json.loads(setup.storage.get(keys.image(ID, "_oci")))
    record["facts"]["digest"] = "sha256:../.."
    setup.storage.put(keys.image(ID, "_oci"), json.dumps(record).encode())
    assert setup.blobs().known(setup.image()) is None


def test_damage_is_logged_once_and_stored(caplog: pytest.LogCaptureFixture) -> None:
    setup = Setup(layer=LAYER[:-4])
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            with pytest.raises(DamagedLayer, match="cut off"):
                setup.blobs().get(setup.image())
    assert setup.reads == 1
    assert [record.getMessage() for record in caplog.records] == [
        f"Image {ID}: the layer cannot be read: the compressed layer is cut off"
    ]
    assert isinstance(setup.blobs().known(setup.image()), DamagedLayer)


def test_a_repaired_layer_is_no_longer_damaged() -> None:
    setup = Setup(layer=LAYER)
    setup.storage.put(keys.image(ID, "layer"), LAYER[:-4])
    with pytest.raises(DamagedLayer):
        setup.blobs().get(setup.image())
    setup.storage.put(keys.image(ID, "layer"), LAYER)
    assert setup.blobs().get(setup.image()).size == len(LAYER)


def test_damage_of_the_same_size_is_read_again_on_demand() -> None:
    setup = Setup()
    setup.storage.put(keys.image(ID, "layer"), bytes(len(LAYER)))
    assert isinstance(setup.blobs().compute(setup.image()), DamagedLayer)
    setup.storage.put(keys.image(ID, "layer"), LAYER)
    assert isinstance(setup.blobs().known(setup.image()), DamagedLayer)
    assert isinstance(setup.blobs().compute(setup.image()), LayerDescriptor)
    assert isinstance(setup.blobs().known(setup.image()), LayerDescriptor)


def test_a_missing_layer_is_damage() -> None:
    setup = Setup()
    setup.storage.delete(keys.image(ID, "layer"))
    with pytest.raises(DamagedLayer, match="missing"):
        setup.blobs().get(setup.image())


@pytest.mark.parametrize("cache", [0, 10_000])
def test_a_layer_that_was_missing_once_is_read_when_it_is_back(cache: int) -> None:
    setup = Setup()
    image, gone = setup.image(), keys.image(ID, "layer")
    setup.storage.delete(gone)
    blobs = setup.blobs(cache=cache)
    for asked in (image, setup.image()):  # one knows the layer's size, one does not
        with pytest.raises(DamagedLayer, match="missing"):
            blobs.get(asked)
    assert not exists(setup.storage, keys.image(ID, "_oci"))
    setup.storage.put(gone, LAYER[:40])  # an administrator is restoring it
    with pytest.raises(DamagedLayer, match="cut off"):
        blobs.get(image)
    setup.storage.put(gone, LAYER)
    assert blobs.get(image).size == len(LAYER)
    assert blobs.get(setup.image()).size == len(LAYER)


def test_stored_damage_of_a_missing_layer_is_ignored() -> None:
    setup = Setup()
    image = setup.image()
    for stored in (None, image.size):
        record = {"checksums": list(image.checksums), "stored": stored, "limit": 1 << 40}
        kept = json.dumps({**record, "damage": "the layer is missing"}).encode()
        setup.storage.put(keys.image(ID, "_oci"), kept)
        assert setup.blobs().get(image).size == len(LAYER)


def test_a_limit_applies_until_it_is_raised() -> None:
    """A layer may unpack to twenty times its size in any case."""
    bomb = gzip.compress(layer_of(a=bytes(1_000_000)))
    assert len(bomb) * 20 < 1_000_000
    setup = Setup(layer=bomb)
    with pytest.raises(DamagedLayer, match=f"more than {20 * len(bomb)} bytes"):
        setup.blobs(max_bytes=1).get(setup.image())
    with pytest.raises(DamagedLayer, match=f"more than {20 * len(bomb)} bytes"):
        setup.blobs(max_bytes=2).get(setup.image())
    assert setup.reads == 1
    assert setup.blobs(max_bytes=2_000_000).get(setup.image()).encoding == "gzip"
    assert setup.blobs(max_bytes=1).get(setup.image()).encoding == "gzip"
    assert setup.reads == 2


def test_a_truncated_plain_tar_is_detected_without_a_checksum() -> None:
    setup = Setup(layer=layer_of(a=bytes(5000))[:3000])
    setup.storage.delete(keys.image(ID, "_checksum"))
    with pytest.raises(DamagedLayer, match="cut off"):
        setup.blobs().get(setup.image())


def test_a_read_only_store_is_not_written() -> None:
    setup = Setup()
    blobs = setup.blobs(read_only=True, cache=10_000)
    facts = blobs.get(setup.image())
    assert blobs.get(setup.image()) == facts
    assert setup.reads == 1
    assert not exists(setup.storage, keys.image(ID, "_oci"))


def test_a_full_store_is_not_an_error() -> None:
    class Full(MemoryStorage):
        full = False

        def put(self, key: str, data: bytes, *, durable: bool = True) -> None:
            if self.full:
                raise Refused(key)
            super().put(key, data, durable=durable)

    storage = Full()
    write_image(storage, ID, layer=LAYER)
    storage.full = True
    setup = Setup(storage)
    assert setup.blobs().get(setup.image()).size == len(LAYER)
    assert setup.digests.incomplete


def test_one_entry_stands_for_all_empty_layers() -> None:
    setup = Setup(layer=bytes(1024))
    write_image(setup.storage, image_id("b"), layer=bytes(1024))
    blobs = setup.blobs()
    digest = Digest(blobs.get(setup.image()).digest)
    other = Domain(setup.storage).images.find(image_id("b"))
    assert other
    assert blobs.get(other).digest == digest
    assert len(setup.digests.find(digest)) == 1


def test_forget() -> None:
    setup = Setup()
    blobs = setup.blobs(cache=10_000)
    digest = Digest(blobs.get(setup.image()).digest)
    blobs.forget(setup.image())
    assert setup.digests.find(digest) == []


def test_concurrent_requests_share_one_scan() -> None:
    setup = Setup()
    blobs = setup.blobs()
    began, go_on = threading.Event(), threading.Event()
    plain = blobs.run_in_thread

    def slow(function: Any, *arguments: Any) -> Any:
        began.set()
        assert go_on.wait(20)
        return plain(function, *arguments)

    blobs.run_in_thread = slow
    found: list[LayerDescriptor] = []
    threads = [
        threading.Thread(target=lambda: found.append(blobs.get(setup.image()))) for _ in range(5)
    ]
    threads[0].start()
    assert began.wait(20)
    for thread in threads[1:]:
        thread.start()
    go_on.set()
    for thread in threads:
        thread.join(20)
    assert len(found) == 5
    assert setup.reads == 1


def test_other_bytes_than_were_pushed_are_damage() -> None:
    setup = Setup()
    data = setup.storage.get(keys.image(ID, "json"))
    sums = json.dumps([payload(data, b"another layer")]).encode()
    setup.storage.put(keys.image(ID, "_checksum"), sums)
    with pytest.raises(DamagedLayer, match="not those that were pushed"):
        setup.blobs().get(setup.image())


def test_a_pushed_layer_is_not_checked_twice() -> None:
    """Its checksum was verified when the bytes arrived; but it must still be a tar."""
    setup = Setup()
    setup.storage.put(keys.image(ID, "_checksum"), b'["sha256:of something else"]')
    blobs = setup.blobs()
    for _ in range(2):
        blobs.scan_pushed(setup.image(), lambda function, *more: function(*more))
    assert isinstance(blobs.known(setup.image()), LayerDescriptor)
    assert setup.reads == 0
    setup = Setup(layer=b"no archive")
    blobs = setup.blobs()
    blobs.scan_pushed(setup.image(), lambda function, *more: function(*more))
    assert isinstance(blobs.known(setup.image()), DamagedLayer)
