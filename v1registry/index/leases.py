"""Leases in the database, for periodic tasks that one process of all nodes runs at a time."""

from __future__ import annotations

import sqlalchemy as sa

from v1registry.index.database import Database
from v1registry.index.rows import insert_missing, now
from v1registry.index.schema import leases


def take(database: Database, name: str, seconds: int) -> bool:
    """Take the lease `name` for `seconds`; return False if another process holds it."""

    def work(connection: sa.Connection) -> bool:
        insert_missing(connection, leases, [{"name": name, "until": 0}])
        taken = connection.execute(
            leases.update()
            # a later end was written by a node whose clock is wrong
            .where(
                leases.c.name == name,
                sa.or_(leases.c.until <= now(), leases.c.until > now() + 10 * seconds),
            )
            .values(until=now() + seconds)
        )
        return bool(taken.rowcount)

    return database.write(work)
