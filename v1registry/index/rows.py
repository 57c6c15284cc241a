"""Helpers for SQL statements."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

Values = Mapping[str, Any]


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


def insert_missing(connection: sa.Connection, table: sa.Table, rows: Iterable[Values]) -> int:
    """Insert the rows whose keys are missing, and return their number. Pass a few hundred at most."""
    given = list(rows)
    if not given:
        return 0
    statement = insert(connection, table).values(given).on_conflict_do_nothing()
    return len(connection.execute(statement.returning(sa.literal(1))).all())
