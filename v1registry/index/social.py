"""Stars and comments of users on repositories."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from v1registry.index.database import Database
from v1registry.index.namespaces import account_id
from v1registry.index.repositories import visible
from v1registry.index.rows import insert_missing, now, reads, writes
from v1registry.index.schema import accounts, comments, repositories, stars
from v1registry.lib import errors
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName

LONGEST = 4000  # characters of a comment

COMMENT_NOT_FOUND = (404, "Comment not found")


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment on a repository. `created` in seconds since the epoch."""

    id: int
    account: str
    text: str
    created: int


class Social:
    """Stars and comments. Users can star and comment on repositories that they may see."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @writes
    def star(self, connection: sa.Connection, repository: RepositoryName, user: str) -> None:
        """Star a repository, unless the user has. Raise Failure 404 if `user` may not see it."""
        repository_id = _visible_id(connection, repository, user)
        row = {
            "repository_id": repository_id,
            "account_id": account_id(connection, user),
            "created": now(),
        }
        if insert_missing(connection, stars, [row]):
            _count(connection, repository_id, 1)

    @writes
    def unstar(self, connection: sa.Connection, repository: RepositoryName, user: str) -> None:
        """Remove the user's star, if there is one. Raise Failure 404 as `star`."""
        repository_id = _visible_id(connection, repository, user)
        gone = connection.execute(
            stars.delete().where(
                stars.c.repository_id == repository_id,
                stars.c.account_id == account_id(connection, user),
            )
        )
        _count(connection, repository_id, -gone.rowcount)

    def is_starred(self, repository: RepositoryName, user: str) -> bool:
        query = (
            sa.select(stars.c.created)
            .join(repositories, repositories.c.id == stars.c.repository_id)
            .join(accounts, accounts.c.id == stars.c.account_id)
            .where(repositories.c.name == str(repository), accounts.c.name == user)
        )
        return self._database.row(query) is not None

    @reads
    def starred(
        self, connection: sa.Connection, user: str, after: str = "", most: int = 100
    ) -> list[str]:
        """Return the repositories that `user` starred and may see, by name, after `after`."""
        query = (
            sa.select(repositories.c.name)
            .join(stars, stars.c.repository_id == repositories.c.id)
            .join(accounts, accounts.c.id == stars.c.account_id)
            .where(
                accounts.c.name == user,
                repositories.c.name > after,
                visible(connection, user),
            )
            .order_by(repositories.c.name)
            .limit(most)
        )
        return list(connection.scalars(query))

    @writes
    def comment(
        self, connection: sa.Connection, repository: RepositoryName, user: str, text: str
    ) -> int:
        """Add a comment and return its id. Raise Failure 404 as `star`, 400 for a bad text."""
        _check(text)
        row = {
            "repository_id": _visible_id(connection, repository, user),
            "account_id": account_id(connection, user),
            "text": text,
            "created": now(),
        }
        statement = comments.insert().values(row).returning(comments.c.id)
        return int(connection.execute(statement).scalar_one())

    @reads
    def comments(
        self,
        connection: sa.Connection,
        repository: RepositoryName,
        user: str | None,
        after: int = 0,
        most: int = 100,
    ) -> list[Comment]:
        """Return comments with an id above `after`, the oldest first. Raise Failure 404 as `star`."""
        query = (
            sa.select(comments.c.id, accounts.c.name, comments.c.text, comments.c.created)
            .join(accounts)
            .where(
                comments.c.repository_id == _visible_id(connection, repository, user),
                comments.c.id > after,
            )
            .order_by(comments.c.id)
            .limit(most)
        )
        return [Comment(*row) for row in connection.execute(query)]

    @writes
    def change_comment(
        self,
        connection: sa.Connection,
        repository: RepositoryName,
        comment_id: int,
        user: str,
        text: str,
    ) -> None:
        """Replace the text of the user's own comment. Raise Failure 404, 400 for a bad text."""
        _check(text)
        this = comments.update().where(
            comments.c.id == comment_id,
            comments.c.repository_id == _visible_id(connection, repository, user),
            comments.c.account_id == account_id(connection, user),
        )
        if not connection.execute(this.values(text=text)).rowcount:
            raise Failure(*COMMENT_NOT_FOUND)

    @writes
    def remove_comment(
        self,
        connection: sa.Connection,
        repository: RepositoryName,
        comment_id: int,
        user: str,
        *,
        any_author: bool,
    ) -> None:
        """Remove a comment of the user, or with `any_author` of any user. Raise Failure 404."""
        removed = comments.delete().where(
            comments.c.id == comment_id,
            comments.c.repository_id == _visible_id(connection, repository, user),
        )
        if not any_author:
            removed = removed.where(comments.c.account_id == account_id(connection, user))
        if not connection.execute(removed).rowcount:
            raise Failure(*COMMENT_NOT_FOUND)


def _check(text: str) -> None:
    if not text.strip():
        raise Failure(400, "The comment is empty")
    if len(text) > LONGEST or any(c < " " and c not in "\t\r\n" for c in text):
        raise Failure(400, f"A comment is a text of at most {LONGEST} characters")


def _count(connection: sa.Connection, repository_id: int, more: int) -> None:
    """Change the number of stars in SQL, so that concurrent changes both count."""
    if more:
        connection.execute(
            repositories.update()
            .where(repositories.c.id == repository_id)
            .values(stars=repositories.c.stars + more)
        )


def _visible_id(connection: sa.Connection, repository: RepositoryName, user: str | None) -> Any:
    query = sa.select(repositories.c.id).where(
        repositories.c.name == str(repository), visible(connection, user)
    )
    found = connection.execute(query).scalar_one_or_none()
    if found is None:
        raise Failure(*errors.REPOSITORY_NOT_FOUND)
    return found
