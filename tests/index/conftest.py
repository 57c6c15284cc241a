"""Fixtures of the index. A test that uses `database` runs on both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.backends.postgres import Postgres
from v1registry.index import schema
from v1registry.index.accounts import AccountStore
from v1registry.index.database import Database
from v1registry.index.namespaces import Namespaces
from v1registry.index.repositories import RepositoryRecords
from v1registry.lib.auth import passwords

PASSWORD = "secret-1"


def here(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function directly, instead of in a thread pool."""
    return function(*arguments)


def without_end(_seconds: float, function: Callable[[], Any]) -> Any:
    """Call a function without a timeout, because each test has one."""
    return function()


def open_database(url: str, **more: Any) -> Database:
    return Database(url, here, without_end, **more)


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of an empty database."""
    if kind == "sqlite":
        return f"sqlite:///{tmp_path}/index.db"
    return str(request.getfixturevalue("postgres").database())


@pytest.fixture(scope="session")
def shared_url(postgres: Postgres) -> str:
    """Return the URL of a database for many tests, because creating one takes a second."""
    return postgres.database()


@pytest.fixture
def database(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """Yield a database with the schema and without rows."""
    if kind == "sqlite":
        opened = open_database(f"sqlite:///{tmp_path}/index.db")
    else:
        opened = open_database(request.getfixturevalue("shared_url"))
        made = [*schema.metadata.sorted_tables, schema.counters]
        tables = ", ".join(table.name for table in made)
        empty = f"TRUNCATE {tables} RESTART IDENTITY CASCADE"
        opened.write(lambda connection: connection.exec_driver_sql(empty))
    yield opened
    opened.close()


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make password hashes cheap. Other tests check their cost."""
    expensive = passwords.hash
    monkeypatch.setattr(passwords, "hash", lambda password: expensive(password, 4))


@pytest.fixture
def accounts(database: Database, cheap: None) -> AccountStore:
    return AccountStore(database, here)


@pytest.fixture
def namespaces(database: Database) -> Namespaces:
    return Namespaces(database)


@pytest.fixture
def repositories(database: Database) -> RepositoryRecords:
    return RepositoryRecords(database, private=False)
