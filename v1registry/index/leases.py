"""Scheduled work that one process of all nodes does at a time; as `lib.lease`, in the database."""

from __future__ import annotations

import sqlalchemy as sa

from v1registry.index.database import Database
from v1registry.index.rows import insert_missing, now
from v1registry.index.schema import leases


def take(database: Database, name: str, seconds: int) -> bool:
    """Take the lease `name` for so long; False while somebody else has it. It runs out."""

    def work(connection: sa.Connection) -> bool:
        insert_missing(connection, leases, [{"name": name, "until": 0}])
        taken = connection.execute(
            leases.update()
            # one further ahead was written by a wrong clock
            .where(
                leases.c.name == name,
                sa.or_(leases.c.until <= now(), leases.c.until > now() + 10 * seconds),
            )
            .values(until=now() + seconds)
        )
        return bool(taken.rowcount)

    return database.write(work)
