"""Search and lists of repositories, by statements that read a limited number of rows.

A search uses trigrams first. If few repositories match, it sorts them. If many match, or the query has
only one or two characters, it reads the visible repositories in the order of the results until a
page is full.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import sqlalchemy as sa

from v1registry.index import textsearch
from v1registry.index.database import Database
from v1registry.index.repositories import SHOWN, Repository, read, totals, with_tags
from v1registry.index.schema import namespaces, repositories
from v1registry.index.visibility import BY_NAME, BY_STARS, VisibleRepositories, union, visible_to
from v1registry.lib.auth.rights import Caller
from v1registry.lib.repositories.search import (
    COUNTED,
    DEEPEST,
    READ,
    WHOLE,
    AllResults,
    BrowseQuery,
    Listing,
    Page,
    Row,
    Rows,
    SearchResult,
    Totals,
)
from v1registry.lib.support.single_flight import SingleFlightCache

SORTED = 50_000  # repositories that a page may sort without an index of the database
_COUNT_LIFE = 60.0  # seconds
_INDEXED = ("name", "stars")

_LEAST = 200  # rows to read of each range of visible repositories, at least
_AT_ONCE = 500  # rows that one statement returns

_ROW = tuple(
    repositories.c[name]
    for name in ("id", "name", "is_private", "description", "stars", "pulls", "updated")
)


def _falling(column: str) -> tuple[Callable[[sa.FromClause], Any], ...]:
    return (lambda rows: rows.c[column].desc(), lambda rows: rows.c.name)


#: The columns of each order, the greatest number first.
_ORDERS: dict[str, tuple[Callable[[sa.FromClause], Any], ...]] = {
    "name": (lambda rows: rows.c.name,),
    "pushed": _falling("updated"),
    "pulls": _falling("pulls"),
    "stars": _falling("stars"),
}

_KEYS = (repositories.c.id, repositories.c.stars, repositories.c.name)


class SqlSearch:
    """Search in names and descriptions for an index, whose database decides who sees a repository."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._is_large: SingleFlightCache[bool] = SingleFlightCache(_COUNT_LIFE)

    @property
    def orders(self) -> Sequence[str]:
        """All orders; in a large database only those for which it has indexes."""
        is_large = self._is_large.get("", self._count_rows, keep=lambda _: True)
        return _INDEXED if is_large else tuple(_ORDERS)

    def _count_rows(self) -> bool:
        some = sa.select(repositories.c.id).limit(SORTED + 1).subquery()
        query = sa.select(sa.func.count()).select_from(some)
        return bool(self._database.row(query)[0] > SORTED)

    def find(self, caller: Caller, query: str, size: int, page: int) -> Page:
        """Return a page of the first 10000 results, those with most stars first.

        The total is exact up to 1000 matches. Totals above 1000 are a lower bound. A query of one or
        two characters searches the 5000 visible repositories with most stars. So does a query with
        more than 1000 matches, which also finds 1000 of these anywhere.
        """
        text = textsearch.cleaned(query)
        skipped = (page - 1) * size
        if skipped >= DEEPEST:
            skipped = size = 0

        def work(connection: sa.Connection) -> Page:
            if query and not text:
                return Page([], 0)
            seen = visible_to(connection, _user(caller))
            if text:
                ids, total = _matches(connection, seen, text, skipped + size + 1)
                ids = ids[skipped:]
            else:
                ids, total = _page(connection, seen, skipped, size + 1), _count(connection, seen)
            total = max(total, skipped + len(ids)) if ids else total
            return Page(_found(connection, ids[:size]), total)

        return self._database.read(work)

    def whole(self, caller: Caller, query: str) -> AllResults:
        """Return all results, those with most stars first, among 100000 matches."""
        text = textsearch.cleaned(query)

        def work(connection: sa.Connection) -> array[int]:
            if query and not text:
                return array("q")
            return array("q", _all(connection, visible_to(connection, _user(caller)), text))

        ids = self._database.read(work)
        rows = in_parts(self._database, repositories.c.id, ids, BY_STARS)
        return AllResults(map(_shown, rows), len(ids))

    def listed(self, caller: Caller, after: str, most: int) -> Listing:
        """Return repositories with tags by name, starting after the name `after`."""

        def work(connection: sa.Connection) -> tuple[list[Repository], bool]:
            behind = repositories.c.name > after
            seen = visible_to(connection, _user(caller))
            rows = union(seen.first([repositories.c.name], BY_NAME, most + 1, behind))
            query = sa.select(rows.c.name).order_by(rows.c.name).limit(most + 1)
            names = list(connection.scalars(query))
            found = with_tags(connection, names[:most])
            return found, len(found) < len(names)

        found, is_more = self._database.read(work)
        return Listing([asdict(one) for one in found], found[-1].name if is_more else None)

    def totals(self) -> Totals:
        return self._database.read(totals)

    def browse(self, caller: Caller, query: BrowseQuery) -> Rows:
        """Return a page in any order. A text with more than 5000 matches searches 5000 of them."""
        text = textsearch.cleaned(query.text)
        skipped = (query.page - 1) * query.size
        if skipped >= DEEPEST or (query.text.strip() and not text):
            return Rows([], 0)

        def work(connection: sa.Connection) -> Rows:
            seen = visible_to(connection, _user(caller))
            rows = _browsed(connection, seen, text, query)
            order = [column(rows) for column in _ORDERS[query.order]]
            page = sa.select(rows).order_by(*order).limit(query.size + 1).offset(skipped)
            found = connection.execute(page).all()
            counted = sa.select(rows.c.id).limit(COUNTED + 1).subquery()
            total = connection.scalar(sa.select(sa.func.count()).select_from(counted)) or 0
            total = max(total, skipped + len(found)) if found else total
            return Rows(list(map(_row, found[: query.size])), total)

        return self._database.read(work)


def _browsed(
    connection: sa.Connection, seen: VisibleRepositories, text: str, query: BrowseQuery
) -> sa.Subquery:
    """Return a subquery with the visible repositories that match, as many as the pages can show."""
    in_namespace = _in_namespace(query.namespace)
    if text:
        columns = [*_ROW, repositories.c.namespace_id, seen.condition().label("is_seen")]
        found = textsearch.first_matches(connection, text, READ, columns)
        shown = sa.select(*(found.c[column.name] for column in _ROW)).where(found.c.is_seen)
        if in_namespace is not None:
            shown = shown.where(found.c.namespace_id == in_namespace)
        return shown.subquery()
    order = [column(repositories) for column in _ORDERS[query.order]]
    conditions = [] if in_namespace is None else [repositories.c.namespace_id == in_namespace]
    most = max(COUNTED + 1, query.page * query.size + 1)
    return union(seen.first(_ROW, order, most, *conditions))


def _in_namespace(name: str) -> sa.ScalarSelect[Any] | None:
    if not name:
        return None
    return sa.select(namespaces.c.id).where(namespaces.c.name == name).scalar_subquery()


def _row(row: Any) -> Row:
    return Row(row.name, row.is_private, row.description, row.stars, row.pulls, row.updated)


def _user(caller: Caller) -> str | None:
    """Return the user whose rights apply. Push and pull tokens do not identify a user."""
    return caller.user if caller.grant is None else None


def _page(
    connection: sa.Connection, seen: VisibleRepositories, skipped: int, most: int
) -> list[int]:
    """Return the ids of a page of all visible repositories."""
    rows = union(seen.first(_KEYS, BY_STARS, skipped + most))
    return _ids(connection, rows, most, skipped)


def _all(connection: sa.Connection, seen: VisibleRepositories, text: str) -> list[int]:
    """Return the ids of all visible repositories that contain `text`, among 100000."""
    if not text:
        return _ids(connection, union(seen.first(_KEYS, BY_STARS, WHOLE)), WHOLE)
    if len(text) < textsearch.SHORTEST:
        return _scan(connection, seen, text, WHOLE, looked_at=WHOLE)
    columns = [*_KEYS, seen.condition().label("is_seen")]
    found = textsearch.first_matches(connection, text, WHOLE, columns)
    return _ids(connection, sa.select(found).where(found.c.is_seen).subquery(), WHOLE)


def _count(connection: sa.Connection, seen: VisibleRepositories) -> int:
    """Return the number of visible repositories, at most 1001."""
    rows = union(seen.first([repositories.c.id], BY_STARS, COUNTED + 1))
    some = sa.select(rows.c.id).limit(COUNTED + 1).subquery()
    return int(connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one())


def _matches(
    connection: sa.Connection, seen: VisibleRepositories, text: str, most: int
) -> tuple[list[int], int]:
    """Return the ids of the first matches, and the number of matches as far as counted."""
    few: list[int] = []
    if len(text) >= textsearch.SHORTEST:
        few, are_all = _by_trigrams(connection, seen, text)
        if are_all:
            return few[:most], len(few)
    found = _scan(connection, seen, text, most if few else max(most, COUNTED + 1))
    known = set(found)
    found += [one for one in few if one not in known]  # they come after all rows that were read
    return found[:most], len(found)


def _by_trigrams(
    connection: sa.Connection, seen: VisibleRepositories, text: str
) -> tuple[list[int], bool]:
    """Return the ids of visible matches in order, and whether these are all matches."""
    columns = [*_KEYS, seen.condition().label("is_seen")]
    found = textsearch.first_matches(connection, text, COUNTED + 1, columns)
    query = sa.select(found).order_by(found.c.stars.desc(), found.c.name)
    rows = connection.execute(query).all()
    return [row.id for row in rows if row.is_seen], len(rows) <= COUNTED


def _scan(
    connection: sa.Connection,
    seen: VisibleRepositories,
    text: str,
    most: int,
    looked_at: int = READ,
) -> list[int]:
    """Return the ids of the first matches among `looked_at` rows in the order of the results."""
    columns = (*_KEYS, repositories.c.searched)
    parts = seen.first(columns, BY_STARS, max(_LEAST, looked_at // seen.range_count))
    matching = [
        sa.select(part.c.id, part.c.stars, part.c.name)
        .where(textsearch.contains(connection, text, part.c.searched))
        .limit(most)
        .subquery()
        for part in parts
    ]
    return _ids(connection, union(matching), most)


def _ids(connection: sa.Connection, rows: sa.Subquery, most: int, skipped: int = 0) -> list[int]:
    query = sa.select(rows.c.id).order_by(rows.c.stars.desc(), rows.c.name)
    return list(connection.scalars(query.limit(most).offset(skipped)))


def _found(connection: sa.Connection, ids: Sequence[int]) -> list[SearchResult]:
    query = sa.select(*SHOWN).where(repositories.c.id.in_(ids)).order_by(*BY_STARS)
    shown = read(connection, query, with_tags=False) if ids else []
    return list(map(_shown, shown))


def in_parts(
    database: Database, column: sa.Column[Any], keys: Sequence[Any], order: Sequence[Any]
) -> Iterator[Repository]:
    """Read the repositories with these ids or names, 500 at a time, in the order of `keys`."""
    for start in range(0, len(keys), _AT_ONCE):
        part = column.in_(list(keys[start : start + _AT_ONCE]))
        query = sa.select(*SHOWN).where(part).order_by(*order)
        yield from database.read(partial(read, query=query, with_tags=False))


def _shown(row: Repository) -> SearchResult:
    return SearchResult(row.name, row.description, row.stars, row.is_official, row.is_automated)
