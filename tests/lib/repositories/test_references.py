"""Repository references, and their backfill for stores of 0.x."""

from __future__ import annotations

import json

import pytest

from tests.lib.stores import Domain, image_id, write_image
from v1registry.lib.names import ImageId, RepositoryName, Tag
from v1registry.lib.repositories import references as module
from v1registry.lib.repositories.backfill import BackfillRun, ReferenceBackfill, lacks_references
from v1registry.lib.repositories.image_list import ImageLists
from v1registry.storage import exists, keys
from v1registry.storage.errors import Refused
from v1registry.storage.memory import MemoryStorage

BASE, MIDDLE, TOP, OTHER = (ImageId(image_id(letter)) for letter in "abcd")
ONE, TWO = RepositoryName("ns", "one"), RepositoryName("ns", "two/deep")
LONG = RepositoryName("n" * 100, "r" * 140 + "/" + "s" * 10)


@pytest.fixture
def domain(monkeypatch: pytest.MonkeyPatch) -> Domain:
    monkeypatch.setattr(module, "LIFE", 0.0)
    domain = Domain(MemoryStorage())
    write_image(domain.storage, BASE)
    write_image(domain.storage, MIDDLE, (BASE,))
    write_image(domain.storage, TOP, (MIDDLE, BASE))
    write_image(domain.storage, OTHER, (BASE,))
    return domain


def tag(domain: Domain, repository: RepositoryName, name: str, id: str) -> None:
    domain.repositories.set_tag(repository, Tag(name), json.dumps(id).encode(), "")


def tag_by_0x(domain: Domain, repository: RepositoryName, name: str, id: str) -> None:
    domain.storage.put(f"{repository.folder}/{keys.tag(name)}", id.encode())


def reached(domain: Domain, repository: RepositoryName) -> set[str]:
    return {id for id in (BASE, MIDDLE, TOP, OTHER) if domain.reach.contains(repository, id)}


def candidates(domain: Domain, id: ImageId) -> set[RepositoryName]:
    return set(domain.reach.candidates(id))


def facts(domain: Domain) -> dict[str, int]:
    lists = ImageLists(domain.storage)
    return dict(
        ReferenceBackfill(domain.storage, domain.tags, domain.reach, lists).build(BackfillRun())
    )


@pytest.mark.parametrize("repository", [ONE, TWO, LONG])
def test_a_tag_leads_to_its_image_and_the_ancestors(
    domain: Domain, repository: RepositoryName
) -> None:
    assert reached(domain, repository) == set()
    tag(domain, repository, "latest", MIDDLE)
    assert reached(domain, repository) == {BASE, MIDDLE}
    assert candidates(domain, BASE) == candidates(domain, MIDDLE) == {repository}
    assert candidates(domain, TOP) == set()


def test_images_of_a_deleted_or_moved_tag(domain: Domain) -> None:
    tag(domain, ONE, "a", TOP)
    tag(domain, ONE, "b", OTHER)
    domain.repositories.delete_tag(ONE, Tag("a"))
    assert reached(domain, ONE) == {OTHER, BASE}
    tag(domain, ONE, "b", MIDDLE)
    assert reached(domain, ONE) == {MIDDLE, BASE}
    tag(domain, ONE, "a", TOP)  # its references still exist and are valid again
    assert reached(domain, ONE) == {TOP, MIDDLE, BASE}
    domain.repositories.delete(ONE)
    assert reached(domain, ONE) == set()


def test_repositories_apart(domain: Domain) -> None:
    tag(domain, ONE, "x", TOP)
    tag(domain, TWO, "x", OTHER)
    assert reached(domain, ONE) == {TOP, MIDDLE, BASE}
    assert reached(domain, TWO) == {OTHER, BASE}
    assert candidates(domain, BASE) == {ONE, TWO}


def test_references_that_a_crash_lost_are_written_again(domain: Domain) -> None:
    tag(domain, ONE, "x", TOP)
    domain.storage.delete(keys.reference(BASE, str(ONE)))
    # the child's exists, but was not the last one that was written
    tag(domain, ONE, "y", MIDDLE)
    assert candidates(domain, BASE) == {ONE}


def test_references_are_written_before_the_tag(
    domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    put = domain.storage.put

    def noting(key: str, data: bytes, **more: bool) -> None:
        written.append(key)
        put(key, data, **more)

    monkeypatch.setattr(domain.storage, "put", noting)
    tag(domain, ONE, "x", TOP)
    wanted = [keys.reference(id, str(ONE)) for id in (BASE, MIDDLE, TOP)]
    assert written[:4] == [*wanted, f"{ONE.folder}/tag_x"]


def test_a_positive_result_is_cached_shortly(
    domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LIFE", 60.0)
    lasting = module.RepositoryReferences(domain.storage, domain.images, domain.tags)
    assert not lasting.contains(ONE, BASE)
    tag(domain, ONE, "x", BASE)
    assert lasting.contains(ONE, BASE)  # a negative result is not cached
    domain.repositories.delete(ONE)
    assert lasting.contains(ONE, BASE)


def test_invalid_references_grant_nothing(domain: Domain) -> None:
    folder = keys.references(BASE)
    for name, data in [("ns%2Fone", b"x"), ("..", b"{}"), ("@" + "0" * 64, b"[]"), ("a%0Ab", b"{}"),
                       ("ns%2Ftwo%2Fdeep", b'{"repository":"ns/two/deep","tag":"x","whole":1}')]:  # fmt: skip
        domain.storage.put(f"{folder}/{name}", data)
    assert candidates(domain, BASE) == {ONE, TWO}
    assert reached(domain, ONE) == reached(domain, TWO) == set()
    tag(domain, ONE, "x", BASE)
    assert reached(domain, ONE) == {BASE}


def test_backfill_of_a_store_that_0x_wrote(domain: Domain) -> None:
    tag_by_0x(domain, ONE, "latest", TOP)
    tag_by_0x(domain, ONE, "again", TOP)
    tag_by_0x(domain, TWO, "x", OTHER)
    tag_by_0x(domain, TWO, "dangling", image_id("9"))
    assert candidates(domain, BASE) == set()
    assert facts(domain) == {"repositories": 2, "written": 5, "dropped": 0}
    assert candidates(domain, BASE) == {ONE, TWO}
    assert (candidates(domain, TOP), candidates(domain, OTHER)) == ({ONE}, {TWO})
    assert facts(domain) == {"repositories": 2, "written": 0, "dropped": 0}


def test_backfill_writes_missing_and_deletes_stale_references(domain: Domain) -> None:
    tag(domain, ONE, "x", TOP)
    tag(domain, TWO, "x", TOP)
    domain.storage.delete(keys.reference(BASE, str(ONE)))
    domain.repositories.delete(TWO)
    assert facts(domain) == {"repositories": 1, "written": 1, "dropped": 3}
    assert candidates(domain, BASE) == candidates(domain, TOP) == {ONE}


def test_a_tag_that_0x_set_is_found_where_the_repository_is_known(domain: Domain) -> None:
    tag_by_0x(domain, ONE, "x", MIDDLE)
    assert reached(domain, ONE) == {MIDDLE, BASE}
    assert candidates(domain, BASE) == {ONE}


def test_a_read_only_store_keeps_its_references(
    domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    tag_by_0x(domain, ONE, "x", MIDDLE)

    def refuse(*_: object, **__: object) -> None:
        raise Refused("read-only")

    monkeypatch.setattr(domain.storage, "put", refuse)
    assert reached(domain, ONE) == {MIDDLE, BASE}


def test_0x_ignores_the_references(domain: Domain) -> None:
    tag(domain, ONE, "x", BASE)
    assert {entry.name for entry in domain.storage.list(f"images/{BASE}")} == {
        *("json", "ancestry", "layer", "_checksum", "_repositories"),
    }
    assert exists(domain.storage, f"images/{BASE}/_repositories/ns%2Fone")


def test_a_store_of_0x_is_detected(domain: Domain) -> None:
    assert not lacks_references(MemoryStorage())
    assert lacks_references(domain.storage)
    facts(domain)
    assert not lacks_references(domain.storage)
