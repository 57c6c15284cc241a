"""Renaming a repository with all that people have said and decided about it."""

from __future__ import annotations

import sqlalchemy as sa

from v1registry.index import deletions, textsearch
from v1registry.index.namespaces import namespace_id
from v1registry.index.schema import grants, repositories
from v1registry.lib.auth import tokens
from v1registry.lib.names import RepositoryName


def rename(connection: sa.Connection, repository: RepositoryName, new: RepositoryName) -> None:
    """Give a repository another name, with its roles, stars and comments; do nothing without a row.

    If a walk over the store has found the copy already, both names have a row: the older one stays.
    A push that began under the old name does not create it again.
    """
    both = repositories.c.name.in_([str(repository), str(new)])
    order = (repositories.c.created, repositories.c.id)
    rows = connection.execute(sa.select(repositories).where(both).order_by(*order)).all()
    if not any(row.name == str(repository) for row in rows):
        return
    kept = rows[0]
    namespace = namespace_id(connection, new.namespace)
    values = {
        "name": str(new),
        "namespace_id": namespace,
        "searched": textsearch.searched(str(new), kept.description),
        "made": tokens.new_creation(),
    }
    connection.execute(repositories.delete().where(both, repositories.c.id != kept.id))
    connection.execute(repositories.update().where(repositories.c.id == kept.id).values(**values))
    _move_roles(connection, repository, namespace, new)
    deletions.delete(connection, repository, private=bool(kept.is_private))
    deletions.forget(connection, new)


def _move_roles(
    connection: sa.Connection, repository: RepositoryName, namespace: int, new: RepositoryName
) -> None:
    """Move the roles in a repository to its new name; they replace roles that stand there."""
    before = (
        grants.c.namespace_id == namespace_id(connection, repository.namespace),
        grants.c.repository == repository.name,
    )
    there = (grants.c.namespace_id == namespace, grants.c.repository == new.name)
    holders = sa.select(grants.c.account_id).where(*before)
    connection.execute(grants.delete().where(*there, grants.c.account_id.in_(holders)))
    moved = {"namespace_id": namespace, "repository": new.name}
    connection.execute(grants.update().where(*before).values(**moved))
