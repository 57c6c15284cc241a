"""Rows of repositories: descriptions, tags, stars, comments and counts, also with many writers."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from tests.backends.postgres import Postgres
from tests.index.conftest import PASSWORD, open_database
from v1registry.index import schema
from v1registry.index.accounts import AccountStore
from v1registry.index.database import Database
from v1registry.index.pulls import SqlPullCounter
from v1registry.index.repositories import RepositoryRecords, set_tags
from v1registry.index.social import Comment, Social
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName

APP = RepositoryName("team", "app")
A, B = "a" * 64, "b" * 64


@pytest.fixture
def social(database: Database) -> Social:
    return Social(database)


def refused(status: int, text: str):
    return pytest.raises(Failure, match=text, check=lambda failure: failure.status == status)


def test_a_new_repository(repositories: RepositoryRecords) -> None:
    assert repositories.create(APP) is False
    found = repositories.get(APP, None)
    assert (found.name, found.description, found.tags) == ("team/app", "", {})
    assert (found.stars, found.pulls) == (0, 0)
    assert (found.is_private, found.is_official, found.is_automated) == (False, False, False)
    assert abs(found.created - time.time()) < 60
    repositories.describe(APP, "what it is")
    assert repositories.create(APP) is False  # the second time, nothing happens
    assert repositories.get(APP, None).description == "what it is"


def test_private_by_default(database: Database) -> None:
    private = RepositoryRecords(database, private=True)
    assert private.create(APP) is True
    private.flag(APP, is_private=False)
    assert private.create(APP) is False


def test_concurrent_creations_create_one_repository(
    repositories: RepositoryRecords, database: Database
) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: repositories.create(APP), range(16)))
    for table in (schema.repositories, schema.namespaces):
        count = sa.select(sa.func.count()).select_from(table)
        assert database.read(lambda c, query=count: c.execute(query).scalar_one()) == 1


def test_descriptions(repositories: RepositoryRecords) -> None:
    repositories.create(APP)
    full = "# Title\n\n\tCode, ü and \U0001f433\r\n" * 100
    repositories.describe(APP, short="Ünder 255", full=full)
    assert repositories.get(APP, None).description == "Ünder 255"
    assert repositories.full_description(APP) == full
    repositories.describe(APP, full="")
    assert repositories.get(APP, None).description == "Ünder 255"
    assert repositories.full_description(APP) == ""
    repositories.describe(APP)
    for texts in ({"short": "x" * 256}, {"full": "x" * 65537}, {"short": "a\0b"}, {"full": "\x1b"}):
        with refused(400, "The description"):
            repositories.describe(APP, **texts)


def test_flags(repositories: RepositoryRecords) -> None:
    repositories.create(APP)
    repositories.flag(APP, is_official=True, is_automated=True)
    found = repositories.get(APP, None)
    assert (found.is_official, found.is_automated, found.is_private) == (True, True, False)


def test_tags(repositories: RepositoryRecords, database: Database) -> None:
    repositories.create(APP)

    def set_to(tags: dict[str, str]) -> bool:
        ids = sa.select(schema.repositories.c.id)
        return database.write(lambda c: set_tags(c, c.execute(ids).scalar_one(), tags))

    many = {f"v{number}": A for number in range(1200)}
    for tags in ({"latest": A}, {"latest": B, "v1": A}, {"v1": A}, many, {}):
        assert set_to(tags)
        assert repositories.get(APP, None).tags == tags
        assert not set_to(tags)


def test_a_deletion_includes_all_data(
    repositories: RepositoryRecords, accounts: AccountStore, social: Social, database: Database
) -> None:
    accounts.add("alice", PASSWORD)
    repositories.create(APP)
    social.star(APP, "alice")
    social.comment(APP, "alice", "good")
    repositories.delete(APP)
    repositories.delete(APP)
    for table in (schema.stars, schema.comments, schema.tags, schema.repositories):
        rows = database.read(lambda c, table=table: c.execute(sa.select(table)).all())
        assert rows == [], table.name


def test_unknown_repositories(
    repositories: RepositoryRecords, accounts: AccountStore, social: Social
) -> None:
    accounts.add("alice", PASSWORD)
    for call in (
        lambda: repositories.get(APP, None),
        lambda: repositories.full_description(APP),
        lambda: repositories.describe(APP, "x"),
        lambda: repositories.flag(APP, is_private=True),
        lambda: social.star(APP, "alice"),
        lambda: social.unstar(APP, "alice"),
        lambda: social.comment(APP, "alice", "x"),
        lambda: social.comments(APP, "alice"),
        lambda: social.remove_comment(APP, 1, "alice", any_author=True),
    ):
        with refused(404, "Repository not found"):
            call()


# -- stars and comments -----------------------------------------------------------------------


def test_stars(repositories: RepositoryRecords, accounts: AccountStore, social: Social) -> None:
    other = RepositoryName("team", "other")
    for name in ("alice", "bob"):
        accounts.add(name, PASSWORD)
    for repository in (APP, other):
        repositories.create(repository)
    for _ in range(2):
        social.star(APP, "alice")
    social.star(APP, "bob")
    social.star(other, "bob")
    assert repositories.get(APP, None).stars == 2
    assert social.starred("bob") == ["team/app", "team/other"]
    assert social.starred("bob", after="team/app") == ["team/other"]
    assert social.starred("bob", most=1) == ["team/app"]
    assert (social.is_starred(APP, "alice"), social.is_starred(other, "alice")) == (True, False)
    for _ in range(2):
        social.unstar(APP, "alice")
    assert repositories.get(APP, None).stars == 1
    repositories.flag(APP, is_private=True)
    assert social.starred("bob") == ["team/other"]
    with refused(404, "Repository not found"):
        social.star(APP, "alice")


def test_many_stars_at_once(
    repositories: RepositoryRecords, accounts: AccountStore, social: Social, database: Database
) -> None:
    repositories.create(APP)
    users = [f"user{number}" for number in range(12)]
    for name in users:
        accounts.add(name, None)

    def work(number: int) -> None:
        name = users[number % len(users)]
        (social.unstar if number % 3 == 2 else social.star)(APP, name)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(120)))
    rows = sa.select(sa.func.count()).select_from(schema.stars)
    assert repositories.get(APP, None).stars == database.read(
        lambda connection: connection.execute(rows).scalar_one()
    )


def test_comments(repositories: RepositoryRecords, accounts: AccountStore, social: Social) -> None:
    for name in ("alice", "bob"):
        accounts.add(name, PASSWORD)
    repositories.create(APP)
    first = social.comment(APP, "alice", "good\n")
    second = social.comment(APP, "bob", "<b>ü</b>")
    found = social.comments(APP, None)
    assert [(c.id, c.account, c.text) for c in found] == [
        (first, "alice", "good\n"),
        (second, "bob", "<b>ü</b>"),
    ]
    assert social.comments(APP, None, after=first) == [found[1]]
    assert social.comments(APP, None, most=1) == [found[0]]
    with refused(404, "Comment not found"):
        social.remove_comment(APP, second, "alice", any_author=False)
    social.remove_comment(APP, second, "bob", any_author=False)
    social.remove_comment(APP, first, "bob", any_author=True)
    assert social.comments(APP, None) == []
    for text in ("", " \n", "x" * 4001, "a\0b"):
        with refused(400, "omment"):
            social.comment(APP, "alice", text)
    other = RepositoryName("team", "other")
    repositories.create(other)
    elsewhere: Comment = social.comments(other, None, most=social.comment(other, "bob", "x"))[0]
    with refused(404, "Comment not found"):
        social.remove_comment(APP, elsewhere.id, "bob", any_author=True)


# -- pulls ------------------------------------------------------------------------------------


def test_pulls_are_counted_by_many_processes(
    repositories: RepositoryRecords, database: Database
) -> None:
    other = RepositoryName("team", "other")
    for repository in (APP, other):
        repositories.create(repository)

    def process(_: int) -> None:
        pulls = SqlPullCounter(database)
        for _ in range(10):
            for repository in (APP, other, RepositoryName("not", "known")):
                pulls.count(repository)
            pulls.count(APP)
            pulls.flush()
        pulls.flush()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(process, range(8)))
    assert repositories.get(APP, None).pulls == 160
    assert repositories.get(other, None).pulls == 80


def test_counts_are_kept_until_they_can_be_written(postgres: Postgres) -> None:
    database = open_database(postgres.database(), timeout=3)
    repositories, pulls = RepositoryRecords(database, private=False), SqlPullCounter(database)
    repositories.create(APP)
    pulls.count(APP)
    postgres.stop()
    try:
        with refused(503, "does not answer"):
            pulls.flush()
        pulls.count(APP)
    finally:
        postgres.start()
    pulls.flush()
    assert repositories.get(APP, None).pulls == 2
    database.close()
