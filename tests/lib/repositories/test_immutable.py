"""Immutable tags: which changes are refused, and every order of two pushes and a crash."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.lib.explore import End, Explorer
from tests.lib.loose import LooseRemote, LooseStore
from tests.lib.maintenance.test_collector_model import Uncached
from tests.lib.stores import Domain, image_id, write_image
from tests.lib.worlds import Still
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName, Tag
from v1registry.lib.repositories import immutable as module
from v1registry.lib.repositories import references
from v1registry.lib.repositories.immutable import ImmutableTags
from v1registry.lib.repositories.repositories import Repositories
from v1registry.lib.repositories.tags import Tags
from v1registry.storage import Storage, exists, keys
from v1registry.storage.memory import MemoryStorage

A, B = image_id("a"), image_id("b")
NAME, OTHER = RepositoryName("library", "app"), RepositoryName("team", "app")
RULES = [("library/*", "v*"), ("*", "release-?")]
V1 = Tag("v1")


def with_rules(storage: Storage) -> Repositories:
    domain = Domain(storage)
    immutable = ImmutableTags(storage, domain.tags, RULES)
    return Repositories(storage, domain.images, domain.tags, domain.reach, immutable=immutable)


@pytest.fixture
def storage() -> MemoryStorage:
    storage = MemoryStorage()
    write_image(storage, A)
    write_image(storage, B)
    return storage


@pytest.fixture
def repositories(storage: MemoryStorage) -> Repositories:
    return with_rules(storage)


def tag(
    repositories: Repositories, name: RepositoryName, tag: str, id: str, agent: str = ""
) -> None:
    repositories.set_tag(name, Tag(tag), json.dumps(id).encode(), agent)


def refusal(function: Callable[..., object], *args: Any) -> str:
    with pytest.raises(Failure) as caught:
        function(*args)
    assert caught.value.status == 409
    return caught.value.text


@pytest.mark.parametrize(
    ("name", "tag", "rule"),
    [
        (NAME, "v1", "library/*:v*"),
        (RepositoryName("library", "deep/app"), "v", "library/*:v*"),
        (OTHER, "v1", None),
        (NAME, "latest", None),
        (NAME, "rev1", None),
        (OTHER, "release-1", "*:release-?"),
        (OTHER, "release-10", None),
        (OTHER, "Release-1", None),
    ],
)
def test_the_rule_of_a_tag(
    repositories: Repositories, name: RepositoryName, tag: str, rule: str | None
) -> None:
    assert repositories.immutable.rule(name, tag) == rule


def test_a_tag_keeps_its_first_image(storage: MemoryStorage, repositories: Repositories) -> None:
    tag(repositories, NAME, "v1", A, "docker/1.6.2")
    before = storage.get(f"{NAME.folder}/tagv1_json")
    tag(repositories, NAME, "v1", A, "docker/1.12.6")
    assert storage.get(f"{NAME.folder}/tagv1_json") == before
    text = refusal(tag, repositories, NAME, "v1", B)
    assert text.startswith("The tag library/app:v1 is immutable by the rule library/*:v*")
    assert repositories.tags(NAME) == {"v1": A}
    tag(repositories, NAME, "latest", A)
    tag(repositories, NAME, "latest", B)
    assert repositories.tags(NAME) == {"v1": A, "latest": B}


def test_deletions_are_refused(repositories: Repositories) -> None:
    tag(repositories, NAME, "v1", A)
    tag(repositories, NAME, "latest", A)
    tag(repositories, OTHER, "v1", A)
    assert "library/app:v1" in refusal(repositories.delete_tag, NAME, V1)
    assert "library/app:v1" in refusal(repositories.delete, NAME)
    assert repositories.tags(NAME) == {"v1": A, "latest": A}
    repositories.delete_tag(NAME, Tag("latest"))
    repositories.delete(OTHER)
    with pytest.raises(Failure, match="Tag not found"):
        repositories.delete_tag(NAME, Tag("v2"))


def test_a_deletion_reads_only_tags_that_may_be_immutable(
    storage: MemoryStorage, repositories: Repositories, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        tag(repositories, NAME, f"build-{number}", A)
    read = []
    get = storage.get
    monkeypatch.setattr(storage, "get", lambda key: read.append(key) or get(key))
    repositories.immutable.refuse_deletion(NAME)
    assert read == []
    tag(repositories, NAME, "v1", A)
    read.clear()
    refusal(repositories.immutable.refuse_deletion, NAME)
    assert read == [f"{NAME.folder}/tag_v1"]


def test_a_tag_of_0x_is_protected_under_its_old_name(storage: MemoryStorage) -> None:
    """Versions up to 0.8.0 encoded a nested name differently."""
    nested = RepositoryName("library", "a/b")
    storage.put(f"{nested.folders[1]}/tag_v1", A.encode())
    repositories = with_rules(storage)
    assert "library/a/b:v1" in refusal(tag, repositories, nested, "v1", B)
    assert "library/a/b:v1" in refusal(repositories.delete_tag, nested, V1)
    tag(repositories, nested, "v1", A)
    assert not exists(storage, f"{nested.folder}/tag_v1")


def test_an_unreadable_tag_is_not_protected(storage: MemoryStorage) -> None:
    storage.put(f"{NAME.folder}/tag_v1", b"damaged")
    storage.put(f"{NAME.folder}/tag_v2", b"damaged")
    repositories = with_rules(storage)
    tag(repositories, NAME, "v1", A)
    repositories.delete_tag(NAME, Tag("v2"))
    assert repositories.tags(NAME) == {"v1": A}


def test_a_tag_that_an_unfinished_push_set_is_taken_back(repositories: Repositories) -> None:
    def deleted() -> None:
        raise Failure(404, "deleted")

    def push() -> None:
        repositories.set_tag(NAME, V1, json.dumps(A).encode(), "", confirm=deleted)

    with pytest.raises(Failure, match="deleted"):
        push()
    assert repositories.immutable.create(NAME, V1, A)
    with pytest.raises(Failure, match="deleted"):
        push()
    assert repositories.tag(NAME, V1) == A, "the push that changed nothing takes nothing back"


def test_a_push_is_refused_at_its_beginning(repositories: Repositories) -> None:
    tag(repositories, NAME, "v1", A)
    refuse = repositories.immutable.refuse_push
    refuse(NAME, {"v1": {A}, "v2": {B}, "latest": {A, B}})
    assert "library/app:v1" in refusal(refuse, NAME, {"v2": {B}, "v1": {B}})
    assert "Docker 0.8 or later" in refusal(refuse, NAME, {"v2": {A, B}})


# -- two pushes at once -----------------------------------------------------------------


def push(id: str) -> Callable[[Any], str]:
    def run(store: Storage) -> str:
        tag(with_rules(store), NAME, "v1", id)
        return id

    return run


def with_images(store: Any) -> None:
    write_image(store, A)
    write_image(store, B)


def finish(least: int) -> Callable[[Still, list[End]], None]:
    """Return a check: at least so many pushes that were not killed must have succeeded."""

    def check(store: Still, ends: list[End]) -> None:
        outcomes = [end.outcome for end in ends if not end.dead]
        for outcome in outcomes:
            assert isinstance(outcome, str) or outcome.status == 409, outcome
        told = {outcome for outcome in outcomes if isinstance(outcome, str)}
        stored = Tags(store).get(NAME, V1)
        assert told <= {stored}, "a client was told success, but the tag has another image"
        if len(outcomes) == len(ends):
            assert len([one for one in outcomes if isinstance(one, str)]) >= least
            assert not list(store.list(keys.tag_claims(str(NAME), V1)))

    return check


@pytest.fixture
def without_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """The explorer runs a client's code many times: it must make the same calls each time."""
    monkeypatch.setattr(module.secrets, "token_hex", lambda n=0: "x")
    monkeypatch.setattr(module.time, "time", lambda: 0.0)
    monkeypatch.setattr(references, "SingleFlightCache", Uncached)
    monkeypatch.setattr("v1registry.lib.repositories.repositories.SingleFlightCache", Uncached)


@pytest.mark.parametrize(("ids", "least"), [((A, B), 1), ((A, A), 2), ((A, B, A), 1)])
def test_one_of_two_images_wins(without_chance: None, ids: tuple[str, ...], least: int) -> None:
    programs = [push(id) for id in ids]
    explorer = Explorer(
        with_images, programs, lambda _: False, lambda _: None, finish(least), len(ids) < 3
    )
    explorer.explore()
    assert explorer.ends > 1


def test_at_most_one_image_wins_without_atomic_create(
    without_chance: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With so few rounds, the push that waits may give up before the other one does."""
    monkeypatch.setattr(module, "_ROUNDS", 3)
    monkeypatch.setattr(module.time, "sleep", lambda _: None)
    programs = [push(A), push(B)]
    explorer = Explorer(
        with_images,
        programs,
        lambda _: False,
        lambda _: None,
        finish(0),
        1,
        worlds=(LooseStore, LooseRemote),
    )
    explorer.explore()
    assert explorer.ends > 1


def test_the_claim_of_a_crashed_push_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    storage = MemoryStorage(clock=lambda: now[0])
    storage.creates_atomically = False
    monkeypatch.setattr(module.time, "time", lambda: now[0])
    write_image(storage, A)
    write_image(storage, B)
    repositories = with_rules(storage)
    claim = f"{keys.tag_claims(str(NAME), V1)}/{B}-crashed"
    storage.put(claim, b"")
    monkeypatch.setattr(module.time, "sleep", lambda _: None)
    assert "Another push creates the tag library/app:v1" in refusal(
        tag, repositories, NAME, "v1", A
    )
    assert exists(storage, claim)
    now[0] = 3601.0
    tag(repositories, NAME, "v1", A)
    assert repositories.tags(NAME) == {"v1": A}
    assert not list(storage.list(keys.tag_claims(str(NAME), V1)))


@pytest.mark.parametrize("is_set", [False, True])
def test_the_smaller_id_waits_for_the_claim_of_the_other(
    monkeypatch: pytest.MonkeyPatch, storage: MemoryStorage, is_set: bool
) -> None:
    storage.creates_atomically = False
    repositories = with_rules(storage)
    other = f"{keys.tag_claims(str(NAME), V1)}/{B}-other"
    storage.put(other, b"")

    def wait(_seconds: float) -> None:
        """Let the other push end: it was earlier and has won, or it gives up."""
        if is_set:
            storage.put(f"{NAME.folder}/tag_v1", B.encode())
        storage.delete(other)

    monkeypatch.setattr(module.time, "sleep", wait)
    if is_set:
        assert "keeps its image" in refusal(tag, repositories, NAME, "v1", A)
    else:
        tag(repositories, NAME, "v1", A)
    assert repositories.tags(NAME) == {"v1": B if is_set else A}


def test_the_larger_id_gives_up_at_once(
    monkeypatch: pytest.MonkeyPatch, storage: MemoryStorage
) -> None:
    storage.creates_atomically = False
    storage.put(f"{keys.tag_claims(str(NAME), V1)}/{A}-other", b"")
    monkeypatch.setattr(module.time, "sleep", pytest.fail)
    assert "Another push creates" in refusal(tag, with_rules(storage), NAME, "v1", B)
