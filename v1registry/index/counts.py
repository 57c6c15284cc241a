"""Counters in the database, which all nodes of an index share."""

from __future__ import annotations

import random
from collections.abc import Mapping

import sqlalchemy as sa

from v1registry.index.database import Database
from v1registry.index.rows import insert, now
from v1registry.index.schema import counters
from v1registry.lib.errors import Failure
from v1registry.lib.support.circuit_breaker import CircuitBreaker

_TIMEOUT = 2.0  # seconds to wait for PostgreSQL; then this node counts alone
_PAUSE = 3.0  # seconds until the next attempt after a failure
_CLEANING = 0.02  # probability that a change also deletes expired rows


class DatabaseCounts:
    """Implements `lib.counts.Counts`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._calls = CircuitBreaker(_PAUSE)

    def add(self, changes: Mapping[str, int], life: int) -> dict[str, int] | None:
        ticket = self._calls.admit()
        if ticket is None:
            return None
        run = self._database.write if any(changes.values()) else self._database.read
        try:
            totals = run(lambda connection: _add(connection, changes, life), timeout=_TIMEOUT)
        except Failure:  # the database has logged the reason
            self._calls.failed(ticket)
            return None
        self._calls.succeeded(ticket)
        return totals


def _add(connection: sa.Connection, changes: Mapping[str, int], life: int) -> dict[str, int]:
    totals = dict.fromkeys(changes, 0)
    living = sa.select(counters.c.key, counters.c.total).where(
        counters.c.key.in_([key for key, by in changes.items() if not by]),
        counters.c.expires > now(),
    )
    totals.update((row.key, row.total) for row in connection.execute(living))
    rows = [
        {"key": key, "total": by, "expires": now() + life}
        for key, by in sorted(changes.items())  # in one order, so that nodes cannot deadlock
        if by
    ]
    if not rows:
        return totals
    if random.random() < _CLEANING:
        connection.execute(counters.delete().where(counters.c.expires <= now()))
    statement = insert(connection, counters).values(rows)
    added = sa.case(
        (counters.c.expires <= now(), statement.excluded.total),
        else_=counters.c.total + statement.excluded.total,
    )
    changed = statement.on_conflict_do_update(
        index_elements=[counters.c.key],
        set_={"total": added, "expires": statement.excluded.expires},
    ).returning(counters.c.key, counters.c.total)
    totals.update((row.key, row.total) for row in connection.execute(changed))
    return totals


def reserve(connection: sa.Connection, key: str, life: int) -> None:
    """Reserve `key` for `life` seconds."""
    _add(connection, {key: 1}, life)


def reserved_until(connection: sa.Connection, key: str) -> int | None:
    """Return the time until which `key` is reserved, in epoch seconds; None if it is not."""
    living = counters.c.key == key, counters.c.expires > now()
    return connection.execute(sa.select(counters.c.expires).where(*living)).scalar_one_or_none()
