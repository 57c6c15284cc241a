"""Search and lists of repositories for a registry whose index does not decide who sees them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import sqlalchemy as sa

from v1registry.index import textsearch
from v1registry.index.database import Database
from v1registry.index.repositories import totals, with_tags
from v1registry.index.schema import repositories
from v1registry.index.search import in_parts
from v1registry.index.visibility import BY_NAME
from v1registry.lib.auth.rights import Caller, Rights
from v1registry.lib.names import RepositoryName
from v1registry.lib.repositories.search import (
    COUNTED,
    READ,
    WHOLE,
    BrowseQuery,
    Listing,
    NameSearch,
    Row,
    Rows,
    SearchResult,
    Totals,
    bounded,
    paced,
)

_AT_ONCE = 500  # rows that one statement returns

_CHECKED = (repositories.c.name, repositories.c.is_private, repositories.c.searched)


class CheckedSearch(NameSearch):
    """Searches names and descriptions: at most 5000 for a page."""

    orders = ("name",)

    def __init__(self, database: Database, rights: Rights) -> None:
        self._database = database
        self._rights = rights

    def listed(self, caller: Caller, after: str, most: int) -> Listing:
        """Return repositories with tags by name, starting after the name `after`."""
        names, more = self._names(caller, after, most)
        found = self._database.read(partial(with_tags, names=names))
        if len(found) < len(names):
            more = found[-1].name
        return Listing([{"name": one.name, "tags": one.tags} for one in found], more)

    def totals(self) -> Totals:
        return self._database.read(totals)

    def browse(self, caller: Caller, query: BrowseQuery) -> Rows:
        """Return a page by name; see `find`."""
        text = textsearch.cleaned(query.text)
        if query.text.strip() and not text:
            return Rows([], 0)
        prefix = f"{query.namespace}/" if query.namespace else ""
        rows = (row for row in self._candidates(text, prefix) if row.name.startswith(prefix))
        found = bounded((row.name for row in rows if self._sees(caller, row)), query)
        page = in_parts(self._database, repositories.c.name, found.rows, BY_NAME)
        shown = [Row(r.name, r.is_private, r.description, pushed=r.updated) for r in page]
        return Rows(shown, found.total)

    def _names(self, caller: Caller, after: str, most: int) -> tuple[list[str], str | None]:
        """Return visible names, and the name after which the next part of the list starts."""
        names: list[str] = []
        rows: list[Any] = []
        for rows in self._batches("", after):
            for row in rows:
                after = row.name
                if self._sees(caller, row):
                    names.append(after)
                if len(names) == most:
                    return names, after
        return names, after if len(rows) == _AT_ONCE else None

    def _all(self, text: str) -> Iterator[Any]:
        """Yield all matching rows by name, among 100000."""
        if len(text) >= textsearch.SHORTEST:
            yield from self._database.read(partial(_trigram_rows, text=text, most=WHOLE))
            return
        after = ""
        for _ in range(WHOLE // READ):
            rows = self._database.read(partial(_next_rows, after=after))
            yield from (row for row in rows if text in row.searched)
            if len(rows) < READ:
                return
            after = rows[-1].name

    def _candidates(self, text: str, after: str = "") -> Iterator[Any]:
        """Yield matching rows by name: all up to 1000, or else those of a bounded scan after `after`."""
        if len(text) >= textsearch.SHORTEST:
            rows = self._database.read(partial(_trigram_rows, text=text, most=COUNTED + 1))
            if len(rows) <= COUNTED:
                yield from rows
                return
        for batch in self._batches(text, after):
            yield from batch

    def _batches(self, text: str, after: str = "") -> Iterator[list[Any]]:
        """Yield lists of matching rows by name. The last list is shorter, unless a limit ends it."""
        for _ in range(READ // _AT_ONCE):
            rows = self._database.read(partial(self._batch, after=after, text=text))
            yield rows
            if len(rows) < _AT_ONCE:
                return
            after = rows[-1].name

    def _batch(self, connection: sa.Connection, after: str, text: str) -> list[Any]:
        """Return the first 500 matching rows among the next 5000."""
        conditions = [repositories.c.name > after, repositories.c.is_gone == sa.false()]
        if self._rights.open:
            conditions.append(repositories.c.is_private == sa.false())
        inner = sa.select(*_CHECKED).where(*conditions).order_by(repositories.c.name)
        rows = inner.limit(READ).subquery()
        query = sa.select(rows).order_by(rows.c.name).limit(_AT_ONCE)
        if text:
            query = query.where(textsearch.contains(connection, text, rows.c.searched))
        return list(connection.execute(query))

    def _results(self, names: Sequence[str]) -> Iterator[SearchResult]:
        rows = in_parts(self._database, repositories.c.name, names, BY_NAME)
        return (SearchResult(row.name, row.description) for row in rows)

    def _visible(self, caller: Caller, query: str, *, whole: bool = False) -> Iterator[str]:
        text = textsearch.cleaned(query)
        rows: Iterable[Any] = ()
        if text or not query:
            rows = paced(self._all(text)) if whole else self._candidates(text)
        return (row.name for row in rows if self._sees(caller, row))

    def _sees(self, caller: Caller, row: Any) -> bool:
        if row.is_private and self._rights.open:
            return False
        repository = RepositoryName.parse_stored(row.name)
        return self._rights.may_see(caller, repository, private=row.is_private)


def _trigram_rows(connection: sa.Connection, text: str, most: int) -> list[Any]:
    """Return `most` rows that trigrams find, by name."""
    found = textsearch.first_matches(connection, text, most, _CHECKED)
    return list(connection.execute(sa.select(found).order_by(found.c.name)))


def _next_rows(connection: sa.Connection, after: str) -> list[Any]:
    """Return the next 5000 rows by name, after the name `after`."""
    shown = repositories.c.is_gone == sa.false()
    query = sa.select(*_CHECKED).where(repositories.c.name > after, shown)
    return list(connection.execute(query.order_by(repositories.c.name).limit(READ)))
