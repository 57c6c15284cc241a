"""Counters in the database (index.counts), in which all nodes count wrong passwords."""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests import raw
from tests.backends.postgres import Postgres
from tests.index.conftest import PASSWORD, here, open_database
from tests.live_server import Server
from tests.rights.accounts import basic, environment, password_file
from tests.waiting import wait_for
from v1registry.index import counts as module
from v1registry.index.accounts import AccountStore
from v1registry.index.counts import DatabaseCounts
from v1registry.index.database import Database
from v1registry.index.schema import counters


def test_totals(database: Database) -> None:
    one, other = DatabaseCounts(database), DatabaseCounts(database)
    assert one.add({"a": 0, "b": 0}, 60) == {"a": 0, "b": 0}
    assert one.add({"a": 2, "b": 0}, 60) == {"a": 2, "b": 0}
    assert other.add({"b": 1, "a": -1, "c": 0}, 60) == {"a": 1, "b": 1, "c": 0}
    assert one.add({"b": 0, "a": 0}, 60) == {"a": 1, "b": 1}


def test_a_counter_expires_and_its_row_is_deleted(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000]
    monkeypatch.setattr(module, "now", lambda: clock[0])
    counts = DatabaseCounts(database)
    counts.add({"a": 5, "b": 5}, 60)
    clock[0] += 59
    assert counts.add({"a": 1, "b": 0}, 60) == {"a": 6, "b": 5}
    clock[0] += 1
    assert counts.add({"a": 0, "b": 0}, 60) == {"a": 6, "b": 0}
    assert counts.add({"b": 1}, 60) == {"b": 1}
    clock[0] += 1000
    monkeypatch.setattr(module, "_CLEANING", 1.0)
    counts.add({"c": 1}, 60)
    keys = sa.select(counters.c.key)
    assert database.read(lambda c: c.scalars(keys).all()) == ["c"]


def test_concurrent_changes(url: str) -> None:
    databases = [open_database(url) for _ in range(4)]

    def add(number: int) -> None:
        counts = DatabaseCounts(databases[number % 4])
        for n in range(25):
            changes = {"all": 1, f"{n % 3}": 1, "odd": n % 2}
            assert counts.add(changes if number % 2 else dict(reversed(changes.items())), 60)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(8)))
    assert DatabaseCounts(databases[0]).add({"all": 0, "odd": 0}, 60) == {"all": 200, "odd": 96}
    for database in databases:
        database.close()


def test_a_database_that_fails_is_used_again_after_a_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PAUSE", 0.2)
    database = open_database(f"sqlite:///{tmp_path}/missing/index.db")
    counts = DatabaseCounts(database)
    assert counts.add({"a": 1}, 60) is None
    (tmp_path / "missing").mkdir()
    assert counts.add({"a": 1}, 60) is None
    assert wait_for(lambda: counts.add({"a": 1}, 60)) == {"a": 1}
    database.close()


def statuses(server: Server, user: str, passwords: list[str]) -> list[int]:
    return [raw.get(server, "/v1/users/", basic(user, word)).status for word in passwords]


def check_nodes(nodes: list[Server], password: str) -> None:
    """Send five wrong passwords to each of two nodes; then ada is refused, and bob is not."""
    right, wrong = [password] * 8, [f"guess {n}" for n in range(5)]
    assert [statuses(node, "bob", right) for node in nodes] == [[200] * 8] * 2
    assert [statuses(node, "ada", wrong) for node in nodes] == [[401] * 5] * 2
    assert [statuses(node, "ada", right) for node in nodes] == [[429] * 8] * 2
    assert [statuses(node, "bob", wrong) for node in nodes] == [[401] * 5] * 2
    assert [statuses(node, "bob", right) for node in nodes] == [[429] * 8] * 2


@pytest.mark.parametrize("alone", ["false", "true"])
def test_nodes_of_an_index(url: str, alone: str, tmp_path: Path) -> None:
    database = open_database(url)
    for name in ("ada", "bob"):
        AccountStore(database, here).add(name, PASSWORD)
    database.close()
    env = {"INDEX_DATABASE": url, "INDEX_ALONE": alone, "REGISTRY_ENDPOINTS": "registry.example"}
    with contextlib.ExitStack() as stack:
        nodes = [
            stack.enter_context(Server(tmp_path / "store", workers=2, env=env)) for _ in range(2)
        ]
        check_nodes(nodes, PASSWORD)


def test_nodes_with_a_password_file_and_a_database_for_searches(tmp_path: Path) -> None:
    env = environment(
        password_file(tmp_path, ["ada", "bob"], PASSWORD),
        ACCOUNTS_ATTEMPTS="10",
        SEARCH_BACKEND="sqlalchemy",
        SQLALCHEMY_INDEX_DATABASE=f"sqlite:///{tmp_path}/search.db",
    )
    with contextlib.ExitStack() as stack:
        nodes = [stack.enter_context(Server(tmp_path / "store", env=env)) for _ in range(2)]
        check_nodes(nodes, PASSWORD)


def test_a_password_file_needs_no_database(postgres: Postgres, tmp_path: Path) -> None:
    """A search database that hangs delays one login by two seconds, and no further login."""
    env = environment(
        password_file(tmp_path, ["ada"], PASSWORD),
        ACCOUNTS_ATTEMPTS="3",
        SEARCH_BACKEND="sqlalchemy",
        SQLALCHEMY_INDEX_DATABASE=postgres.database(),
    )
    with Server(tmp_path / "store", env=env) as server:
        assert statuses(server, "ada", [PASSWORD]) == [200]
        with postgres.standing_still():
            begun = time.monotonic()
            assert statuses(server, "ada", [PASSWORD, "wrong", PASSWORD]) == [200, 401, 200]
            # the delay of the docstring, not a speed: four delays would take longer
            assert time.monotonic() - begun < 8
            assert statuses(server, "other", ["wrong"] * 4) == [401] * 3 + [429]


def test_sign_ups_count_on_all_processes_together(tmp_path: Path) -> None:
    env = {"INDEX_DATABASE": f"sqlite:///{tmp_path}/index.db", "INDEX_SIGN_UP": "open"}
    with Server(tmp_path / "store", workers=4, env=env) as server:

        def sign_up(number: int) -> None:
            body = f'{{"username": "user{number}", "password": "{PASSWORD}"}}'.encode()
            found.append(raw.request(server, "POST", "/v1/users/", (), body).status)

        found: list[int] = []
        threads = [threading.Thread(target=sign_up, args=(number,)) for number in range(14)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sorted(found) == [201] * 10 + [429] * 4
