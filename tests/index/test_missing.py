"""Rows of repositories survive a store that looks empty, and new rows have the right visibility."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.index.conftest import PASSWORD, here
from tests.lib.stores import Domain, image_id, write_image
from v1registry.config import load_config
from v1registry.index import deletions, schema, stored_repositories
from v1registry.index.accounts import AccountStore
from v1registry.index.database import Database
from v1registry.index.namespaces import Namespaces
from v1registry.index.repositories import RepositoryRecords
from v1registry.index.search import SqlSearch
from v1registry.index.social import Social
from v1registry.index.stored_repositories import Policy
from v1registry.index.sync import Sync
from v1registry.lib.auth.rights import ANONYMOUS
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName, Tag
from v1registry.lib.repositories.repositories import Repositories as Stored
from v1registry.storage.local.driver import FileStorage
from v1registry.wiring.index import policy_of, sync_with

A = image_id("a")
APP, SECRET = RepositoryName("team", "app"), RepositoryName("team", "secret")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def domain(root: Path) -> Domain:
    domain = Domain(FileStorage(root))
    write_image(domain.storage, A)
    return domain


@pytest.fixture
def sync(database: Database, domain: Domain) -> Sync:
    return sync_with(database, domain.storage, here)


def put(stored: Stored, repository: RepositoryName, tag: str = "v1") -> None:
    stored.set_tag(repository, Tag(tag), f'"{A}"'.encode(), "")


def rows(database: Database) -> dict[str, sa.Row]:
    found = database.read(lambda c: c.execute(sa.select(schema.repositories)).all())
    return {row.name: row for row in found}


def fill(domain: Domain, count: int) -> list[RepositoryName]:
    """Write repositories with one tag each, as another registry would."""
    names = [RepositoryName("many", f"image{number:03}") for number in range(count)]
    for name in names:
        domain.storage.put(f"{name.folder}/tag_v1", A.encode(), durable=False)
    return names


def later(monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    """Set the clock of the index forward."""
    from v1registry.index import rows as clock
    from v1registry.index import sync as walking

    start = clock.now()
    for module in (deletions, stored_repositories, walking):
        monkeypatch.setattr(module, "now", lambda: start + seconds)


# -- a store that looks empty ---------------------------------------------------------------------


def test_all_data_stays_while_the_store_looks_empty(
    database: Database,
    accounts: AccountStore,
    namespaces: Namespaces,
    repositories: RepositoryRecords,
    domain: Domain,
    root: Path,
    sync: Sync,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The disk is away during a comparison, for a long time, and comes back."""
    stored = Stored(domain.storage, domain.images, domain.tags, domain.reach, sync)
    social = Social(database)
    namespaces.add("team")
    for name in ("alice", "carol"):
        accounts.add(name, PASSWORD)
    namespaces.grant("alice", "admin", "team/secret")
    for repository in (APP, SECRET):
        put(stored, repository)
        repositories.describe(repository, "what people wrote", "all of it")
    repositories.flag(SECRET, is_private=True)  # only the index has this flag
    social.star(SECRET, "alice")
    social.comment(SECRET, "alice", "a comment")
    before = repositories.all()

    root.rename(root.with_name("away"))
    root.mkdir()
    sync.rebuild()
    for repository in (APP, SECRET):
        sync.update(repository)
    later(monkeypatch, 30 * 86400)
    sync.rebuild()
    assert [row.name for row in repositories.all()] == ["team/app", "team/secret"]
    assert SqlSearch(database).find(ANONYMOUS, "", 10, 1).results == []
    root.rmdir()
    root.with_name("away").rename(root)

    sync.rebuild()
    assert repositories.all() == before
    assert repositories.full_description(SECRET) == "all of it"
    assert repositories.get(SECRET, "alice").tags == {"v1": A}
    assert social.is_starred(SECRET, "alice")
    assert [one.text for one in social.comments(SECRET, "alice")] == ["a comment"]
    for user in (None, "carol"):
        with pytest.raises(Failure, match="Repository not found"):
            repositories.get(SECRET, user)


def test_a_missing_repository_is_hidden_after_the_grace_period(
    database: Database,
    repositories: RepositoryRecords,
    domain: Domain,
    sync: Sync,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put(domain.repositories, APP)
    sync.rebuild()
    search = SqlSearch(database)
    domain.repositories.delete(APP)

    def shown() -> list[str]:
        asked = [search.find(ANONYMOUS, query, 10, 1).results for query in ("", "ap", "team")]
        assert asked[0] == asked[1] == asked[2]
        listed = [row["name"] for row in search.listed(ANONYMOUS, "", 10).repositories]
        assert listed == [found.name for found in asked[0]]
        return listed

    assert sync.rebuild().missing == 1
    assert shown() == ["team/app"]
    later(monkeypatch, 86401)
    report = sync.rebuild()
    assert (report.missing, report.removed) == (1, 1)
    assert shown() == []
    assert sync.rebuild().removed == 0
    put(domain.repositories, APP)
    assert sync.rebuild().changed == 1
    assert shown() == ["team/app"]
    assert rows(database)["team/app"].missing is None


def test_a_push_shows_a_hidden_repository_again(
    database: Database, domain: Domain, repositories: RepositoryRecords, sync: Sync
) -> None:
    put(domain.repositories, APP)
    sync.rebuild()
    domain.repositories.delete(APP)
    assert sync.rebuild(trust_missing=True).removed == 1
    put(domain.repositories, APP)
    sync.tagged(APP, "v1")
    assert repositories.get(APP, None).tags == {"v1": A}


def test_too_many_missing_repositories_make_a_walk_doubtful(
    database: Database, domain: Domain, sync: Sync, caplog: pytest.LogCaptureFixture
) -> None:
    names = fill(domain, 120)
    sync.rebuild()
    for name in names[:13]:  # a tenth are 12
        domain.storage.delete_folder(name.folder)
    report = sync.rebuild()
    assert (report.missing, report.removed, report.doubtful) == (13, 0, True)
    assert "13 of the index are missing from the store" in caplog.text
    assert not any(row.missing for row in rows(database).values())
    domain.storage.put(f"{names[0].folder}/tag_v1", A.encode())
    report = sync.rebuild()
    assert (report.missing, report.doubtful) == (12, False)
    assert sum(row.missing is not None for row in rows(database).values()) == 12
    for name in names[13:]:
        domain.storage.delete_folder(name.folder)
    report = sync.rebuild(trust_missing=True)
    assert (report.missing, report.removed, report.doubtful) == (119, 119, False)
    assert len(rows(database)) == 120


def test_the_store_is_read_again_before_a_repository_counts_as_missing(
    database: Database, domain: Domain, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store was away during the walk, and came back before its end."""
    fill(domain, 5)
    sync_with(database, domain.storage, here).rebuild()
    listing = domain.storage.list
    monkeypatch.setattr(
        domain.storage, "list", lambda key: [] if key == "repositories" else listing(key)
    )
    report = sync_with(database, domain.storage, here).rebuild()
    assert (report.repositories, report.missing) == (0, 0)
    assert not any(row.missing for row in rows(database).values())


# -- visibility of new rows -----------------------------------------------------------------------


@pytest.mark.parametrize("setting", [None, False, True])
@pytest.mark.parametrize("default", [False, True])
@pytest.mark.parametrize("way", ["request", "push", "tag", "walk", "update"])
def test_a_new_row_takes_the_default(
    database: Database,
    namespaces: Namespaces,
    domain: Domain,
    default: bool,
    setting: bool | None,
    way: str,
) -> None:
    """The setting of the namespace takes precedence over the configuration, however a row is created."""
    namespaces.add("team")
    namespaces.set_private("team", setting)
    repositories = RepositoryRecords(database, private=default)
    sync = sync_with(database, domain.storage, here, policy=Policy(private=default))
    put(domain.repositories, APP)
    {
        "request": lambda: repositories.create(APP),
        "push": lambda: repositories.admit(APP, None),
        "tag": lambda: sync.tagged(APP, "v1"),
        "walk": sync.rebuild,
        "update": lambda: sync.update(APP),
    }[way]()
    assert rows(database)["team/app"].is_private is (default if setting is None else setting)


@pytest.mark.parametrize("way", ["tag", "walk", "update"])
def test_the_flag_in_the_store_makes_a_new_row_private(
    database: Database, domain: Domain, sync: Sync, way: str
) -> None:
    put(domain.repositories, APP)
    domain.repositories.set_private(APP, True)
    {
        "tag": lambda: sync.tagged(APP, "v1"),
        "walk": sync.rebuild,
        "update": lambda: sync.update(APP),
    }[way]()
    assert rows(database)["team/app"].is_private


def test_a_database_for_a_search_has_no_defaults(database: Database, domain: Domain) -> None:
    """It also keeps no records of deletions, so clients may push a deleted repository again."""
    policy = Policy(private=True, is_index=False)
    sync = sync_with(database, domain.storage, here, policy=policy)
    stored = Stored(domain.storage, domain.images, domain.tags, domain.reach, sync)
    put(stored, APP)
    assert not rows(database)["team/app"].is_private
    stored.delete(APP)
    assert rows(database) == {}
    put(stored, APP)
    assert not rows(database)["team/app"].is_private


def test_where_the_default_comes_from(tmp_path: Path) -> None:
    """A registry that reports to a separate index lets the index decide what is public."""
    url = f"sqlite:///{tmp_path}/index.db"
    telling = {"STANDALONE": "false", "INDEX_ENDPOINT": "http://index.example"}
    for more, private, is_index, decides in [
        ({"INDEX_DATABASE": url}, False, True, True),
        ({"INDEX_DATABASE": url, "INDEX_PRIVATE": "true"}, True, True, True),
        ({"INDEX_DATABASE": url, **telling}, True, True, False),
        ({"SEARCH_BACKEND": "sqlalchemy", "SQLALCHEMY_INDEX_DATABASE": url}, True, False, False),
    ]:
        environ = {"SETTINGS_FLAVOR": "local", "STORAGE_PATH": str(tmp_path), **more}
        found = policy_of(load_config(environ=environ))
        assert (found.is_index, found.decides) == (is_index, decides)
        assert found.private is private


# -- deletions by requests -------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["tag", "flag", "walk", "update"])
def test_a_repository_that_was_just_deleted_is_not_restored(
    database: Database, repositories: RepositoryRecords, domain: Domain, sync: Sync, way: str
) -> None:
    """A push that began before the deletion has left a tag in the store."""
    repositories.create(APP)
    put(domain.repositories, APP)
    assert repositories.delete(APP)
    {
        "tag": lambda: sync.tagged(APP, "v1"),
        "flag": lambda: sync.flagged(APP, False),
        "walk": sync.rebuild,
        "update": lambda: sync.update(APP),
    }[way]()
    assert rows(database) == {}
    with pytest.raises(Failure, match="was deleted during this push"):
        repositories.admit(APP, None)


@pytest.mark.parametrize("was_private", [False, True])
def test_a_repository_found_long_after_its_deletion_is_private(
    database: Database,
    repositories: RepositoryRecords,
    domain: Domain,
    sync: Sync,
    monkeypatch: pytest.MonkeyPatch,
    was_private: bool,
) -> None:
    """Another registry pushed it, or the deletion was interrupted. An administrator must check it."""
    repositories.create(APP)
    repositories.flag(APP, is_private=was_private)
    repositories.delete(APP)
    put(domain.repositories, APP)
    later(monkeypatch, deletions.SETTLED + 1)
    sync.rebuild()
    assert rows(database)["team/app"].is_private
    sync.rebuild()
    assert rows(database)["team/app"].is_private


@pytest.mark.parametrize("was_private", [False, True])
def test_a_new_push_restores_the_visibility(
    repositories: RepositoryRecords, was_private: bool
) -> None:
    repositories.create(APP)
    repositories.flag(APP, is_private=was_private)
    assert repositories.delete(APP)
    assert not repositories.delete(APP)  # no error the second time, and still recorded as private
    assert repositories.create(APP) is was_private
    assert repositories.admit(APP, None) is was_private


def test_records_of_deletions_expire(
    database: Database, repositories: RepositoryRecords, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    repositories.create(APP)
    repositories.delete(APP)
    count = sa.select(sa.func.count()).select_from(schema.deleted)
    later(monkeypatch, deletions.KEPT - 60)
    sync.rebuild()
    assert database.read(lambda c: c.execute(count).scalar_one()) == 1
    later(monkeypatch, deletions.KEPT + 60)
    sync.rebuild()
    assert database.read(lambda c: c.execute(count).scalar_one()) == 0


def test_a_registry_that_reports_to_an_index_retries_a_deletion(
    database: Database, repositories: RepositoryRecords, domain: Domain, sync: Sync
) -> None:
    """The database was away when the repository was deleted in the store."""
    repositories.create(APP)
    repositories.flag(APP, is_private=True)
    stored = Stored(domain.storage, domain.images, domain.tags, domain.reach, sync)
    put(stored, APP)
    write, database.write = database.write, broken  # type: ignore[method-assign, assignment]
    stored.delete(APP)
    database.write = write  # type: ignore[method-assign]
    sync.retry()
    assert rows(database) == {}
    assert repositories.create(APP) is True


def broken(*_arguments: object) -> None:
    raise Failure(503, "The index does not answer")


@pytest.mark.parametrize("way", ["request", "push", "tag"])
def test_a_push_during_an_uncommitted_deletion(
    database: Database, repositories: RepositoryRecords, domain: Domain, sync: Sync, way: str
) -> None:
    """A push between a deletion and its commit does not make a private repository public."""
    repositories.create(APP)
    repositories.flag(APP, is_private=True)
    put(domain.repositories, APP)
    deleting, go_on = threading.Event(), threading.Event()

    def delete(connection: sa.Connection) -> None:
        deletions.delete(connection, APP, private=False)
        deleting.set()
        go_on.wait(1.0)  # the push waits for this transaction

    def push() -> None:
        with contextlib.suppress(Failure):
            {
                "request": lambda: repositories.create(APP),
                "push": lambda: repositories.admit(APP, None),
                "tag": lambda: sync.tagged(APP, "v1"),
            }[way]()

    with ThreadPoolExecutor(2) as pool:
        deletion = pool.submit(database.write, delete)
        assert deleting.wait(30)
        pool.submit(push).result(60)
        deletion.result(60)
    found = rows(database)
    assert all(row.is_private for row in found.values())
    assert repositories.create(APP) is True


def test_deleting_a_tag_creates_no_row(database: Database, domain: Domain, sync: Sync) -> None:
    put(domain.repositories, APP)
    domain.repositories.delete_tag(APP, Tag("v1"))
    sync.tagged(APP, "v1")
    assert rows(database) == {}
