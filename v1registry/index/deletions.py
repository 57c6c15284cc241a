"""Repositories that were deleted by a request: their names are kept for a while.

A push that began before the deletion must not bring its repository back, and a repository that was
private is private again when it is pushed anew.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from v1registry.index.rows import insert, now
from v1registry.index.schema import deleted, repositories
from v1registry.lib.names import RepositoryName

KEPT = 90 * 86400  # seconds for which a deletion is remembered

#: Seconds after which files in the store are no remains of a push that the deletion overtook.
SETTLED = 3600


def delete(connection: sa.Connection, repository: RepositoryName, *, private: bool) -> bool:
    """Delete a repository with everything the index knows of it; return whether it was known.

    `private` counts where the index does not know whether it was private.
    """
    this = repositories.c.name == str(repository)
    row = connection.execute(sa.select(repositories.c.is_private).where(this)).first()
    before = find(connection, repository)
    known = row or before
    values = {
        "name": str(repository),
        "is_private": bool(known.is_private) if known is not None else private,
        "deleted": now(),
    }
    statement = insert(connection, deleted).values(values)
    connection.execute(
        statement.on_conflict_do_update(index_elements=list(deleted.primary_key), set_=values)
    )
    connection.execute(repositories.delete().where(this))
    return row is not None


def find(connection: sa.Connection, repository: RepositoryName) -> Any:
    """The deletion of a repository: `is_private`, and `deleted`, its time; None without one."""
    query = sa.select(deleted).where(deleted.c.name == str(repository))
    return connection.execute(query).first()


def forget(connection: sa.Connection, repository: RepositoryName) -> None:
    """The repository exists again."""
    connection.execute(deleted.delete().where(deleted.c.name == str(repository)))


def expire(connection: sa.Connection) -> None:
    """Forget deletions that are older than KEPT."""
    connection.execute(deleted.delete().where(deleted.c.deleted < now() - KEPT))
