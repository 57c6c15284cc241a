"""Searching and listing by statements that look at so many rows and no more, however many there are.

A query is looked up by trigrams first. What few repositories fit is then sorted. Where many do, or
where trigrams help nothing (one or two letters), those that one may see are read, the best first,
until a page is full.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from itertools import islice
from typing import Any

import sqlalchemy as sa

from v1registry.index import textsearch
from v1registry.index.database import Database
from v1registry.index.repositories import SHOWN, read, with_tags
from v1registry.index.schema import repositories
from v1registry.index.visibility import BY_NAME, BY_STARS, VisibleRepositories, joined, sight
from v1registry.lib.auth.index_interface import Repository
from v1registry.lib.auth.rights import Caller, Rights
from v1registry.lib.names import RepositoryName
from v1registry.lib.repositories.search import (
    COUNTED,
    DEEPEST,
    READ,
    WHOLE,
    AllResults,
    Listing,
    Page,
    SearchResult,
    paced,
)

_LEAST = 200  # rows that are read of each piece of what one may see, however many pieces
_AT_ONCE = 500  # rows that are read to be looked through here

_CHECKED = (repositories.c.name, repositories.c.is_private, repositories.c.searched)
_KEYS = (repositories.c.id, repositories.c.stars, repositories.c.name)


class SqlSearch:
    """Searches names and descriptions in the database, which knows who may see what, too."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, asker: Caller, query: str, size: int, page: int) -> Page:
        """Best starred first, the first 10000.

        The count is right up to 1000 matches; beyond, it is at least one more than there is up to
        this page, if anything follows. One or two letters are looked for in the 5000 best starred
        of those that the asker may see; so is what more than 1000 repositories fit, but then 1000
        of these are found wherever they stand.
        """
        text = textsearch.cleaned(query)
        skipped = (page - 1) * size
        if skipped >= DEEPEST:
            skipped = size = 0

        def work(connection: sa.Connection) -> Page:
            if query and not text:
                return Page([], 0)
            seen = sight(connection, _user(asker))
            if text:
                ids, total = _matching(connection, seen, text, skipped + size + 1)
                ids = ids[skipped:]
            else:
                ids, total = _best(connection, seen, skipped, size + 1), _count(connection, seen)
            total = max(total, skipped + len(ids)) if ids else total
            return Page(_found(connection, ids[:size]), total)

        return self._database.read(work)

    def whole(self, asker: Caller, query: str) -> AllResults:
        """Best starred first, among 100000 that fit. Results are read in parts."""
        text = textsearch.cleaned(query)

        def work(connection: sa.Connection) -> array[int]:
            if query and not text:
                return array("q")
            return array("q", _all(connection, sight(connection, _user(asker)), text))

        ids = self._database.read(work)
        rows = _in_parts(self._database, repositories.c.id, ids, BY_STARS)
        return AllResults(map(_shown, rows), len(ids))

    def listed(self, asker: Caller, after: str, most: int) -> Listing:
        def work(connection: sa.Connection) -> tuple[list[Repository], bool]:
            behind = repositories.c.name > after
            seen = sight(connection, _user(asker))
            rows = joined(seen.first([repositories.c.name], BY_NAME, most + 1, behind))
            query = sa.select(rows.c.name).order_by(rows.c.name).limit(most + 1)
            names = list(connection.scalars(query))
            found = with_tags(connection, names[:most])
            return found, len(found) < len(names)

        found, is_more = self._database.read(work)
        return Listing([asdict(one) for one in found], found[-1].name if is_more else None)


class CheckedSearch:
    """The same where somebody else than the index knows who may see what.

    Names are looked at in order, and 5000 of those that a query fits at most.
    """

    def __init__(self, database: Database, rights: Rights) -> None:
        self._database = database
        self._rights = rights

    def find(self, asker: Caller, query: str, size: int, page: int) -> Page:
        """By name. The count is right up to 1000."""
        text = textsearch.cleaned(query)
        start = (page - 1) * size
        if query and not text:
            return Page([], 0)
        most = max(COUNTED, start + size) + 1 if start < DEEPEST else COUNTED + 1
        shown = (row for row in self._matching(text) if self._sees(asker, row))
        found = list(islice(shown, most))
        results = [SearchResult(r.name, r.description) for r in found[start : start + size]]
        return Page(results, len(found))

    def whole(self, asker: Caller, query: str) -> AllResults:
        """By name, among the first 100000 that fit. Descriptions are read in parts."""
        text = textsearch.cleaned(query)
        if query and not text:
            return AllResults(iter(()), 0)
        names = [row.name for row in self._all(text) if self._sees(asker, row)]
        rows = _in_parts(self._database, repositories.c.name, names, BY_NAME)
        return AllResults((SearchResult(row.name, row.description) for row in rows), len(names))

    def _all(self, text: str) -> Iterator[Any]:
        """Name and privacy of all that fit, by name."""
        if len(text) >= textsearch.SHORTEST:
            yield from paced(self._database.read(partial(_fitting, text=text)))
            return
        after = ""
        for _ in range(WHOLE // READ):
            rows = self._database.read(partial(_behind, after=after))
            yield from paced(row for row in rows if text in row.searched)
            if len(rows) < READ:
                return
            after = rows[-1].name

    def listed(self, asker: Caller, after: str, most: int) -> Listing:
        names, more = self._names(asker, after, most)
        found = self._database.read(partial(with_tags, names=names))
        if len(found) < len(names):
            more = found[-1].name
        return Listing([{"name": one.name, "tags": one.tags} for one in found], more)

    def _names(self, asker: Caller, after: str, most: int) -> tuple[list[str], str | None]:
        """Names of a part of the list, and what the next part is behind, if there may be one."""
        names: list[str] = []
        for _ in range(READ // _AT_ONCE):
            rows = self._database.read(partial(self._some, after=after, text=""))
            for row in rows:
                after = row.name
                if self._sees(asker, row):
                    names.append(after)
                if len(names) == most:
                    return names, after
            if len(rows) < _AT_ONCE:
                return names, None
        return names, after

    def _matching(self, text: str) -> Iterator[Repository]:
        few = self._database.read(partial(self._few, text=text)) if text else None
        if few is not None:
            yield from few
            return
        after = ""
        for _ in range(READ // _AT_ONCE):
            rows = self._database.read(partial(self._some, after=after, text=text))
            yield from rows
            if len(rows) < _AT_ONCE:
                return
            after = rows[-1].name

    def _few(self, connection: sa.Connection, text: str) -> list[Repository] | None:
        """What trigrams find, if they can and it is not too much."""
        if len(text) < textsearch.SHORTEST:
            return None
        found = textsearch.first(connection, text, COUNTED + 1, SHOWN)
        rows = read(connection, sa.select(found).order_by(found.c.name), with_tags=False)
        return rows if len(rows) <= COUNTED else None

    def _some(self, connection: sa.Connection, after: str, text: str) -> list[Repository]:
        behind = repositories.c.name > after
        piece = sa.true() if not self._rights.open else repositories.c.is_private == sa.false()
        shown = repositories.c.is_gone == sa.false()
        inner = sa.select(*SHOWN, repositories.c.searched).where(behind, piece, shown)
        rows = inner.order_by(repositories.c.name).limit(READ).subquery()
        query = sa.select(rows).order_by(rows.c.name).limit(_AT_ONCE)
        if text:
            query = query.where(textsearch.contains(connection, text, rows.c.searched))
        return read(connection, query, with_tags=False)

    def _sees(self, asker: Caller, row: Any) -> bool:
        if row.is_private and self._rights.open:
            return False
        repository = RepositoryName.parse_stored(row.name)
        return self._rights.sees(asker, repository, private=row.is_private)


def _user(asker: Caller) -> str | None:
    """In whose eyes things are shown: a token is for an image's way, and no more."""
    return asker.user if asker.grant is None else None


def _best(
    connection: sa.Connection, seen: VisibleRepositories, skipped: int, most: int
) -> list[int]:
    """Ids of so many of everything, behind those that are skipped."""
    rows = joined(seen.first(_KEYS, BY_STARS, skipped + most))
    return _ids(connection, rows, most, skipped)


def _all(connection: sa.Connection, seen: VisibleRepositories, text: str) -> list[int]:
    """Ids of all that `text` is a part of, among so many as a search without pages looks at."""
    if not text:
        return _ids(connection, joined(seen.first(_KEYS, BY_STARS, WHOLE)), WHOLE)
    if len(text) < textsearch.SHORTEST:
        return _read(connection, seen, text, WHOLE, looked_at=WHOLE)
    columns = [*_KEYS, seen.condition().label("is_seen")]
    found = textsearch.first(connection, text, WHOLE, columns)
    return _ids(connection, sa.select(found).where(found.c.is_seen).subquery(), WHOLE)


def _fitting(connection: sa.Connection, text: str) -> list[Any]:
    """Those that trigrams find, by name."""
    found = textsearch.first(connection, text, WHOLE, _CHECKED)
    return list(connection.execute(sa.select(found).order_by(found.c.name)))


def _behind(connection: sa.Connection, after: str) -> list[Any]:
    """The next repositories behind a name."""
    shown = repositories.c.is_gone == sa.false()
    query = sa.select(*_CHECKED).where(repositories.c.name > after, shown)
    return list(connection.execute(query.order_by(repositories.c.name).limit(READ)))


def _count(connection: sa.Connection, seen: VisibleRepositories) -> int:
    """How many there are, up to one more than are counted."""
    rows = joined(seen.first([repositories.c.id], BY_STARS, COUNTED + 1))
    some = sa.select(rows.c.id).limit(COUNTED + 1).subquery()
    return int(connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one())


def _matching(
    connection: sa.Connection, seen: VisibleRepositories, text: str, most: int
) -> tuple[list[int], int]:
    """Ids of the first of what `text` is a part of, and how many there are as far as counted."""
    few: list[int] = []
    if len(text) >= textsearch.SHORTEST:
        few, are_all = _by_trigrams(connection, seen, text)
        if are_all:
            return few[:most], len(few)
    found = _read(connection, seen, text, most if few else max(most, COUNTED + 1))
    known = set(found)
    found += [one for one in few if one not in known]  # they stand behind all that was read
    return found[:most], len(found)


def _by_trigrams(
    connection: sa.Connection, seen: VisibleRepositories, text: str
) -> tuple[list[int], bool]:
    """Ids of what matches and is to be seen, in order, and whether these are all."""
    columns = [*_KEYS, seen.condition().label("is_seen")]
    found = textsearch.first(connection, text, COUNTED + 1, columns)
    query = sa.select(found).order_by(found.c.stars.desc(), found.c.name)
    rows = connection.execute(query).all()
    return [row.id for row in rows if row.is_seen], len(rows) <= COUNTED


def _read(
    connection: sa.Connection,
    seen: VisibleRepositories,
    text: str,
    most: int,
    looked_at: int = READ,
) -> list[int]:
    """Ids of the first that match among the rows that are read."""
    columns = (*_KEYS, repositories.c.searched)
    parts = seen.first(columns, BY_STARS, max(_LEAST, looked_at // seen.pieces))
    matching = [
        sa.select(part.c.id, part.c.stars, part.c.name)
        .where(textsearch.contains(connection, text, part.c.searched))
        .limit(most)
        .subquery()
        for part in parts
    ]
    return _ids(connection, joined(matching), most)


def _ids(connection: sa.Connection, rows: sa.Subquery, most: int, skipped: int = 0) -> list[int]:
    query = sa.select(rows.c.id).order_by(rows.c.stars.desc(), rows.c.name)
    return list(connection.scalars(query.limit(most).offset(skipped)))


def _found(connection: sa.Connection, ids: Sequence[int]) -> list[SearchResult]:
    query = sa.select(*SHOWN).where(repositories.c.id.in_(ids)).order_by(*BY_STARS)
    shown = read(connection, query, with_tags=False) if ids else []
    return list(map(_shown, shown))


def _in_parts(
    database: Database, column: sa.Column[Any], keys: Sequence[Any], order: Sequence[Any]
) -> Iterator[Repository]:
    """The repositories with these ids or names, which are in order."""
    for start in range(0, len(keys), _AT_ONCE):
        part = column.in_(list(keys[start : start + _AT_ONCE]))
        query = sa.select(*SHOWN).where(part).order_by(*order)
        yield from database.read(partial(read, query=query, with_tags=False))


def _shown(row: Repository) -> SearchResult:
    return SearchResult(row.name, row.description, row.stars, row.is_official, row.is_automated)
