"""Helpers for transactions and SQL statements."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import sqlalchemy as sa

from v1registry.index.database import Database
from v1registry.lib.errors import Failure

Values = Mapping[str, Any]

P = ParamSpec("P")
T = TypeVar("T")


class _HasDatabase(Protocol):
    _database: Database


S = TypeVar("S", bound=_HasDatabase)


def reads(method: Callable[Concatenate[S, sa.Connection, P], T]) -> Callable[Concatenate[S, P], T]:
    """Run a method in one transaction of `_database`, which passes it the connection (`Database.read`)."""

    @functools.wraps(method)
    def run(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._database.read(lambda connection: method(self, connection, *args, **kwargs))

    return run


def writes(method: Callable[Concatenate[S, sa.Connection, P], T]) -> Callable[Concatenate[S, P], T]:
    """Run a method that changes the database, as `reads` does (`Database.write`).

    The method may run again after a conflict, so it must change nothing but the database.
    """

    @functools.wraps(method)
    def run(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._database.write(lambda connection: method(self, connection, *args, **kwargs))

    return run


def now() -> int:
    """Return the time in whole seconds since the epoch."""
    return int(time.time())


def insert(connection: sa.Connection, table: sa.Table) -> Any:
    """Return an INSERT statement that supports ON CONFLICT in either database."""
    # Each module imports all of its drivers, so only one of them is imported.
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(table)


def insert_new(connection: sa.Connection, table: sa.Table, values: Values) -> int | None:
    """Insert a row and return its id; None if a row with such a key exists."""
    statement = insert(connection, table).values(values).on_conflict_do_nothing()
    return connection.execute(statement.returning(table.c.id)).scalar_one_or_none()


def upsert(connection: sa.Connection, table: sa.Table, key: Values, values: Values) -> None:
    """Write `values` to the row with this primary key; insert the row if it is missing."""
    statement = insert(connection, table).values({**key, **values})
    columns = list(table.primary_key)
    connection.execute(statement.on_conflict_do_update(index_elements=columns, set_=dict(values)))


def get(connection: sa.Connection, table: sa.Table, what: str, key: str) -> Any:
    """Return the row of a name, or of an id in a table without names. Raise Failure 404.

    `what` says what a row stands for.
    """
    column = table.c.name if "name" in table.c else table.c.id
    row = connection.execute(sa.select(table).where(column == key)).first()
    if row is None:
        raise Failure(404, f"There is no {what} {key}")
    return row


def insert_missing(connection: sa.Connection, table: sa.Table, rows: Iterable[Values]) -> int:
    """Insert the rows whose keys are missing, and return their number. Pass a few hundred at most."""
    given = list(rows)
    if not given:
        return 0
    statement = insert(connection, table).values(given).on_conflict_do_nothing()
    return len(connection.execute(statement.returning(sa.literal(1))).all())
