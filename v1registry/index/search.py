"""Search and listing by statements whose cost does not grow with the number of repositories.

What a query finds is counted first, up to a limit. Few are then sorted; of many, which lie close,
the best are read in order until a page is full.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from itertools import islice
from typing import Any

import sqlalchemy as sa

from v1registry.index import textsearch
from v1registry.index.database import Database
from v1registry.index.repositories import SHOWN, read, visible
from v1registry.index.schema import repositories
from v1registry.lib.index import Repository
from v1registry.lib.names import RepositoryName
from v1registry.lib.rights import Access, Asker, Rights
from v1registry.lib.search import Found, Page

_COUNTED = 1000  # matches of a query: more are said to be "more than shown"
_DEEPEST = 1_000_000  # rows that are passed over to come to a page
_AT_ONCE = 500  # rows that are read to be looked through here


class SqlSearch:
    """Searches names and descriptions in the database, which knows who may see what, too."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, asker: Asker, query: str, size: int, page: int) -> Page:
        """Best starred first.

        The count is right up to 1000 matches, and for an empty query; beyond, it is at least one
        more than there is up to this page, if anything follows.
        """
        text = textsearch.cleaned(query)
        skipped = min((page - 1) * size, _DEEPEST)

        def work(connection: sa.Connection) -> Page:
            may_see = visible(connection, _user(asker))
            if query and not text:
                return Page([], 0)
            if not text:
                total = _count(connection, repositories, may_see, None)
                return _page(connection, repositories, may_see, size, skipped, total)
            source, matches = textsearch.narrow(connection, text)
            where = sa.and_(matches, may_see)
            total = _count(connection, source, where, _COUNTED + 1)
            if total <= skipped and total <= _COUNTED:
                return Page([], total)
            if total <= _COUNTED:
                return _page(connection, source, where, size, skipped, total)
            where = sa.and_(textsearch.contains(connection, text), may_see)
            return _page(connection, repositories, where, size, skipped, total)

        return self._database.read(work)

    def listed(self, asker: Asker, after: str, most: int) -> Sequence[dict[str, Any]]:
        def work(connection: sa.Connection) -> list[Repository]:
            query = (
                sa.select(*SHOWN)
                .where(repositories.c.name > after, visible(connection, _user(asker)))
                .order_by(repositories.c.name)
                .limit(most)
            )
            return read(connection, query)

        return [asdict(repository) for repository in self._database.read(work)]


class CheckedSearch:
    """The same where somebody else than the index knows who may see what."""

    def __init__(self, database: Database, rights: Rights) -> None:
        self._database = database
        self._rights = rights

    def find(self, asker: Asker, query: str, size: int, page: int) -> Page:
        """By name. The count tells only whether anything follows."""
        text = textsearch.cleaned(query)
        if query and not text:
            return Page([], 0)
        start = min((page - 1) * size, _DEEPEST)
        shown = self._shown(asker, "", text, with_tags=False)
        found = list(islice(shown, start + size + 1))
        results = [Found(r.name, r.description) for r in found[start : start + size]]
        return Page(results, len(found))

    def listed(self, asker: Asker, after: str, most: int) -> Sequence[dict[str, Any]]:
        shown = islice(self._shown(asker, after, "", with_tags=True), most)
        return [{"name": r.name, "tags": r.tags} for r in shown]

    def _shown(
        self, asker: Asker, after: str, text: str, *, with_tags: bool
    ) -> Iterator[Repository]:
        while True:
            work = partial(self._some, after=after, text=text, with_tags=with_tags)
            rows = self._database.read(work)
            for row in rows:
                if self._rights.may(asker, RepositoryName.parse(row.name), Access.PULL):
                    yield row
            if len(rows) < _AT_ONCE:
                return
            after = rows[-1].name

    def _some(
        self, connection: sa.Connection, after: str, text: str, *, with_tags: bool
    ) -> list[Repository]:
        query = sa.select(*SHOWN).where(repositories.c.name > after)
        if text:
            query = query.where(textsearch.contains(connection, text))
        if self._rights.open:
            query = query.where(repositories.c.is_private == sa.false())
        query = query.order_by(repositories.c.name).limit(_AT_ONCE)
        return read(connection, query, with_tags=with_tags)


def _user(asker: Asker) -> str | None:
    """In whose eyes things are shown: a token is for an image's way, and no more."""
    return asker.user if asker.grant is None else None


def _count(
    connection: sa.Connection,
    source: sa.FromClause,
    where: sa.ColumnElement[bool],
    most: int | None,
) -> int:
    rows = sa.select(repositories.c.id).select_from(source).where(where).limit(most).subquery()
    return int(connection.execute(sa.select(sa.func.count()).select_from(rows)).scalar_one())


def _page(
    connection: sa.Connection,
    source: sa.FromClause,
    where: sa.ColumnElement[bool],
    size: int,
    skipped: int,
    total: int,
) -> Page:
    query = (
        sa.select(*SHOWN)
        .select_from(source)
        .where(where)
        .order_by(repositories.c.stars.desc(), repositories.c.name)
        .limit(size + 1)
        .offset(skipped)
    )
    found = read(connection, query, with_tags=False)
    results = [
        Found(r.name, r.description, r.stars, r.is_official, r.is_automated) for r in found[:size]
    ]
    return Page(results, max(total, skipped + len(found)) if found else total)
