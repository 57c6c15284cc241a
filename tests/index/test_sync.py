"""Synchronization with the store: after each change, after failures, and by a walk."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.backends.postgres import Postgres
from tests.index.conftest import here, open_database
from tests.lib.stores import Domain, image_id, write_image
from v1registry.index import sync as subject
from v1registry.index.database import Database
from v1registry.index.repositories import RepositoryRecords
from v1registry.index.sync import StoreView, Sync
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName, Tag
from v1registry.lib.repositories import walk
from v1registry.lib.repositories.repositories import Repositories as Stored
from v1registry.lib.repositories.repositories import is_private, set_private
from v1registry.storage.local.driver import FileStorage
from v1registry.wiring.index import sync_with

A, B = image_id("a"), image_id("b")
APP, OTHER = RepositoryName("team", "app"), RepositoryName("team", "other/deep")


@pytest.fixture
def domain(tmp_path: Path) -> Domain:
    domain = Domain(FileStorage(tmp_path / "store"))
    for id in (A, B):
        write_image(domain.storage, id)
    return domain


@pytest.fixture
def sync(database: Database, domain: Domain) -> Sync:
    return sync_with(database, domain.storage, here)


@pytest.fixture
def stored(domain: Domain, sync: Sync) -> Stored:
    """Return the repositories of the store, for a registry with an index."""
    return Stored(domain.storage, domain.images, domain.tags, domain.reach, sync)


def put(stored: Stored, repository: RepositoryName, tag: str, id: str = A) -> None:
    stored.set_tag(repository, Tag(tag), f'"{id}"'.encode(), "")


def known(repositories: RepositoryRecords, repository: RepositoryName) -> dict[str, str] | None:
    try:
        return dict(repositories.get(repository, None).tags)
    except Failure:
        return None


# -- change by change -----------------------------------------------------------------------


def test_tags_come_and_go(stored: Stored, repositories: RepositoryRecords) -> None:
    put(stored, APP, "v1")
    assert known(repositories, APP) == {"v1": A}
    put(stored, APP, "v2", B)
    put(stored, APP, "v1", B)
    assert known(repositories, APP) == {"v1": B, "v2": B}
    stored.delete_tag(APP, Tag("v2"))
    assert known(repositories, APP) == {"v1": B}
    stored.delete(APP)
    assert known(repositories, APP) is None


def test_data_of_the_index_alone_stays(stored: Stored, repositories: RepositoryRecords) -> None:
    repositories.create(APP)
    repositories.describe(APP, "good")
    put(stored, APP, "v1")
    put(stored, APP, "v2")
    stored.delete_tag(APP, Tag("v1"))
    stored.delete_tag(APP, Tag("v2"))
    assert repositories.get(APP, None).description == "good"


def test_private_follows_the_flag(stored: Stored, repositories: RepositoryRecords) -> None:
    put(stored, APP, "v1")
    stored.set_private(APP, True)
    assert known(repositories, APP) is None
    put(stored, APP, "v2")
    assert known(repositories, APP) is None
    stored.set_private(APP, False)
    assert known(repositories, APP) == {"v1": A, "v2": A}


def test_a_new_row_has_the_visibility_of_the_store(
    domain: Domain, stored: Stored, repositories: RepositoryRecords
) -> None:
    set_private(domain.storage, APP, True)
    put(stored, APP, "v1")
    assert known(repositories, APP) is None


def test_a_repository_private_in_the_index_stays_private(
    sync: Sync, stored: Stored, repositories: RepositoryRecords
) -> None:
    repositories.create(APP)
    repositories.flag(APP, is_private=True)
    put(stored, APP, "v1")
    sync.rebuild()
    assert known(repositories, APP) is None


def test_concurrent_changes(
    domain: Domain, database: Database, repositories: RepositoryRecords
) -> None:
    """Each process writes what it read. In the end the index has the state of the store."""
    nodes = [
        Stored(
            domain.storage,
            domain.images,
            domain.tags,
            domain.reach,
            sync_with(database, domain.storage, here),
        )
        for _ in range(6)
    ]

    def work(number: int) -> None:
        node, tag = nodes[number % len(nodes)], f"v{number % 5}"
        if number % 4 == 3:
            try:
                node.delete_tag(APP, Tag(tag))
            except Failure as failure:
                assert failure.status == 404  # noqa: PT017 - deleted by another
        else:
            put(node, APP, tag, (A, B)[number % 2])

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(90)))
    assert known(repositories, APP) == domain.tags.all(APP)


def test_a_slow_writer_does_not_overwrite_newer_state(
    domain: Domain, database: Database, repositories: RepositoryRecords
) -> None:
    """Another process wrote a newer tag after this one read the store."""
    read, go_on = threading.Event(), threading.Event()

    def slowly(repository: RepositoryName, tag: str) -> str | None:
        found = domain.tags.get(repository, tag)
        if not read.is_set():
            read.set()
            assert go_on.wait(30)
        return found

    slow = Sync(
        database,
        StoreView(
            domain.tags.all,
            slowly,
            lambda name: is_private(domain.storage, name),
            lambda: walk.repositories(domain.storage),
        ),
        here,
    )
    put(domain.repositories, APP, "v1", A)
    thread = threading.Thread(target=slow.tagged, args=(APP, "v1"))
    thread.start()
    assert read.wait(30)
    quick = sync_with(database, domain.storage, here)
    put(domain.repositories, APP, "v1", B)
    quick.tagged(APP, "v1")
    assert known(repositories, APP) == {"v1": B}
    go_on.set()
    thread.join(30)
    assert known(repositories, APP) == {"v1": B}


def test_pushed_again_while_it_is_deleted(
    domain: Domain, sync: Sync, repositories: RepositoryRecords
) -> None:
    put(domain.repositories, APP, "v1")
    sync.deleted(APP)  # late: a client has pushed again
    assert known(repositories, APP) == {"v1": A}


# -- failures ---------------------------------------------------------------------------------


def test_a_push_does_not_fail_with_the_database(
    postgres: Postgres, domain: Domain, caplog: pytest.LogCaptureFixture
) -> None:
    database = open_database(postgres.database(), timeout=3)
    database.prepare()
    sync = sync_with(database, domain.storage, here)
    stored = Stored(domain.storage, domain.images, domain.tags, domain.reach, sync)
    put(stored, OTHER, "gone")
    postgres.stop()
    try:
        put(stored, APP, "v1")
        put(stored, APP, "v2", B)
        stored.set_private(APP, True)
        stored.delete(OTHER)
        assert caplog.text.count("The index lags behind the store") == 1
        with pytest.raises(Failure, match="does not answer"):
            sync.retry()
    finally:
        postgres.start()
    repositories = RepositoryRecords(database, private=False)
    sync.retry()
    [row] = repositories.all()
    assert (row.name, row.is_private) == ("team/app", True)
    repositories.flag(APP, is_private=False)
    assert known(repositories, APP) == {"v1": A, "v2": B}
    sync.retry()
    database.close()


# -- a walk -------------------------------------------------------------------------------------


def test_an_existing_store(domain: Domain, sync: Sync, repositories: RepositoryRecords) -> None:
    for repository, tag, id in [(APP, "v1", A), (APP, "v2", B), (OTHER, "latest", B)]:
        put(domain.repositories, repository, tag, id)
    secret = RepositoryName("team", "secret")
    put(domain.repositories, secret, "v1")
    domain.repositories.set_private(secret, True)
    report = sync.rebuild()
    assert (report.repositories, report.changed, report.removed) == (3, 3, 0)
    assert str(report) == (
        "3 repositories in the store, 3 of them changed in the index, 0 removed from it"
    )
    assert known(repositories, APP) == {"v1": A, "v2": B}
    assert known(repositories, OTHER) == {"latest": B}
    assert known(repositories, secret) is None
    assert [row.name for row in repositories.all()] == [
        "team/app",
        "team/other/deep",
        "team/secret",
    ]
    report = sync.rebuild()
    assert (report.repositories, report.changed, report.removed) == (3, 0, 0)


def test_changes_by_another_registry(
    domain: Domain, sync: Sync, stored: Stored, repositories: RepositoryRecords
) -> None:
    """0.x on the same store, or a process that died before it wrote to the database."""
    for tag in ("v1", "v2"):
        put(stored, APP, tag)
    put(stored, OTHER, "v1")
    repositories.create(RepositoryName("team", "being-pushed"))  # not in the store yet
    domain.repositories.delete_tag(APP, Tag("v1"))
    put(domain.repositories, APP, "v2", B)
    domain.repositories.delete(OTHER)
    report = sync.rebuild()
    assert (report.repositories, report.changed, report.missing) == (1, 1, 1)
    assert known(repositories, APP) == {"v2": B}
    assert known(repositories, OTHER) == {"v1": A}  # until the grace period is over
    report = sync.rebuild(trust_missing=True)
    assert (report.repositories, report.changed, report.removed) == (1, 0, 1)
    assert known(repositories, OTHER) is None
    [_, making, gone] = repositories.all()
    assert (making.name, making.missing) == ("team/being-pushed", None)
    assert gone.name == str(OTHER)
    assert gone.missing is not None


def test_many_repositories(
    domain: Domain, sync: Sync, repositories: RepositoryRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More repositories than one statement compares."""
    monkeypatch.setattr(subject, "_AT_ONCE", 20)
    names = [RepositoryName("many", f"image{number:03}") for number in range(50)]
    for name in names:
        domain.storage.put(f"{name.folder}/tag_v1", A.encode(), durable=False)
    assert sync.rebuild().changed == 50
    assert len(repositories.all()) == 50
    domain.storage.put(f"{names[7].folder}/tag_v2", B.encode())
    domain.storage.delete_folder(names[8].folder)
    report = sync.rebuild()
    assert (report.repositories, report.changed, report.missing) == (49, 1, 1)
