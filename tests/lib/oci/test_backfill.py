"""The backfill of layer metadata for a whole store: in parallel, repeatable, each layer read once."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from tests.lib.stores import image_id, layer_of, write_image
from tests.lib.v2 import OTHER, REPOSITORY, A, B, C, D, Node, chain_store, tag
from v1registry.lib.names import Digest
from v1registry.lib.oci.backfill import LayerMetadataBackfill
from v1registry.lib.repositories.backfill import BackfillRun
from v1registry.storage import Storage, exists, keys
from v1registry.storage.errors import Unavailable
from v1registry.storage.memory import MemoryStorage


def build(storage: Storage, **options: Any) -> tuple[dict[str, int], BackfillRun]:
    node = Node(storage)
    facts = LayerMetadataBackfill(
        storage, node.domain.images, node.domain.tags, node.blobs, node.v2images
    )
    run = BackfillRun(**options)
    return dict(facts.build(run)), run


def test_all_digests_are_found_afterwards() -> None:
    storage = chain_store()
    counts, run = build(storage, jobs=2, tags=[])
    size = sum(storage.stat(keys.image(id, "layer")).size for id in (A, B, C))
    assert (counts["layers"], counts["read"], counts["bytes"], counts["tags"]) == (3, 3, size, 1)
    assert run.problems == []
    node = Node(storage)
    shown = node.get(C)
    assert run.tags == [
        {
            "repository": "team/app",
            "tag": "1",
            "image": C,
            "image_id": shown.config_digest,
            "manifest": next(iter(shown.manifests.values())).digest,
            "oci_manifest": list(shown.manifests.values())[1].digest,
            "notes": list(shown.notes),
        }
    ]
    for digest in (shown.config_digest, shown.layers[0][1].digest):
        assert node.digests.find(Digest(digest))
    for manifest in shown.manifests.values():
        assert node.lookup.manifest(REPOSITORY, Digest(manifest.digest)) == manifest


def test_a_second_run_reads_nothing() -> None:
    storage = chain_store()
    build(storage)
    counts, _ = build(storage)
    assert (counts["layers"], counts["read"], counts["bytes"]) == (3, 0, 0)


def test_lost_entries_come_back_without_reading() -> None:
    storage = chain_store()
    build(storage)
    digest = Digest(Node(storage).get(C).layers[0][1].digest)
    storage.delete_folder("_v1registry")
    assert Node(storage).digests.find(digest) == []
    counts, _ = build(storage)
    assert counts["read"] == 0
    assert Node(storage).digests.find(digest)


@pytest.mark.parametrize("jobs", [1, 3])
def test_an_interrupted_backfill_continues(jobs: int) -> None:
    class Failing(MemoryStorage):
        """A fake store whose disk fails at the tenth layer that is opened."""

        left = 10

        def open(self, key: str) -> Any:
            if key.endswith("/layer"):
                self.left -= 1
                if self.left == 0:
                    raise Unavailable(key)
            return super().open(key)

    storage = Failing()
    for number in range(30):
        layer = gzip.compress(layer_of(f"file{number}"))
        write_image(storage, f"{number:064x}", layer=layer)
    with pytest.raises(Unavailable):
        build(storage, jobs=jobs)
    known = sum(exists(storage, keys.image(f"{number:064x}", "_oci")) for number in range(30))
    assert 9 - jobs <= known < 30
    counts, run = build(storage, jobs=jobs)
    assert counts["read"] == 30 - known
    assert counts["layers"] == 30
    assert run.problems == []


def test_damaged_layers_are_reported_and_the_rest_is_done() -> None:
    storage = chain_store()
    write_image(storage, D, layer=b"no archive at all" * 100)
    tag(storage, D, OTHER, "bad")
    storage.put(keys.image(image_id("e"), "json"), b"{}")
    storage.put(keys.image(image_id("e"), "_inprogress"), b"true")
    tag(storage, image_id("f"), OTHER, "dangling")
    counts, run = build(storage, jobs=2, tags=[])
    assert (counts["layers"], counts["damaged"], counts["unfinished"]) == (5, 1, 1)
    assert (counts["tags"], counts["unshown"]) == (3, 2)
    damage = "the layer cannot be read: it holds no tar archive"
    assert {"image": D, "problem": damage} in run.problems
    other = {"repository": "team/other"}
    assert {**other, "tag": "bad", "image": D, "problem": f"{D}: {damage}"} in run.problems
    missing = f"{image_id('f')} is missing or not complete"
    row = {**other, "tag": "dangling", "image": image_id("f"), "problem": missing}
    assert row in run.problems
    assert len(run.problems) == 3
    assert run.tags is not None
    assert [row["image"] for row in run.tags] == [C]
    # damage is stored: the layer is read again only on request
    counts, run = build(storage)
    assert (counts["read"], counts["damaged"]) == (0, 1)
    storage.put(keys.image(D, "layer"), gzip.compress(layer_of("d")))  # mended
    storage.delete(keys.image(D, "_checksum"))
    counts, run = build(storage, again=True)
    assert (counts["read"], counts["damaged"]) == (1, 0)


def test_again_reads_damaged_layers_once_more() -> None:
    storage = chain_store()
    good = storage.get(keys.image(B, "layer"))
    storage.put(keys.image(B, "layer"), bytes(len(good)))
    counts, _ = build(storage)
    assert counts["damaged"] == 1
    storage.put(keys.image(B, "layer"), good)
    assert build(storage)[0]["damaged"] == 1
    assert build(storage, again=True)[0]["damaged"] == 0
    assert build(storage)[0]["damaged"] == 0


def test_progress_is_reported() -> None:
    told: list[tuple[str, int, int | None]] = []

    def progress(what: str, done: int, total: int | None, size: int = 0) -> None:
        told.append((what, done, total))

    build(chain_store(), progress=progress)
    assert told == [("layers", 1, 3), ("layers", 2, 3), ("layers", 3, 3), ("tags", 1, None)]
