"""Every interleaving and every crash of garbage collection with pushes, tags, deletions and pulls.

Source: docs/architecture.md#rule-4-writes-are-atomic.

Invariants: an image that a tag leads to is never lost, with all its ancestors. A client that was told
success finds its image. No client ever sees an image that is not whole. After an interrupted collection
the next one deletes what is garbage, and every image can be pushed again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from tests.lib.explore import End, Explorer
from tests.lib.loose import LooseRemote, LooseStore
from tests.lib.maintenance.serial import Serial
from tests.lib.stores import payload
from tests.lib.worlds import Still
from v1registry.lib import documents
from v1registry.lib.errors import IMAGE_BEING_DELETED, IMAGE_EXISTS, Failure
from v1registry.lib.images import hidden
from v1registry.lib.images.commit import Commits
from v1registry.lib.images.hidden import LEASE, HiddenImages, IdList
from v1registry.lib.images.images import Images
from v1registry.lib.images.push_provenance import PushProvenance
from v1registry.lib.images.upload import Uploads
from v1registry.lib.maintenance import collector as module
from v1registry.lib.maintenance.collector import Collection, GarbageCollector
from v1registry.lib.names import ImageId, RepositoryName, Tag
from v1registry.lib.repositories import references
from v1registry.lib.repositories.backfill import BackfillRun
from v1registry.lib.repositories.references import RepositoryReferences
from v1registry.lib.repositories.repositories import Repositories
from v1registry.lib.repositories.tags import Tags
from v1registry.storage import Storage, keys
from v1registry.storage.local.driver import call

BASE, TOP, CHILD = (ImageId(letter * 64) for letter in "abc")
REPOSITORY, TAG = RepositoryName("library", "app"), Tag("1.0")
RUN = "run"
PARENTS: dict[str, str | None] = {BASE: None, TOP: BASE, CHILD: TOP}
Program = Callable[[Any], Any]


def image_json(id: str) -> bytes:
    parent = PARENTS[id]
    return json.dumps({"id": id, **({"parent": parent} if parent else {})}).encode()


def chain(id: str) -> list[str]:
    parent = PARENTS[id]
    return [id, *(chain(parent) if parent else [])]


@dataclass(frozen=True)
class Uncached:
    """Replaces SingleFlightCache, whose locks the explorer cannot compare."""

    life: float

    def get(self, key: str, compute: Callable[[], Any], keep: Any = None) -> Any:
        return compute()


class Node:
    """One process that serves; it reads the lists of hidden images for every request."""

    def __init__(self, store: Storage) -> None:
        commits = Commits(store)
        self.images = Images(
            store, commits, cache_limit=0, cache_life=60, hidden=HiddenImages(store)
        )
        self.uploads = Uploads(store, self.images, commits, call, PushProvenance(store, 3600))
        tags = Tags(store)
        self.repositories = Repositories(
            store, self.images, tags, RepositoryReferences(store, self.images, tags)
        )


def tag(store: Storage, id: ImageId = TOP) -> str:
    Node(store).repositories.set_tag(REPOSITORY, TAG, json.dumps(id).encode(), "docker/1.6.2")
    return f"tagged {id}"


def untag(store: Storage) -> str:
    Node(store).repositories.delete_tag(REPOSITORY, TAG)
    return "untagged"


def push(id: ImageId) -> Program:
    """A client like an engine: it sends the layer unless the image exists, and then tags the image."""

    def run(store: Storage) -> str:
        node = Node(store)
        try:
            node.uploads.put_json(id, image_json(id))
        except Failure as failure:
            if (failure.status, failure.text) != IMAGE_EXISTS:
                raise
        else:
            node.uploads.put_layer(id, [b"layer"])
            node.uploads.put_checksum(id, payload(image_json(id), b"layer"), None)
        return tag(store, id)

    return run


def pull(store: Storage) -> str:
    try:
        image = Node(store).images.get(TOP)
    except Failure as failure:
        return failure.text
    return "whole" if image.size is not None and image.checksums else "broken"


def collector(store: Storage) -> GarbageCollector:
    return GarbageCollector(
        store, Tags(store), 0, BackfillRun(), Serial(), sleep=lambda seconds: None
    )


def collect(store: Storage) -> str:
    collector(store).collect(Collection(RUN, 0, 0))
    return "collected"


def hide(store: Storage) -> str:
    collecting = collector(store)
    collecting.hide(collecting.plan(grace=0))
    return "hidden"


def write(store: Storage, id: ImageId, *, by_0x: bool = False) -> None:
    store.put(keys.image(id, "json"), image_json(id))
    store.put(keys.image(id, "ancestry"), json.dumps(chain(id)).encode())
    store.put(keys.image(id, "layer"), b"layer")
    store.put(keys.image(id, "_checksum"), json.dumps([payload(image_json(id), b"layer")]).encode())
    if not by_0x:
        record = {
            "json": "",
            "handle": "gone",
            "size": 5,
            "checksums": [payload(image_json(id), b"layer")],
            "ancestry": chain(id),
            "document": image_json(id).decode(),
        }
        store.put(keys.image(id, "_commit"), documents.dump(record))


def with_garbage(store: Any) -> None:
    """Two images that a collection has hidden; its process holds the lease."""
    write(store, BASE, by_0x=True)
    write(store, TOP)
    garbage = [[TOP, 5], [BASE, 5]]
    store.put(keys.gc_plan(RUN), documents.dump({"since": 0, "due": 0, "garbage": garbage}))
    store.put(keys.gc_hidden(RUN), IdList.dump([BASE, TOP]))
    hold_lease(store)


def hold_lease(store: Any) -> None:
    until = time.time() + 500
    store.put(f"{keys.OURS}/leases/{LEASE}", documents.dump({"until": until, "by": "collector"}))


def with_tag(store: Any) -> None:
    """The same, but a tag leads to the images, set by 0.x while the registry did not run."""
    with_garbage(store)
    store.put(f"{REPOSITORY.folder}/{keys.tag(TAG)}", TOP.encode())


def without_list(store: Any) -> None:
    """Two images without a tag, before any collection."""
    write(store, BASE, by_0x=True)
    write(store, TOP)
    hold_lease(store)


def finish(store: Still, ends: list[End]) -> None:
    told = [end.outcome for end in ends if not end.dead]
    for outcome in told:
        if isinstance(outcome, Failure):
            assert (outcome.status, outcome.text) == IMAGE_BEING_DELETED or outcome.status in (
                400,  # the parent was deleted: the engine must send it as well
                404,  # the image was deleted before it was tagged; or the tag is gone
            ), outcome
        else:
            assert not isinstance(outcome, Exception), outcome
            assert outcome != "broken"
    for id in PARENTS:
        if store.look(keys.image(id, "json")) and not store.look(keys.image(id, "_inprogress")):
            for part in ("layer", "ancestry", "_checksum"):
                assert store.look(keys.image(id, part)), f"{id} looks complete without {part}"
    _check_tagged(store, told)
    # The process that collected is gone: the next collection deletes the rest, and only that.
    store.delete(f"{keys.OURS}/leases/{LEASE}")
    for _ in range(2):
        _collect_all(store)
        _check_tagged(store, told)
    assert not [key for key, _ in store.contents()[0] if key.startswith(f"{keys.GC}/")]
    if store.look(f"{REPOSITORY.folder}/{keys.tag(TAG)}") is None:
        assert not list(store.list(keys.IMAGES)), "garbage stays"
    for id in (BASE, TOP, CHILD):
        assert push(id)(store) == f"tagged {id}"
        assert Node(store).images.get(id).size == 5


def _check_tagged(store: Still, told: list[Any]) -> None:
    """Check that the tag leads to whole images, and that it is there if a client was told so."""
    top = Tags(store).get(REPOSITORY, TAG)
    done = [text for text in told if isinstance(text, str) and text.startswith("tagged")]
    if done and "untagged" not in told:
        assert top is not None
        assert any(text.endswith(top) for text in done)
    node = Node(store)
    for id in chain(top) if top else []:
        if store.look(f"{keys.OURS}/leases/{LEASE}") is None:  # before, it may still be hidden
            assert node.images.get(ImageId(id)).size == 5
        for part in ("json", "layer", "ancestry", "_checksum"):
            assert store.look(keys.image(id, part)) is not None, f"{id} has lost {part}"
        assert store.look(keys.image(id, "_inprogress")) is None


def _collect_all(store: Still) -> None:
    collecting = collector(store)
    for collection in collecting.collections():
        collecting.collect(collection)
    # The pushes of the clients are over.
    store.delete_folder(keys.PUSHES)
    collecting.hide(collecting.plan(grace=-1e12))
    for collection in collecting.collections():
        collecting.collect(collection)
    for entry in list(store.list(keys.GC)):
        if not store.look(keys.gc_hidden(entry.name)):
            store.delete_folder(f"{keys.GC}/{entry.name}")


SCENARIOS: dict[str, tuple[list[Program], Callable[[Any], None], int]] = {
    "killed anywhere": ([collect], with_garbage, 1),
    "a tag": ([collect, tag], with_garbage, 0),
    "a tag is deleted": ([collect, untag], with_tag, 0),
    "a pull": ([collect, pull], with_garbage, 1),
    "a push of the image": ([collect, push(TOP)], with_garbage, 0),
    "a tag of 0.x": ([collect], with_tag, 1),
    "hiding and a tag": ([hide, tag], without_list, 1),
}

HEAVY: dict[str, tuple[list[Program], Callable[[Any], None], int]] = {
    "a tag, one killed": ([collect, tag], with_garbage, 1),
    "a push of a child": ([collect, push(CHILD)], with_garbage, 0),
    "hiding and a push of a child": ([hide, push(CHILD)], without_list, 0),
    "a push of the image, one killed": ([collect, push(TOP)], with_garbage, 1),
    "a push of a child, one killed": ([collect, push(CHILD)], with_garbage, 1),
    "a push and a pull": ([collect, push(TOP), pull], with_garbage, 0),
    "two tags": ([collect, tag, push(BASE)], with_garbage, 0),
}


@pytest.fixture(autouse=True)
def without_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """The explorer runs a client's code many times: it must make the same calls each time."""
    clock = SimpleNamespace(time=lambda: 1e9, strftime=lambda *_: "new", gmtime=lambda: None)
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(module.secrets, "token_hex", lambda n=0: "x")
    for user in (hidden, references):
        monkeypatch.setattr(user, "SingleFlightCache", Uncached)
    monkeypatch.setattr("v1registry.lib.repositories.metadata.time.time", lambda: 1e9)


def _explore(
    scenario: tuple[list[Program], Callable[[Any], None], int],
    *,
    power: bool = False,
    loose: bool = False,
) -> None:
    programs, prepared, kills = scenario
    explorer = Explorer(
        prepared,
        programs,
        lambda store: False,  # images may be deleted: only the end is checked
        lambda store: None,
        finish,
        kills,
        power=(lambda ends: False) if power else None,
        **({"worlds": (LooseStore, LooseRemote)} if loose else {}),
    )
    explorer.explore()
    assert explorer.ends >= 1
    found = f"{explorer.states} states, {explorer.ends} ends, {explorer.cuts} after power cuts"
    print(found)  # noqa: T201 - shown with -s or -rP


@pytest.mark.parametrize("name", SCENARIOS)
def test_collection_model(name: str) -> None:
    _explore(SCENARIOS[name])


def test_collection_model_with_power_loss() -> None:
    _explore(([collect], with_garbage, 0), power=True)


@pytest.mark.heavy
@pytest.mark.parametrize("name", HEAVY)
def test_large_collection_model(name: str) -> None:
    _explore(HEAVY[name])


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["a tag", "a push of the image"])
def test_large_collection_model_without_atomic_create(name: str) -> None:
    _explore(SCENARIOS[name], loose=True)


@pytest.mark.heavy
def test_large_collection_model_with_power_loss() -> None:
    _explore(SCENARIOS["a tag"], power=True)
