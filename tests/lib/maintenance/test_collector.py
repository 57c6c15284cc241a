"""Garbage collection: what is garbage, and what brings an image back."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.lib.stores import image_id, image_json, payload, write_image
from v1registry.lib.errors import IMAGE_BEING_DELETED, IMAGE_EXISTS, IMAGE_NOT_FOUND, Failure
from v1registry.lib.images.commit import Commits
from v1registry.lib.images.hidden import LEASE, HiddenImages, IdList
from v1registry.lib.images.images import Images
from v1registry.lib.images.push_provenance import PushProvenance
from v1registry.lib.images.upload import Uploads
from v1registry.lib.maintenance.collector import Collection, GarbageCollector
from v1registry.lib.maintenance.gc import GcOptions, GcRefused, GcReport
from v1registry.lib.maintenance.gc import run as run_gc
from v1registry.lib.names import ImageId, RepositoryName, Tag
from v1registry.lib.repositories.backfill import BackfillRun
from v1registry.lib.repositories.references import RepositoryReferences
from v1registry.lib.repositories.repositories import Repositories
from v1registry.lib.repositories.tags import Tags
from v1registry.lib.support import lease
from v1registry.storage import Storage, keys
from v1registry.storage.errors import NotMounted
from v1registry.storage.local.driver import FileStorage, call
from v1registry.storage.marker import MarkedStorage

BASE, TOP, OTHER = image_id("a"), image_id("b"), image_id("c")
APP = RepositoryName("library", "app")
AGENT = "docker/1.6.2"


class World:
    """A store with its services, and a collector that does not wait."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        commits = Commits(storage)
        self.hidden = HiddenImages(storage, life=0)
        self.images = Images(
            storage, commits, cache_limit=1 << 20, cache_life=60, hidden=self.hidden
        )
        self.uploads = Uploads(storage, self.images, commits, call, PushProvenance(storage, 3600))
        self.tags = Tags(storage)
        references = RepositoryReferences(storage, self.images, self.tags)
        self.repositories = Repositories(storage, self.images, self.tags, references)
        self.run = BackfillRun()
        self.slept: list[float] = []
        self.while_asleep: Callable[[], object] = lambda: None

    def collector(self, wait: float = 0) -> GarbageCollector:
        def sleep(seconds: float) -> None:
            self.slept.append(seconds)
            self.while_asleep()

        pool = ThreadPoolExecutor(2)
        return GarbageCollector(self.storage, self.tags, wait, self.run, pool, sleep=sleep)

    def garbage(self, grace: float = -10) -> set[str]:
        return {item.id for item in self.collector().plan(grace).garbage}

    def hide(self) -> Collection:
        collector = self.collector()
        return collector.hide(collector.plan(-10))

    def gc(self, **options: Any) -> GcReport:
        chosen = {"grace": -10.0, "max_share": 1.0, **options}
        return run_gc(self.collector(), self.run, GcOptions(**chosen))

    def tag(self, id: str, tag: str = "1") -> None:
        self.repositories.set_tag(APP, Tag(tag), json.dumps(id).encode(), AGENT)

    def stored(self) -> set[str]:
        return {entry.name for entry in self.storage.list(keys.IMAGES)}


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A store with a base image, its child, and another image."""
    storage = FileStorage(tmp_path / "store")
    write_image(storage, BASE)
    write_image(storage, TOP, (BASE,))
    write_image(storage, OTHER)
    return World(storage)


def test_images_that_a_tag_leads_to_are_no_garbage(world: World) -> None:
    world.tag(TOP)
    assert world.garbage() == {OTHER}


def test_both_ways_to_the_ancestors_count(world: World) -> None:
    """v1 clients follow the ancestry, v2 clients the parents in the JSONs."""
    world.storage.put(keys.image(TOP, "ancestry"), json.dumps([TOP, OTHER]).encode())
    world.tag(TOP)
    assert world.garbage() == set()


def test_a_tag_of_old_stores_counts(world: World) -> None:
    folder = keys.repository_before_081("team", "a/b")
    world.storage.put(f"{folder}/{keys.tag('1')}", TOP.encode())
    assert world.garbage() == {OTHER}


def test_young_images_and_their_ancestors_are_kept(world: World) -> None:
    assert world.garbage(grace=3600) == set()
    world.tag(OTHER)
    assert world.garbage() == {BASE, TOP}


def test_images_of_running_pushes_are_kept(world: World) -> None:
    child = image_id("d")
    world.uploads.put_json(ImageId(child), image_json(child, TOP))
    assert world.garbage() == {OTHER}


def test_unfinished_uploads_are_garbage(world: World) -> None:
    world.storage.put(keys.image(image_id("e"), "_inprogress"), b"true")
    assert image_id("e") in world.garbage()


def test_a_run_hides_and_the_next_run_deletes(world: World, tmp_path: Path) -> None:
    world.tag(TOP)
    first = world.gc()
    assert first.hidden
    assert (first.images, first.reachable, first.garbage) == (3, 2, 1)
    assert (first.garbage_bytes, first.deleted.images) == (5, 0)
    with pytest.raises(Failure) as raised:
        world.images.get(ImageId(OTHER))
    assert (raised.value.status, raised.value.text) == IMAGE_NOT_FOUND
    assert world.stored() == {BASE, TOP, OTHER}
    second = world.gc()
    assert (second.deleted.images, second.deleted.bytes, second.deleted.kept) == (1, 5, 0)
    assert world.stored() == {BASE, TOP}
    assert world.images.get(ImageId(TOP)).size == 5


def test_nothing_is_deleted_before_its_time(world: World) -> None:
    collector = world.collector(wait=3600)
    options = GcOptions(grace=-10, max_share=1)
    assert run_gc(collector, world.run, options).hidden
    again = run_gc(collector, world.run, options)
    assert not again.hidden
    assert again.deletes_after is not None
    assert world.stored() == {BASE, TOP, OTHER}


def test_a_push_brings_an_image_back(world: World) -> None:
    world.images.get(ImageId(TOP))  # cached from now on
    world.hide()
    assert world.images.find(TOP) is None
    with pytest.raises(Failure) as raised:
        world.uploads.put_json(ImageId(TOP), image_json(TOP, BASE))
    assert (raised.value.status, raised.value.text) == IMAGE_EXISTS
    assert world.images.get(ImageId(BASE)).size == 5
    world.tag(TOP)
    assert world.gc().deleted.kept == 2
    assert world.stored() == {BASE, TOP}


def test_a_push_of_a_child_brings_its_parents_back(world: World) -> None:
    world.hide()
    child = image_id("d")
    data = image_json(child, TOP)
    world.uploads.put_json(ImageId(child), data)
    world.uploads.put_layer(ImageId(child), [b"child"])
    world.uploads.put_checksum(ImageId(child), payload(data, b"child"), None)
    world.tag(child)
    assert world.gc().deleted.images == 1
    assert world.stored() == {BASE, TOP, child}


def test_a_tag_brings_an_image_back(world: World) -> None:
    world.hide()
    world.tag(TOP)
    assert world.images.get(ImageId(BASE)).size == 5
    world.gc()
    assert world.stored() == {BASE, TOP}


def test_a_tag_that_was_set_while_images_were_hidden_counts(world: World) -> None:
    """Another process did not know the new list yet."""
    tag = f"{APP.folder}/{keys.tag('1')}"
    world.while_asleep = lambda: world.storage.put(tag, TOP.encode())
    world.hide()
    assert world.slept == [10.0]
    assert world.images.get(ImageId(TOP)).size == 5
    assert world.images.find(OTHER) is None


def test_an_image_that_is_being_deleted_is_refused_until_it_is_gone(world: World) -> None:
    run = world.hide().run
    assert lease.take(world.storage, LEASE, 60)
    world.storage.put(keys.gc_delete(run, TOP), b"")
    for attempt in (
        lambda: world.tag(TOP),
        lambda: world.uploads.put_json(ImageId(TOP), image_json(TOP, BASE)),
        lambda: world.uploads.put_json(ImageId(image_id("d")), image_json(image_id("d"), TOP)),
    ):
        with pytest.raises(Failure) as raised:
            attempt()
        assert (raised.value.status, raised.value.text) == IMAGE_BEING_DELETED
    lease.release(world.storage, LEASE)  # the process that deleted it was killed
    world.tag(TOP)
    assert world.images.get(ImageId(TOP)).size == 5


def test_a_share_that_is_too_large_is_refused(world: World) -> None:
    world.tag(TOP)
    with pytest.raises(GcRefused, match="1 of 3 images are garbage, more than 20%"):
        world.gc(max_share=0.2)
    assert not list(world.storage.list(keys.GC))
    assert world.gc(max_share=0.2, confirmed=True).hidden


def test_unreadable_tags_are_refused_in_both_phases(world: World) -> None:
    tag = f"{APP.folder}/{keys.tag('broken')}"
    world.storage.put(tag, b"")
    with pytest.raises(GcRefused, match="library/app:broken"):
        world.gc()
    world.storage.delete(tag)
    world.run = BackfillRun()
    assert world.gc().hidden
    world.storage.put(tag, b"")
    with pytest.raises(GcRefused, match="library/app:broken"):
        world.gc()
    assert world.stored() == {BASE, TOP, OTHER}


def test_a_dry_run_writes_nothing(world: World) -> None:
    world.tag(OTHER)
    report = world.gc(dry_run=True)
    assert (report.garbage, report.garbage_bytes, report.hidden) == (2, 10, False)
    assert {item["image"] for item in report.largest} == {BASE, TOP}
    assert not list(world.storage.list(keys.GC))


def test_a_store_that_is_not_mounted_has_no_garbage(tmp_path: Path) -> None:
    """Its tags look deleted, but the list of its images may have been read before."""
    folder = tmp_path / "store"
    storage = MarkedStorage(FileStorage(folder))
    storage.prepare()
    write_image(storage, BASE)
    world = World(storage)
    world.tag(BASE)
    listed = list(storage.list(keys.IMAGES))
    storage.list = lambda key: iter(listed if key == keys.IMAGES else [])  # type: ignore[method-assign]
    folder.rename(tmp_path / "gone")
    folder.mkdir()
    with pytest.raises(NotMounted):
        world.garbage()


def test_v2_digests_of_deleted_images_are_forgotten(world: World) -> None:
    world.tag(TOP)
    kept, forgotten = (
        keys.digest(f"sha256:{'1' * 64}", "layer", TOP),
        keys.digest(f"sha256:{'2' * 64}", "config", OTHER),
    )
    world.storage.put(kept, b"")
    world.storage.put(forgotten, b"")
    world.gc()
    world.gc()
    assert [file.name for file in world.storage.list(kept.rpartition("/")[0])]
    assert not list(world.storage.list(forgotten.rpartition("/")[0]))


def test_children_are_deleted_before_their_parents(world: World) -> None:
    order = [item.id for item in world.collector().plan(-10).garbage]
    assert order.index(TOP) < order.index(BASE)


def test_a_loop_of_parents_is_garbage_like_any_other(world: World) -> None:
    for id, parent in ((BASE, TOP), (TOP, BASE)):
        world.storage.put(keys.image(id, "json"), image_json(id, parent))
    assert world.garbage() == {BASE, TOP, OTHER}


def test_remains_of_a_collection_are_cleaned(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    collection = world.hide()
    collector = world.collector()
    collector.collect(collection)
    collector.clean()
    assert [entry.name for entry in world.storage.list(keys.GC)] == [collection.run]
    monkeypatch.setattr("v1registry.lib.maintenance.collector._SETTLING", -1.0)
    collector.clean()
    assert not list(world.storage.list(keys.GC))


def test_a_list_of_ids_finds_exactly_its_members() -> None:
    ids = [f"{number:016x}" for number in range(0, 200, 2)] + [image_id("f")]
    found = IdList(IdList.dump(ids))
    assert list(found) == sorted(ids)
    assert all(id in found for id in ids)
    assert not any(f"{number:016x}" in found for number in range(1, 200, 2))
    assert image_id("0") not in found
    assert "a" not in IdList(b"")
