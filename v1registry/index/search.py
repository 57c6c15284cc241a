"""Search and listing by statements whose cost does not grow with the number of repositories.

What a query finds is counted first, up to a limit. Few are then sorted; of many, which lie close,
the best are read in order until a page is full.
"""

from __future__ import annotations

import sqlalchemy as sa

from v1registry.index import textsearch
from v1registry.index.database import Database
from v1registry.index.repositories import SHOWN, read, visible
from v1registry.index.schema import repositories
from v1registry.lib.search import Found, Page

_COUNTED = 1000  # matches of a query: more are said to be "more than shown"
_DEEPEST = 1_000_000  # rows that are passed over to come to a page


class SqlSearch:
    """Searches names and descriptions in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, user: str | None, query: str, size: int, page: int) -> Page:
        """One page, from 1, of what `user` may see and `query` is a part of, best starred first.

        The count is right up to 1000 matches, and for an empty query; beyond, it is at least one
        more than there is up to this page, if anything follows.
        """
        text = textsearch.cleaned(query)
        skipped = min((page - 1) * size, _DEEPEST)

        def work(connection: sa.Connection) -> Page:
            may_see = visible(connection, user)
            if query and not text:
                return Page([], 0)
            if not text:
                total = _count(connection, repositories, may_see, None)
                return _page(connection, repositories, may_see, size, skipped, total)
            source, matches = textsearch.narrow(connection, text)
            where = sa.and_(matches, may_see)
            total = _count(connection, source, where, _COUNTED + 1)
            if total <= _COUNTED:
                return _page(connection, source, where, size, skipped, total)
            where = sa.and_(textsearch.contains(text), may_see)
            return _page(connection, repositories, where, size, skipped, total)

        return self._database.read(work)


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
    found = read(connection, query)
    results = [
        Found(r.name, r.description, r.stars, r.is_official, r.is_automated) for r in found[:size]
    ]
    return Page(results, max(total, skipped + len(found)) if found else total)
