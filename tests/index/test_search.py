"""Search by any part of name and description, with pages, among visible repositories."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.index.conftest import PASSWORD
from v1registry.index import checked_search, repositories, schema, search, textsearch
from v1registry.index.accounts import AccountStore
from v1registry.index.checked_search import CheckedSearch
from v1registry.index.database import Database
from v1registry.index.namespaces import Namespaces, namespace_id
from v1registry.index.pulls import SqlPullCounter
from v1registry.index.repositories import RepositoryRecords, set_tags
from v1registry.index.search import SqlSearch
from v1registry.index.social import Social
from v1registry.index.visibility import BY_NAME, BY_STARS, visible_to
from v1registry.lib.auth.rights import ANONYMOUS, Access, Caller, Open
from v1registry.lib.names import RepositoryName
from v1registry.lib.repositories.search import BrowseQuery, Listing, SearchResult, Totals

DESCRIBED = {
    "library/busybox": "The small tools in one file",
    "library/ubuntu": "A Linux for human beings",
    "team/app": "Our app: 100% Go_lang, by the Über-Team",
    "team/app-base": "",
    "team/box": "Boxes\\of 'things' \"here\"",
    "alice/secret": "hidden tools",
}


@pytest.fixture
def found(database: Database, repositories: RepositoryRecords, accounts: AccountStore) -> SqlSearch:
    accounts.add("alice", PASSWORD)
    for name, text in DESCRIBED.items():
        repositories.create(RepositoryName.parse(name))
        repositories.describe(RepositoryName.parse(name), text)
    repositories.flag(RepositoryName("alice", "secret"), is_private=True)
    return SqlSearch(database)


def names(found: SqlSearch, query: str, user: str | None = None) -> list[str]:
    page = found.find(Caller(user), query, 100, 1)
    assert page.total == len(page.results)
    return [result.name for result in page.results]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["library/busybox", "library/ubuntu", "team/app", "team/app-base", "team/box"]),
        ("box", ["library/busybox", "team/box"]),
        ("BOX", ["library/busybox", "team/box"]),
        ("  box ", ["library/busybox", "team/box"]),
        ("m/a", ["team/app", "team/app-base"]),
        ("ap", ["team/app", "team/app-base"]),
        ("x", ["library/busybox", "library/ubuntu", "team/box"]),  # and "Linux"
        ("tools", ["library/busybox"]),
        ("über", ["team/app"]),
        ("ÜBER", ["team/app"]),
        ("100%", ["team/app"]),
        ("o_l", ["team/app"]),
        ("boxes\\of", ["team/box"]),
        ("'things' \"here\"", ["team/box"]),
        ("%", ["team/app"]),
        ("_", ["team/app"]),
        ("%%%", []),
        ("___", []),
        ("a%p", []),
        ('"', ["team/box"]),
        ("* OR box", []),
        ("box NOT busybox", []),
        ("busybox the", []),  # a match does not span name and description
        ("\0\n\x1b", []),
        ("nothing", []),
        ("x" * 5000, []),
    ],
)
def test_results_of_queries(found: SqlSearch, query: str, expected: list[str]) -> None:
    assert names(found, query) == expected


def test_only_visible_repositories_are_found(found: SqlSearch) -> None:
    assert names(found, "tools") == ["library/busybox"]
    assert names(found, "tools", "alice") == ["alice/secret", "library/busybox"]
    assert names(found, "tools", "bob") == ["library/busybox"]


def test_fields_of_a_result(
    found: SqlSearch, repositories: RepositoryRecords, database: Database
) -> None:
    app = RepositoryName("team", "app-base")
    Social(database).star(app, "alice")
    repositories.flag(app, is_official=True, is_automated=True)
    [first, second] = found.find(ANONYMOUS, "team/app", 10, 1).results
    assert first == SearchResult("team/app-base", "", 1, True, True)  # the one with most stars
    assert second == SearchResult("team/app", DESCRIBED["team/app"], 0, False, False)


def test_changes_and_deletions_are_found(found: SqlSearch, repositories: RepositoryRecords) -> None:
    app = RepositoryName("team", "app")
    repositories.describe(app, "quite another text")
    assert names(found, "lang") == []
    assert names(found, "quite an") == ["team/app"]
    repositories.delete(app)
    assert names(found, "quite an") == []
    assert names(found, "team/app") == ["team/app-base"]


def test_pages(found: SqlSearch) -> None:
    def page(size: int, number: int) -> tuple[list[str], int]:
        part = found.find(ANONYMOUS, "team", size, number)
        return [result.name for result in part.results], part.total

    assert page(2, 1) == (["team/app", "team/app-base"], 3)
    assert page(2, 2) == (["team/box"], 3)
    assert page(2, 3) == ([], 3)
    assert page(2, 10**15) == ([], 3)


def test_many_matches(
    found: SqlSearch, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The total is limited. The pages hold all matches, each once."""
    monkeypatch.setattr(search, "COUNTED", 20)
    rows = [
        {
            "namespace_id": 1,
            "name": f"many/image{number:04}",
            "searched": textsearch.searched(f"many/image{number:04}", ""),
            "stars": number % 7,
            "created": 0,
            "updated": 0,
        }
        for number in range(100)
    ]
    database.write(lambda c: c.execute(schema.repositories.insert(), rows))
    order = sorted(rows, key=lambda row: (-row["stars"], row["name"]))
    read: list[str] = []
    for number in range(1, 20):
        part = found.find(ANONYMOUS, "many/im", 8, number)
        if not part.results:
            break
        read += [result.name for result in part.results]
        left = 100 - len(read)
        assert part.total >= len(read) + (1 if left else 0)
    assert read == [row["name"] for row in order]
    narrow = found.find(ANONYMOUS, "image000", 8, 2)
    assert ([r.name for r in narrow.results], narrow.total) == (
        [row["name"] for row in order if "image000" in row["name"]][8:], 10
    )  # fmt: skip


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(query=st.text(alphabet="abox/ %_\\'\"*ü-:()^", max_size=8))
def test_special_characters_in_queries_are_plain_text(found: SqlSearch, query: str) -> None:
    text = query.strip().lower()
    expected = [
        name
        for name, description in sorted(DESCRIBED.items())
        if name != "alice/secret" and text in f"{name}\n{description}".lower()
    ]
    assert names(found, query) == (expected if text or not query else [])


def test_the_trigrams_are_used(found: SqlSearch, database: Database) -> None:
    """Without them a query would read every row (measured in bench)."""

    def plan(connection: sa.Connection) -> str:
        source, matches = textsearch.narrow(connection, "busybox")
        query = sa.select(schema.repositories.c.id).select_from(source).where(matches)
        text = str(query.compile(connection, compile_kwargs={"literal_binds": True}))
        if connection.dialect.name == "sqlite":
            text = f"EXPLAIN QUERY PLAN {text}"
        else:
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            text = f"EXPLAIN {text.replace('%%', '%')}"
        return str(connection.execute(sa.text(text.replace(":", "\\:"))).all())

    assert "repositories_text" in database.read(plan)


@pytest.mark.parametrize(("counted", "read"), [(1000, 10_000), (3, 10_000), (3, 12)])
def test_each_user_finds_the_visible_repositories(
    database: Database,
    accounts: AccountStore,
    monkeypatch: pytest.MonkeyPatch,
    counted: int,
    read: int,
) -> None:
    """For every share of visible repositories. Limits may omit results, but never add any."""
    monkeypatch.setattr(search, "COUNTED", counted)
    monkeypatch.setattr(search, "READ", read)
    monkeypatch.setattr(search, "_LEAST", 2)
    rows = mixed(database, accounts)
    found = SqlSearch(database)
    for user, sees in SEES.items():
        mine = [row for row in rows if not row["is_private"] or sees(row["name"])]
        mine.sort(key=lambda row: (-row["stars"], row["name"]))
        for query in ("", "image", "e1", "1", "two/", "image-7", "zz", "zzz", "image-1"):
            expected = [row["name"] for row in mine if query in row["searched"]]
            shown: list[str] = []
            for number in range(1, 50):
                page = found.find(Caller(user), query, 7, number)
                shown += [result.name for result in page.results]
                if not page.results:
                    break
                assert page.total >= len(shown)
            assert len(shown) == len(set(shown))
            if read > len(rows) or not query:
                assert shown == expected, (user, query)
            else:
                assert set(shown) <= set(expected)
                assert bool(shown) == bool(expected), (user, query)
            whole = found.whole(Caller(user), query)
            assert whole.total == len(expected)
            assert [result.name for result in whole.results] == expected, (user, query)
            total = found.find(Caller(user), query, 7, 10**6).total
            assert min(1, len(expected)) <= total <= len(expected)
            assert total == len(expected) or total > counted or read < len(rows) or len(query) > 2
        names, after = [], ""
        while after is not None:
            part = found.listed(Caller(user), after, 6)
            names += [item["name"] for item in part.repositories]
            after = part.more
        assert names == sorted(row["name"] for row in mine)


SEES: dict[str | None, Callable[[str], bool]] = {
    None: lambda name: False,
    "none": lambda name: False,
    "one": lambda name: name.startswith("one/"),
    "both": lambda name: name.startswith(("one/", "two/")) or name == "three/image-7",
    "root": lambda name: True,
}


def mixed(database: Database, accounts: AccountStore) -> list[dict[str, Any]]:
    """Add private and public repositories of three namespaces, and accounts that see some of them."""
    for user in SEES:
        if user is not None:
            accounts.add(user, PASSWORD, is_admin=user == "root")
    places = Namespaces(database)
    for name in ("two", "three"):
        places.add(name)
    places.grant("both", "pull", "one")
    places.grant("both", "push", "two")
    places.grant("both", "pull", "three/image-7")
    places.grant("both", "pull", "two/image-2")
    ids = {
        name: database.read(partial(namespace_id, name=name)) for name in ("one", "two", "three")
    }
    rows = [
        {
            "namespace_id": number,
            "name": f"{name}/image-{n}",
            "searched": textsearch.searched(f"{name}/image-{n}", "zzz" if n == 19 else ""),
            "is_private": bool(n % 3),
            "stars": n % 4,
            "created": 0,
            "updated": 0,
        }
        for name, number in ids.items()
        for n in range(20)
    ]
    database.write(lambda c: c.execute(schema.repositories.insert(), rows))
    return rows


def test_no_plan_reads_every_row(database: Database, accounts: AccountStore) -> None:
    """The first rows of each range of visible repositories come from an index, in order."""
    mixed(database, accounts)

    def plans(connection: sa.Connection) -> list[str]:
        found = []
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            connection.exec_driver_sql("SET LOCAL enable_bitmapscan = off")
        explain = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN"
        for user in SEES:
            for order in (BY_STARS, BY_NAME):
                seen = visible_to(connection, user)
                for part in seen.first([schema.repositories.c.id], order, 10)[
                    : 1 + len(seen.namespaces)
                ]:
                    text = part.element.compile(connection, compile_kwargs={"literal_binds": True})
                    found.append(str(connection.execute(sa.text(f"{explain} {text}")).all()))
        return found

    for plan in database.read(plans):
        assert (
            "repositories_" in plan or "USING INDEX sqlite_autoindex" in plan or "name_key" in plan
        )
        assert "Sort" not in plan
        assert "TEMP B-TREE" not in plan


# -- rights that the index does not decide ---------------------------------------------------------


class Members(Open):
    """Rights that let only members pull some repositories."""

    open = False

    def may(self, asker: Caller, repository: RepositoryName | None, access: Access) -> bool:
        return asker.user == "member" or str(repository) in ("team/box", "library/busybox")


@pytest.mark.usefixtures("found")
def test_search_with_rights_from_elsewhere(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checked_search, "_AT_ONCE", 2)  # so that it needs several statements
    monkeypatch.setattr(checked_search, "READ", 10)
    checked = CheckedSearch(database, Members())

    def names(query: str, user: str | None, size: int = 100, page: int = 1) -> list[str]:
        return [r.name for r in checked.find(Caller(user), query, size, page).results]

    for user in (None, "member"):
        for query in ("", "box", "hidden", "%", "a", "zz", "zzz", "\0"):
            whole = checked.whole(Caller(user), query)
            shown = [result.name for result in whole.results]
            assert (shown, whole.total) == (names(query, user), len(shown))
    assert names("box", None) == names("", None) == ["library/busybox", "team/box"]
    assert names("hidden", None) == []
    assert names("hidden", "member") == ["alice/secret"]
    assert names("", "member") == sorted(DESCRIBED)
    assert names("", "member", 2, 2) == sorted(DESCRIBED)[2:4]
    assert names("%", "member") == ["team/app"]
    page = checked.find(Caller("member"), "", 2, 1)
    assert page.total == len(DESCRIBED)
    box = {"name": "team/box", "tags": {}}
    assert checked.listed(Caller(None), "library/busybox", 10) == Listing([box], None)
    assert checked.listed(Caller(None), "library/busybox", 1) == Listing([box], "team/box")
    monkeypatch.setattr(checked_search, "READ", 2)  # so that it stops, and the caller continues
    busybox = {"name": "library/busybox", "tags": {}}
    assert checked.listed(Caller(None), "", 10) == Listing([busybox], "library/busybox")
    assert checked.listed(Caller(None), "library/busybox", 10) == Listing([], "team/app")
    assert names("", None) == ["library/busybox"]


def test_a_part_of_a_list_ends_after_many_tags(
    found: SqlSearch, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All parts together are the complete list."""
    monkeypatch.setattr(repositories, "LISTED_TAGS", 3)
    for name, count in (("library/busybox", 9), ("library/ubuntu", 2), ("team/app", 2)):
        tags = {f"t{number}": "a" * 64 for number in range(count)}
        query = sa.select(schema.repositories.c.id).where(schema.repositories.c.name == name)
        database.write(
            lambda c, tags=tags, query=query: set_tags(c, c.execute(query).scalar_one(), tags)
        )
    for search_of in (found, CheckedSearch(database, Open())):
        parts = []
        after: str | None = ""
        while after is not None:
            part = search_of.listed(ANONYMOUS, after, 100)
            parts.append([(one["name"], len(one["tags"])) for one in part.repositories])
            after = part.more
        assert parts == [
            [("library/busybox", 9)],
            [("library/ubuntu", 2), ("team/app", 2)],
            [("team/app-base", 0), ("team/box", 0)],
        ]


@pytest.mark.parametrize("query", ["", "x", "box"])
def test_repositories_gone_from_the_store_are_hidden(
    found: SqlSearch, database: Database, query: str
) -> None:
    """In searches with and without pages, and in lists."""
    gone = schema.repositories.update().where(schema.repositories.c.name == "team/box")
    database.write(lambda connection: connection.execute(gone.values(is_gone=True)))
    for one in (found, CheckedSearch(database, Open())):
        shown = [result.name for result in one.find(ANONYMOUS, query, 100, 1).results]
        assert "library/busybox" in shown
        assert "team/box" not in shown
        whole = one.whole(ANONYMOUS, query)
        assert sorted(result.name for result in whole.results) == sorted(shown)
        listed = [row["name"] for row in one.listed(ANONYMOUS, "", 100).repositories]
        assert "team/box" not in listed


@pytest.mark.usefixtures("found")
def test_private_repositories_are_hidden_without_accounts(database: Database) -> None:
    checked = CheckedSearch(database, Open())
    page = checked.find(ANONYMOUS, "", 100, 1)
    assert [r.name for r in page.results] == sorted(set(DESCRIBED) - {"alice/secret"})
    assert len(checked.listed(ANONYMOUS, "", 100).repositories) == len(DESCRIBED) - 1


# -- pages --------------------------------------------------------------------------------------------


def browsed(found: Any, user: str | None = None, **query: Any) -> list[str]:
    return [row.name for row in found.browse(Caller(user), BrowseQuery(**query)).rows]


def test_pages_show_visible_repositories_in_every_order(
    found: SqlSearch, database: Database, repositories: RepositoryRecords
) -> None:
    social, pulls = Social(database), SqlPullCounter(database)
    social.star(RepositoryName("team", "box"), "alice")
    for _ in range(3):
        pulls.count(RepositoryName("library", "ubuntu"))
    pulls.flush()
    table = schema.repositories
    later = table.update().where(table.c.name == "team/app").values(updated=2**40)
    database.write(lambda connection: connection.execute(later))
    everything = sorted(set(DESCRIBED) - {"alice/secret"})
    assert browsed(found) == everything
    assert browsed(found, "alice") == ["alice/secret", *everything]
    assert browsed(found, order="stars")[0] == "team/box"
    assert browsed(found, order="pulls")[0] == "library/ubuntu"
    assert browsed(found, order="pushed")[0] == "team/app"
    assert browsed(found, namespace="team") == ["team/app", "team/app-base", "team/box"]
    assert browsed(found, namespace="team", text="OUR app") == ["team/app"]
    assert browsed(found, text="tools") == ["library/busybox"]  # in its description
    assert browsed(found, "alice", text="tools") == ["alice/secret", "library/busybox"]
    assert browsed(found, text="\x01") == browsed(found, namespace="none") == []
    [row] = found.browse(ANONYMOUS, BrowseQuery(text="box", namespace="team")).rows
    assert (row.is_private, row.stars, row.pulls) == (False, 1, 0)
    [row] = found.browse(Caller("alice"), BrowseQuery(namespace="alice")).rows
    assert row.is_private


def test_totals_count_what_lists_show(found: SqlSearch, database: Database) -> None:
    ids = [row.id for row in database.rows(sa.select(schema.repositories.c.id))]
    tagged = [
        {"repository_id": id, "name": f"v{n}", "image": "0" * 64} for id in ids for n in (1, 2)
    ]
    database.change(schema.tags.insert().values(tagged))
    assert found.totals() == Totals(len(ids), 2 * len(ids))
    gone = schema.repositories.update().where(schema.repositories.c.id == ids[0])
    database.change(gone.values(is_gone=True))
    expected = Totals(len(ids) - 1, 2 * len(ids) - 2)
    assert found.totals() == CheckedSearch(database, Open()).totals() == expected


def test_a_large_database_is_only_sorted_by_its_indexes(
    found: SqlSearch, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert found.orders == ("name", "pushed", "pulls", "stars")
    monkeypatch.setattr(search, "SORTED", len(DESCRIBED) - 1)
    assert SqlSearch(database).orders == ("name", "stars")


def test_pages_end_where_the_repositories_end(found: SqlSearch) -> None:
    pages = [found.browse(ANONYMOUS, BrowseQuery(page=number, size=2)) for number in range(1, 5)]
    assert [[row.name for row in page.rows] for page in pages] == [
        ["library/busybox", "library/ubuntu"],
        ["team/app", "team/app-base"],
        ["team/box"],
        [],
    ]
    assert [page.total for page in pages] == [5, 5, 5, 5]
    assert found.browse(ANONYMOUS, BrowseQuery(page=10**6)).rows == []


def test_pages_of_a_registry_whose_rights_come_from_elsewhere(
    found: SqlSearch, database: Database
) -> None:
    checked = CheckedSearch(database, Open())
    assert browsed(checked) == browsed(found)
    assert browsed(checked, namespace="team", text="app") == ["team/app", "team/app-base"]
    assert browsed(checked, page=2, size=2) == ["team/app", "team/app-base"]
    assert browsed(checked, text="\x01") == []
