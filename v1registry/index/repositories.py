"""Rows about repositories: descriptions, flags, tags and counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import sqlalchemy as sa

from v1registry.index import deletions, renaming, textsearch
from v1registry.index.database import Database
from v1registry.index.namespaces import namespace_id
from v1registry.index.rows import insert_missing, insert_new, now, reads, writes
from v1registry.index.schema import namespaces, repositories, tags
from v1registry.index.visibility import visible_to
from v1registry.lib import errors
from v1registry.lib.auth import tokens
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName
from v1registry.lib.repositories.search import LISTED_TAGS, Totals

DESCRIPTION = 255  # characters of the short description
FULL_DESCRIPTION = 64 * 1024

_AT_ONCE = 1000  # rows per statement


@dataclass(frozen=True, slots=True)
class Repository:
    """One repository, with its namespace in the name. Times in seconds since the epoch."""

    name: str
    description: str
    is_private: bool
    is_official: bool
    is_automated: bool
    stars: int
    pulls: int
    created: int
    updated: int
    missing: int | None
    tags: Mapping[str, str]


_FIELDS = tuple(field.name for field in fields(Repository) if field.name != "tags")
SHOWN = [repositories.c.id, *(repositories.c[name] for name in _FIELDS)]


class RepositoryRecords:
    """The rows about repositories. `private`: whether new repositories are private by default."""

    def __init__(self, database: Database, *, private: bool) -> None:
        self._database = database
        self._private = private

    @writes
    def create(self, connection: sa.Connection, repository: RepositoryName) -> bool:
        """Create the row of a repository unless it exists, and return whether it is private.

        A new repository has the default of its namespace. A repository that was private when it was
        deleted is private again.
        """
        add(connection, repository, default=self._private)
        # Read this after the insertion, which waits for an uncommitted deletion of the old row.
        before = deletions.find(connection, repository)
        if before is not None:
            if before.is_private:
                this = repositories.c.name == str(repository)
                connection.execute(repositories.update().where(this).values(is_private=True))
            deletions.forget(connection, repository)
        return bool(_get(connection, repository).is_private)

    def admit(self, repository: RepositoryName, made: str | None) -> bool:
        """Check that a push may continue, and return whether the repository is private.

        `made` is the creation of the repository for which the token was issued; None: no token. A
        repository without a row is created. Raise Failure 404 if it was deleted in the meantime.
        """

        def look(connection: sa.Connection) -> Any:
            this = repositories.c.name == str(repository)
            query = sa.select(repositories.c.is_private, repositories.c.made).where(this)
            row = connection.execute(query).first()
            if row is None and deletions.find(connection, repository) is not None:
                raise Failure(*errors.REPOSITORY_DELETED)
            return row

        row = self._database.read(look)
        if row is None:
            return self._add(repository)
        if not is_for(made, row):
            raise Failure(*errors.REPOSITORY_DELETED)
        return bool(row.is_private)

    @writes
    def _add(self, connection: sa.Connection, repository: RepositoryName) -> bool:
        """Create a row. Raise Failure 404 if the repository was deleted in the meantime."""
        add(connection, repository, default=self._private)
        if deletions.find(connection, repository) is not None:
            raise Failure(*errors.REPOSITORY_DELETED)  # rolls the insertion back
        return bool(_get(connection, repository).is_private)

    def knows(self, repository: RepositoryName) -> bool:
        """Return whether the repository has a row, visible or not."""
        this = sa.select(repositories.c.id).where(repositories.c.name == str(repository))
        return self._database.row(this) is not None

    @reads
    def get(
        self,
        connection: sa.Connection,
        repository: RepositoryName,
        user: str | None,
        *,
        with_tags: bool = True,
    ) -> Repository:
        """Return a repository. Raise Failure 404 if `user` (None: anonymous) may not see it."""
        query = sa.select(*SHOWN).where(
            repositories.c.name == str(repository), visible(connection, user)
        )
        found = read(connection, query, with_tags=with_tags)
        if not found:
            raise Failure(*errors.REPOSITORY_NOT_FOUND)
        return found[0]

    def full_description(self, repository: RepositoryName) -> str:
        row = self._database.read(lambda connection: _get(connection, repository))
        return str(row.full_description)

    def all(self) -> list[Repository]:
        """Return all repositories by name, without tags."""
        found: list[Repository] = []
        while True:
            after = found[-1].name if found else ""
            query = sa.select(*SHOWN).where(repositories.c.name > after).limit(_AT_ONCE)
            work = partial(read, query=query.order_by(repositories.c.name), with_tags=False)
            part = self._database.read(work)
            found += part
            if len(part) < _AT_ONCE:
                return found

    def describe(
        self, repository: RepositoryName, short: str | None = None, full: str | None = None
    ) -> None:
        """Set the texts that are not None. Raise Failure 404, or 400 for a bad text."""
        values: dict[str, Any] = {}
        if short is not None:
            _check(short, DESCRIPTION)
            values["description"] = short
            values["searched"] = textsearch.searched(str(repository), short)
        if full is not None:
            _check(full, FULL_DESCRIPTION)
            values["full_description"] = full
        self._update(repository, values)

    def flag(self, repository: RepositoryName, **flags: bool) -> None:
        """Set `is_private`, `is_official` or `is_automated`. Raise Failure 404."""
        self._update(repository, flags)

    def delete(self, repository: RepositoryName) -> bool:
        """Delete a repository with stars, comments and tags; return whether it had a row."""
        work = partial(deletions.delete, repository=repository, private=self._private)
        return self._database.write(work)

    def rename(self, repository: RepositoryName, new: RepositoryName) -> None:
        """Give a repository another name, with its roles, stars and comments, if it has a row."""
        self._database.write(partial(renaming.rename, repository=repository, new=new))

    @writes
    def _update(
        self, connection: sa.Connection, repository: RepositoryName, values: Mapping[str, Any]
    ) -> None:
        statement = repositories.update().where(repositories.c.name == str(repository))
        _get(connection, repository)
        if values:
            connection.execute(statement.values(**values))


def is_for(made: str | None, row: Any) -> bool:
    """Return whether a token for the creation `made` (None: no token) is valid for a row."""
    return made is None or row.made in ("", made)


def visible(connection: sa.Connection, user: str | None) -> sa.ColumnElement[bool]:
    """Return the condition that `user` (None: anonymous) may see a repository."""
    return visible_to(connection, user).condition()


def read(
    connection: sa.Connection, query: sa.Select[Any], *, with_tags: bool = True
) -> list[Repository]:
    """Return the repositories that a query for the columns `SHOWN` finds."""
    rows = connection.execute(query).all()
    found: dict[int, dict[str, str]] = {row.id: {} for row in rows}
    if rows and with_tags:
        chosen = sa.select(tags).where(tags.c.repository_id.in_(found)).order_by(tags.c.name)
        for tag in connection.execute(chosen):
            found[tag.repository_id][tag.name] = tag.image
    return [
        Repository(**{name: getattr(row, name) for name in _FIELDS}, tags=found[row.id])
        for row in rows
    ]


def totals(connection: sa.Connection) -> Totals:
    """Return the numbers of the repositories that lists show, and of their tags."""
    gone = repositories.c.is_gone == sa.true()
    known = sa.select(sa.func.count()).select_from(repositories)
    tagged = sa.select(sa.func.count()).select_from(tags)
    of_gone = tags.c.repository_id.in_(sa.select(repositories.c.id).where(gone))
    return Totals(
        connection.scalars(known.where(~gone)).one(),
        # few are gone, so that this is faster than a join of all
        connection.scalars(tagged).one() - connection.scalars(tagged.where(of_gone)).one(),
    )


def with_tags(connection: sa.Connection, names: Sequence[str]) -> list[Repository]:
    """Return repositories with tags by name, until they have more than LISTED_TAGS tags in total."""
    held = sa.select(repositories.c.name, sa.func.count().label("tags")).join(tags)
    query = held.where(repositories.c.name.in_(names)).group_by(repositories.c.name)
    counts = {row.name: row.tags for row in connection.execute(query)}
    total, shown = 0, []
    for name in names:
        shown.append(name)
        total += counts.get(name, 0)
        if total > LISTED_TAGS:
            break
    chosen = sa.select(*SHOWN).where(repositories.c.name.in_(shown)).order_by(repositories.c.name)
    return read(connection, chosen)


def add(
    connection: sa.Connection,
    repository: RepositoryName,
    *,
    default: bool,
    private: bool = False,
) -> None:
    """Insert a repository, and its namespace, unless it exists.

    It is private if `private` is set. Otherwise the setting of its namespace decides, or `default`.
    """
    namespace = namespace_id(connection, repository.namespace)
    query = sa.select(namespaces.c.is_private).where(namespaces.c.id == namespace)
    setting = connection.execute(query).scalar_one()
    values = {
        "namespace_id": namespace,
        "name": str(repository),
        "searched": textsearch.searched(str(repository), ""),
        "is_private": private or (default if setting is None else bool(setting)),
        "made": tokens.new_creation(),
        "created": now(),
        "updated": now(),
    }
    insert_new(connection, repositories, values)


def set_tags(connection: sa.Connection, repository_id: int, found: Mapping[str, str]) -> bool:
    """Replace the tags of a repository, and return whether anything changed."""
    of = tags.c.repository_id == repository_id
    known = {row.name: row.image for row in connection.execute(sa.select(tags).where(of))}
    gone = [name for name, image in known.items() if found.get(name) != image]
    new = [
        {"repository_id": repository_id, "name": name, "image": image}
        for name, image in found.items()
        if known.get(name) != image
    ]
    for part in _parts(gone):
        connection.execute(tags.delete().where(of, tags.c.name.in_(part)))
    for rows in _parts(new):
        insert_missing(connection, tags, rows)
    return bool(gone or new)


def _parts(items: list[Any], most: int = 500) -> Iterable[list[Any]]:
    """Split a list, because databases limit the parameters of a statement."""
    return (items[start : start + most] for start in range(0, len(items), most))


def _get(connection: sa.Connection, repository: RepositoryName) -> Any:
    query = sa.select(repositories).where(repositories.c.name == str(repository))
    row = connection.execute(query).first()
    if row is None:
        raise Failure(*errors.REPOSITORY_NOT_FOUND)
    return row


def _check(text: str, most: int) -> None:
    if len(text) > most:
        raise Failure(400, f"The description is longer than {most} characters")
    if any(character < " " and character not in "\t\r\n" for character in text):
        raise Failure(400, "The description holds control characters")
