"""Every interleaving and every crash of pushes of one image.

Sources: docs/architecture.md#rule-4-writes-are-atomic and
docs/architecture.md#rule-5-complete-images-are-immutable.

Invariants: JSON, layer, ancestry and checksum of a complete image belong together and never change
again. Every client that is not killed and sent the right bytes is told success. Leftovers of a killed
client do not disturb other clients.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest

from tests.lib.explore import End, Explorer
from tests.lib.loose import LooseRemote, LooseStore
from tests.lib.worlds import Still
from v1registry.lib.errors import CHECKSUM_MISMATCH, IMAGE_EXISTS, Failure
from v1registry.lib.images.cleaner import Cleaner
from v1registry.lib.images.commit import CommitRecord, Commits
from v1registry.lib.images.images import Images
from v1registry.lib.images.push_provenance import PushProvenance
from v1registry.lib.images.upload import Uploads
from v1registry.lib.names import ImageId
from v1registry.storage import Storage, keys
from v1registry.storage.errors import NotFound
from v1registry.storage.local.driver import call

ID = ImageId("a" * 64)
PARENT = ImageId("b" * 64)


def image_json(comment: str) -> bytes:
    return json.dumps({"id": ID, "parent": PARENT, "comment": comment}).encode()


def payload(data: bytes, layer: bytes) -> str:
    return "sha256:" + hashlib.sha256(data + b"\n" + layer).hexdigest()


def uploads(store: Storage) -> Uploads:
    commits = Commits(store)
    images = Images(store, commits, cache_limit=0, cache_life=60)
    return Uploads(store, images, commits, call, PushProvenance(store, 3600))


def push(data: bytes, layer: bytes, claimed: bytes | None = None) -> Callable[..., str]:
    """A client like an engine: 409 on the JSON is success, any other status than 200 is not."""

    def run(store: Storage) -> str:
        node = uploads(store)
        try:
            node.put_json(ID, data)
        except Failure as failure:
            if (failure.status, failure.text) == IMAGE_EXISTS:
                return "exists"
            raise
        node.put_layer(ID, [layer])
        node.put_checksum(ID, payload(data, claimed or layer), None)
        return "pushed"

    return run


def read(store: Storage) -> str:
    commits = Commits(store)
    try:
        image = Images(store, commits, cache_limit=0, cache_life=60).get(ID)
    except Failure as failure:
        return failure.text
    return "whole" if image.size is not None and image.checksums else "broken"


def clean(store: Storage) -> str:
    Cleaner(store, Commits(store)).clean(-1.0)  # nothing is that old: it only completes commits
    return "cleaned"


def prepare(store: Any) -> None:
    data = json.dumps({"id": PARENT}).encode()
    store.put(keys.image(PARENT, "json"), data)
    store.put(keys.image(PARENT, "ancestry"), json.dumps([PARENT]).encode())
    store.put(keys.image(PARENT, "layer"), b"parent")
    store.put(keys.image(PARENT, "_checksum"), json.dumps([payload(data, b"parent")]).encode())


def prepare_broken_push_of_0x(store: Any) -> None:
    prepare(store)
    store.put(keys.image(ID, "_inprogress"), b"true")
    store.put(keys.image(ID, "json"), image_json("0.x"))
    store.put(keys.image(ID, "ancestry"), json.dumps([ID, PARENT]).encode())
    store.put(keys.image(ID, "layer"), b"half")


def parts(store: Still) -> tuple[bytes | None, ...]:
    names = ("json", "layer", "ancestry", "_checksum")
    return tuple(store.look(keys.image(ID, name)) for name in names)


def is_finished(store: Still) -> bool:
    """Return whether the image is complete; if so, check its four parts against each other."""
    data, layer, ancestry, checksum = parts(store)
    if data is None or store.look(keys.image(ID, "_inprogress")) is not None:
        return False
    assert layer is not None, "a finished image without its layer"
    assert json.loads(checksum or b"null") == [payload(data, layer)], "parts of different pushes"
    assert json.loads(ancestry or b"null") == [ID, PARENT]
    return True


def finish(store: Still, ends: list[End]) -> None:
    told = [end.outcome for end in ends if not end.dead]
    for outcome in told:
        assert not isinstance(outcome, Exception), outcome
        assert (
            outcome in ("pushed", "exists", "cleaned", "whole")
            or "upload" in outcome
            or (outcome == "Image not found")
        ), outcome
    if "pushed" in told or "exists" in told:
        assert is_finished(store) or read(store) == "whole"
    # Whatever was left behind, the next client succeeds, and the cleaner then deletes the rest.
    assert push(image_json("later"), b"later-layer")(store) in ("pushed", "exists")
    assert is_finished(store)
    Cleaner(store, Commits(store)).clean(1.0)
    objects = store.contents()[0]
    assert not list(store.stages())
    assert not [key for key, _ in objects if key.startswith(keys.OURS)]
    assert is_finished(store)


ONE, OTHER = image_json("one"), image_json("other")

SCENARIOS: dict[str, tuple[list[Callable[..., Any]], Callable[[Any], None], int]] = {
    "one client, killed anywhere": ([push(ONE, b"1st")], prepare, 1),
    "two gzip forms of one tar": ([push(ONE, b"1st"), push(ONE, b"second")], prepare, 0),
    "two clients, one killed": ([push(ONE, b"1st"), push(ONE, b"second")], prepare, 1),
    "a reader": ([push(ONE, b"1st"), read], prepare, 1),
    "the cleaner": ([push(ONE, b"1st"), clean], prepare, 1),
    "after a broken push of 0.x": ([push(ONE, b"1st"), read], prepare_broken_push_of_0x, 1),
}

HEAVY: dict[str, tuple[list[Callable[..., Any]], Callable[[Any], None], int]] = {
    "two JSONs": ([push(ONE, b"1st"), push(OTHER, b"second")], prepare, 0),
    "the same bytes twice": ([push(ONE, b"1st"), push(ONE, b"1st")], prepare, 0),
    "two JSONs, one killed": ([push(ONE, b"1st"), push(OTHER, b"second")], prepare, 1),
    "0.x's leftovers, one killed": (
        [push(ONE, b"1st"), push(OTHER, b"second")],
        prepare_broken_push_of_0x,
        1,
    ),
    "two clients and the cleaner": ([push(ONE, b"1st"), push(ONE, b"second"), clean], prepare, 0),
}


POWER: dict[str, tuple[list[Callable[..., Any]], Callable[[Any], None], int]] = {
    "one client": ([push(ONE, b"1st")], prepare, 0),
    "a reader": ([push(ONE, b"1st"), read], prepare, 0),
    "after a broken push of 0.x": ([push(ONE, b"1st"), read], prepare_broken_push_of_0x, 0),
}

HEAVY_POWER: dict[str, tuple[list[Callable[..., Any]], Callable[[Any], None], int]] = {
    "two gzip forms of one tar": ([push(ONE, b"1st"), push(ONE, b"second")], prepare, 0),
    "the cleaner": ([push(ONE, b"1st"), clean], prepare, 1),
}


def is_promised(ends: list[End]) -> bool:
    """Return whether a client was told success."""
    return any(end.outcome in ("pushed", "exists") for end in ends)


def _explore(
    scenario: tuple[list[Callable[..., Any]], Callable[[Any], None], int], *, power: bool = False
) -> None:
    programs, prepared, kills = scenario
    explorer = Explorer(
        prepared,
        programs,
        is_finished,
        parts,
        finish,
        kills,
        f"images/{PARENT}",
        is_promised if power else None,
    )
    explorer.explore()
    assert explorer.ends >= 1
    found = f"{explorer.states} states, {explorer.ends} ends, {explorer.cuts} after power cuts"
    print(found)  # noqa: T201 - shown with -s or -rP


@pytest.mark.parametrize("name", SCENARIOS)
def test_model(name: str) -> None:
    _explore(SCENARIOS[name])


@pytest.mark.parametrize("name", POWER)
def test_power(name: str) -> None:
    _explore(POWER[name], power=True)


@pytest.mark.heavy
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", HEAVY_POWER)
def test_power_heavy(name: str) -> None:
    _explore(HEAVY_POWER[name], power=True)


@pytest.mark.heavy
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", HEAVY)
def test_model_heavy(name: str) -> None:
    _explore(HEAVY[name])


LOOSE: dict[str, tuple[list[Callable[..., Any]], Callable[[Any], None], int]] = {
    "one client, killed anywhere": ([push(ONE, b"1st")], prepare, 1),
    "two gzip forms, one killed": ([push(ONE, b"1st"), push(ONE, b"2nd")], prepare, 1),
}

HEAVY_LOOSE: dict[str, tuple[list[Callable[..., Any]], Callable[[Any], None], int]] = {
    "two JSONs, one killed": ([push(ONE, b"1st"), push(OTHER, b"2nd")], prepare, 1),
    "two gzip forms and a reader": ([push(ONE, b"1st"), push(ONE, b"2nd"), read], prepare, 0),
}


def finish_loosely(store: LooseStore, ends: list[End]) -> None:
    """What is different: parts of two pushes may stay together where one was killed, until ..."""
    if any(end.dead for end in ends):
        Cleaner(store, Commits(store)).clean(1.0)
    finish(store, ends)


def _explore_loosely(scenario: tuple[list[Callable[..., Any]], Callable[[Any], None], int]) -> None:
    """Explore a store where `create` looks and then writes, so that two records may follow each other.

    A complete image may then change until all clients have read the last record. At the end, the same
    invariants hold.
    """
    programs, prepared, kills = scenario
    explorer = Explorer(
        prepared,
        programs,
        lambda store: False,
        parts,
        finish_loosely,
        kills,
        f"images/{PARENT}",
        worlds=(LooseStore, LooseRemote),
    )
    explorer.explore()
    assert explorer.ends > 1
    print(f"{explorer.states} states, {explorer.ends} ends")  # noqa: T201 - shown with -s


@pytest.mark.parametrize("name", LOOSE)
def test_model_without_atomic_create(name: str) -> None:
    _explore_loosely(LOOSE[name])


@pytest.mark.heavy
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", HEAVY_LOOSE)
def test_model_without_atomic_create_heavy(name: str) -> None:
    _explore_loosely(HEAVY_LOOSE[name])


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "others",
    [[], [read], pytest.param([push(ONE, b"second")], marks=pytest.mark.heavy)],
    ids=["alone", "a reader", "another client"],
)
def test_a_premature_cleaner_breaks_no_complete_image(others: list[Callable[..., Any]]) -> None:
    """The cleaner deletes the data of running pushes: they may fail, but a complete image stays intact."""

    def clean_all(store: Storage) -> str:
        Cleaner(store, Commits(store)).clean(1.0)
        return "cleaned"

    def finish_taken(store: Still, ends: list[End]) -> None:
        outcome = ends[0].outcome
        assert outcome in ("pushed", "exists") or isinstance(outcome, Failure | NotFound), outcome
        assert not any(end.outcome == "broken" for end in ends)
        if outcome in ("pushed", "exists"):
            assert is_finished(store) or read(store) == "whole"
        assert push(image_json("later"), b"later-layer")(store) in ("pushed", "exists")
        assert is_finished(store)

    programs = [push(ONE, b"1st"), clean_all, *others]
    constant = f"images/{PARENT}"
    Explorer(prepare, programs, is_finished, parts, finish_taken, 0, constant).explore()


@pytest.mark.parametrize("in_place", [False, True])
def test_a_commit_record_without_json_is_completed(in_place: bool) -> None:
    """Records older than 2026-12 lack the JSON: it is staged, or in place already."""
    store = Still()
    prepare(store)
    handle = store.stage(keys.image(ID, "layer"), [b"1st"])
    record = {
        "json": hashlib.sha256(ONE).hexdigest(), "handle": handle, "size": 3,
        "checksums": [payload(ONE, b"1st")], "ancestry": [ID, PARENT],
    }  # fmt: skip
    staged = keys.pushed_json(ID, str(record["json"]))
    store.put(keys.image(ID, "json") if in_place else staged, ONE)
    store.put(keys.image(ID, "_inprogress"), b"true")
    store.create(keys.image(ID, "_commit"), json.dumps(record).encode())
    assert read(store) == "whole"
    assert is_finished(store)
    assert store.look(keys.image(ID, "json")) == ONE


def test_a_commit_record_with_lost_data_is_deleted() -> None:
    store = Still()
    prepare(store)
    store.put(keys.image(ID, "_inprogress"), b"true")
    record = CommitRecord("0" * 64, "gone", 3, [payload(ONE, b"1st")], [ID, PARENT])
    store.create(keys.image(ID, "_commit"), json.dumps(asdict(record)).encode())
    assert not Commits(store).complete(ID)
    assert store.look(keys.image(ID, "_commit")) is None
    assert push(ONE, b"1st")(store) == "pushed"
    assert is_finished(store)


def test_wrong_bytes_are_never_told_success() -> None:
    """A client whose layer arrived damaged is refused, whatever other clients do meanwhile."""
    outcomes = set()

    def finish_damaged(store: Still, ends: list[End]) -> None:
        damaged = ends[1].outcome
        outcomes.add(type(damaged).__name__ if isinstance(damaged, Exception) else damaged)
        if isinstance(damaged, Failure):
            assert (damaged.status, damaged.text) in (CHECKSUM_MISMATCH, (409, damaged.text))
        assert ends[0].outcome in ("pushed", "exists")
        assert store.look(keys.image(ID, "layer")) == b"1st"

    programs = [push(ONE, b"1st"), push(ONE, b"damaged", claimed=b"intact")]
    Explorer(prepare, programs, is_finished, parts, finish_damaged).explore()
    assert outcomes == {"Failure", "exists"}
