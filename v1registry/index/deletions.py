"""Records of repositories that a request deleted.

They prevent that a push which began before the deletion creates the repository again. A repository
that was private is private again when a client pushes it again.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from v1registry.index.rows import now, upsert
from v1registry.index.schema import deleted, repositories
from v1registry.lib.names import RepositoryName

KEPT = 90 * 86400  # seconds for which a record is kept

#: Seconds after a deletion in which files in the store may come from a push that began before it.
SETTLED = 3600


def delete(connection: sa.Connection, repository: RepositoryName, *, private: bool) -> bool:
    """Delete a repository and all data about it, and return whether the index had it.

    `private` is used if the index does not know whether it was private.
    """
    this = repositories.c.name == str(repository)
    row = connection.execute(sa.select(repositories.c.is_private).where(this)).first()
    before = find(connection, repository)
    known = row or before
    is_private = private if known is None else bool(known.is_private)
    values = {"is_private": is_private, "deleted": now()}
    upsert(connection, deleted, {"name": str(repository)}, values)
    connection.execute(repositories.delete().where(this))
    return row is not None


def find(connection: sa.Connection, repository: RepositoryName) -> Any:
    """Return the record of a deletion: `is_private`, and the time `deleted`; None if there is none."""
    query = sa.select(deleted).where(deleted.c.name == str(repository))
    return connection.execute(query).first()


def forget(connection: sa.Connection, repository: RepositoryName) -> None:
    """Delete the record, because the repository exists again."""
    connection.execute(deleted.delete().where(deleted.c.name == str(repository)))


def expire(connection: sa.Connection) -> None:
    """Delete records that are older than KEPT."""
    connection.execute(deleted.delete().where(deleted.c.deleted < now() - KEPT))
