"""Search: by any part of name and description, in pages, only what one may see."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.index.conftest import PASSWORD
from v1registry.index import schema, search, textsearch
from v1registry.index.accounts import Accounts
from v1registry.index.database import Database
from v1registry.index.repositories import Repositories
from v1registry.index.search import SqlSearch
from v1registry.index.social import Social
from v1registry.lib.names import RepositoryName
from v1registry.lib.rights import NOBODY, Access, Asker, Open
from v1registry.lib.search import Found

DESCRIBED = {
    "library/busybox": "The small tools in one file",
    "library/ubuntu": "A Linux for human beings",
    "team/app": "Our app: 100% Go_lang, by the Über-Team",
    "team/app-base": "",
    "team/box": "Boxes\\of 'things' \"here\"",
    "alice/secret": "hidden tools",
}


@pytest.fixture
def found(database: Database, repositories: Repositories, accounts: Accounts) -> SqlSearch:
    accounts.add("alice", PASSWORD)
    for name, text in DESCRIBED.items():
        repositories.create(RepositoryName.parse(name))
        repositories.describe(RepositoryName.parse(name), text)
    repositories.flag(RepositoryName("alice", "secret"), is_private=True)
    return SqlSearch(database)


def names(found: SqlSearch, query: str, user: str | None = None) -> list[str]:
    page = found.find(Asker(user), query, 100, 1)
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
        ("busybox the", []),  # not over the border of name and description
        ("\0\n\x1b", []),
        ("nothing", []),
        ("x" * 5000, []),
    ],
)
def test_what_a_query_finds(found: SqlSearch, query: str, expected: list[str]) -> None:
    assert names(found, query) == expected


def test_only_what_one_may_see(found: SqlSearch) -> None:
    assert names(found, "tools") == ["library/busybox"]
    assert names(found, "tools", "alice") == ["alice/secret", "library/busybox"]
    assert names(found, "tools", "bob") == ["library/busybox"]


def test_what_a_result_holds(
    found: SqlSearch, repositories: Repositories, database: Database
) -> None:
    app = RepositoryName("team", "app-base")
    Social(database).star(app, "alice")
    repositories.flag(app, is_official=True, is_automated=True)
    [first, second] = found.find(NOBODY, "team/app", 10, 1).results
    assert first == Found("team/app-base", "", 1, True, True)  # the best starred one
    assert second == Found("team/app", DESCRIBED["team/app"], 0, False, False)


def test_what_is_changed_or_deleted_is_found_so(
    found: SqlSearch, repositories: Repositories
) -> None:
    app = RepositoryName("team", "app")
    repositories.describe(app, "quite another text")
    assert names(found, "lang") == []
    assert names(found, "quite an") == ["team/app"]
    repositories.delete(app)
    assert names(found, "quite an") == []
    assert names(found, "team/app") == ["team/app-base"]


def test_pages(found: SqlSearch) -> None:
    def page(size: int, number: int) -> tuple[list[str], int]:
        part = found.find(NOBODY, "team", size, number)
        return [result.name for result in part.results], part.total

    assert page(2, 1) == (["team/app", "team/app-base"], 3)
    assert page(2, 2) == (["team/box"], 3)
    assert page(2, 3) == ([], 3)
    assert page(2, 10**15) == ([], 3)


def test_many_matches(
    found: SqlSearch, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted up to a limit; all can be read, page by page, each once."""
    monkeypatch.setattr(search, "_COUNTED", 20)
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
        part = found.find(NOBODY, "many/im", 8, number)
        if not part.results:
            break
        read += [result.name for result in part.results]
        left = 100 - len(read)
        assert part.total >= len(read) + (1 if left else 0)
    assert read == [row["name"] for row in order]
    narrow = found.find(NOBODY, "image000", 8, 2)
    assert ([r.name for r in narrow.results], narrow.total) == (
        [row["name"] for row in order if "image000" in row["name"]][8:], 10
    )  # fmt: skip


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(query=st.text(alphabet="abox/ %_\\'\"*ü-:()^", max_size=8))
def test_a_query_is_a_piece_of_text_and_nothing_else(found: SqlSearch, query: str) -> None:
    text = query.strip().lower()
    expected = [
        name
        for name, description in sorted(DESCRIBED.items())
        if name != "alice/secret" and text in f"{name}\n{description}".lower()
    ]
    assert names(found, query) == (expected if text or not query else [])


def test_the_trigrams_are_used(found: SqlSearch, database: Database) -> None:
    """Else a query would read every row; what that means is in bench, that it does not is here."""

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


# -- where somebody else knows who may see what ----------------------------------------------------


class Members(Open):
    """Lets members pull what others may not."""

    open = False

    def may(self, asker: Asker, repository: RepositoryName | None, access: Access) -> bool:
        return asker.user == "member" or str(repository) in ("team/box", "library/busybox")


@pytest.mark.usefixtures("found")
def test_rights_of_others(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_AT_ONCE", 2)  # so that it must read on
    checked = search.CheckedSearch(database, Members())

    def names(query: str, user: str | None, size: int = 100, page: int = 1) -> list[str]:
        return [r.name for r in checked.find(Asker(user), query, size, page).results]

    assert names("box", None) == names("", None) == ["library/busybox", "team/box"]
    assert names("hidden", None) == []
    assert names("hidden", "member") == ["alice/secret"]
    assert names("", "member") == sorted(DESCRIBED)
    assert names("", "member", 2, 2) == sorted(DESCRIBED)[2:4]
    assert names("%", "member") == ["team/app"]
    page = checked.find(Asker("member"), "", 2, 1)
    assert page.total == 3  # there is more
    listed = checked.listed(Asker(None), "library/busybox", 10)
    assert listed == [{"name": "team/box", "tags": {}}]


@pytest.mark.usefixtures("found")
def test_where_everybody_may_do_everything_private_ones_hide(database: Database) -> None:
    checked = search.CheckedSearch(database, Open())
    page = checked.find(NOBODY, "", 100, 1)
    assert [r.name for r in page.results] == sorted(set(DESCRIBED) - {"alice/secret"})
    assert len(checked.listed(NOBODY, "", 100)) == len(DESCRIBED) - 1
