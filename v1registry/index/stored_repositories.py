"""Rows of the database for repositories in the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from v1registry.index import deletions
from v1registry.index.repositories import add, set_tags
from v1registry.index.rows import now, upsert
from v1registry.index.schema import repositories, tags
from v1registry.lib.names import RepositoryName

Tags = Mapping[str, str]

_PRESENT = {"is_stored": True, "missing": None, "is_gone": False}


@dataclass(frozen=True, slots=True)
class Policy:
    """Rules for creating, deleting and hiding rows.

    `private` is the default of new repositories. `is_index`: the database belongs to an index, which
    decides what is private and records deletions; otherwise it only serves searches. `decides`: this
    process is the index, so a request that deletes a repository also deletes its row. `grace`
    (seconds) and `share` (percent of all rows) are those of `Sync.rebuild`.
    """

    private: bool = False
    is_index: bool = True
    decides: bool = False
    grace: int = 86400
    share: int = 10


@dataclass(frozen=True, slots=True)
class StoredRepository:
    """A repository as read from the store; `tags` is None if it is missing."""

    tags: Tags | None
    private: bool


class StoredRows:
    """Writes rows. Each method needs a connection in a write transaction."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def write(
        self, connection: sa.Connection, repository: RepositoryName, seen: StoredRepository
    ) -> None:
        """Write the state of the store to the row; if it is missing, note since when."""
        if seen.tags is None:
            mark_missing(connection, [str(repository)])
            return
        row = self._row(connection, repository, flagged=seen.private, revive=True)
        if row is None:
            return
        values: dict[str, Any] = dict(_PRESENT)
        if set_tags(connection, row.id, seen.tags) and not row.is_gone:
            values["updated"] = now()
        if seen.private:
            # Only `flag` makes a repository public: in an index that had no store before, the row
            # may be right that it is private.
            values["is_private"] = True
        _set(connection, row.id, **values)

    def set_tag(
        self,
        connection: sa.Connection,
        repository: RepositoryName,
        tag: str,
        image: str | None,
        *,
        private: bool,
    ) -> None:
        """Write one tag, or delete it if `image` is None."""
        row = self._row(connection, repository, flagged=private, create=image is not None)
        if row is None:
            return
        this = (tags.c.repository_id == row.id, tags.c.name == tag)
        if image is None:
            connection.execute(tags.delete().where(*this))
        else:
            upsert(connection, tags, {"repository_id": row.id, "name": tag}, {"image": image})
        _set(connection, row.id, updated=now(), **_PRESENT)

    def flag(self, connection: sa.Connection, repository: RepositoryName, *, private: bool) -> None:
        """Make the repository private, or public."""
        row = self._row(connection, repository, flagged=private)
        if row is not None:
            _set(connection, row.id, is_private=private, **_PRESENT)

    def delete(self, connection: sa.Connection, repository: RepositoryName) -> None:
        """Delete the row; an index remembers the deletion."""
        deletions.delete(connection, repository, private=self._policy.private)
        if not self._policy.is_index:
            deletions.forget(connection, repository)

    def _row(
        self,
        connection: sa.Connection,
        repository: RepositoryName,
        *,
        flagged: bool,
        create: bool = True,
        revive: bool = False,
    ) -> Any:
        """Return the repository's row, and create it if necessary; None for a deleted repository.

        `create=False`: do not create it, because only a tag is deleted.

        `revive`: also create a repository that was deleted some time ago and is in the store. It is
        private until an administrator of its namespace has checked it.
        """
        query = sa.select(repositories).where(repositories.c.name == str(repository))
        row = connection.execute(query).first()
        if row is not None or not create:
            return row
        deletion = deletions.find(connection, repository)
        if deletion is not None:
            if not revive or deletion.deleted > now() - deletions.SETTLED:
                return None
            deletions.forget(connection, repository)
        default = self._policy.private and self._policy.is_index
        private = flagged or deletion is not None
        add(connection, repository, default=default, private=private)
        row = connection.execute(query).one()
        if deletion is None and deletions.find(connection, repository) is not None:
            # The insertion has waited for an uncommitted deletion of the old row.
            connection.execute(repositories.delete().where(repositories.c.id == row.id))
            return None
        return row


def mark_missing(connection: sa.Connection, names: Sequence[str]) -> None:
    """Note that repositories are missing from the store, except new ones that are being pushed."""
    this = (
        repositories.c.name.in_(names),
        repositories.c.is_stored == sa.true(),
        repositories.c.missing.is_(None),
    )
    connection.execute(repositories.update().where(*this).values(missing=now()))


def hide_missing(connection: sa.Connection, names: Sequence[str], before: int) -> int:
    """Hide repositories that are missing since `before` (epoch seconds), and return their number.

    Lists and searches do not show them. Their tags are deleted, because the store has them.
    """
    this = (
        repositories.c.name.in_(names),
        repositories.c.missing <= before,
        repositories.c.is_gone == sa.false(),
    )
    hidden = repositories.update().where(*this).values(is_gone=True).returning(repositories.c.id)
    found = list(connection.scalars(hidden))
    connection.execute(tags.delete().where(tags.c.repository_id.in_(found)))
    return len(found)


def _set(connection: sa.Connection, repository_id: int, **values: Any) -> None:
    this = repositories.c.id == repository_id
    connection.execute(repositories.update().where(this).values(**values))
