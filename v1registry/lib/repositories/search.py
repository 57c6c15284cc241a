"""Searching repositories (protocol-v1.md section 6), and listing them; without an index of our own
by their names in the store (`lib.roster`).
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol, TypeVar

from v1registry.lib.auth.rights import Access, Caller, Rights
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName
from v1registry.lib.repositories.name_index import NameSnapshot, RepositoryNameIndex
from v1registry.lib.repositories.tags import Tags

T = TypeVar("T")

COUNTED = 1000  # matches of a query: more are said to be "more than shown"
DEEPEST = 10_000  # results of a query that pages may be turned to; a list has no such end
WHOLE = 100_000  # matches that a search without pages looks at, and shows at most
READ = 5000  # repositories that are looked at, one by one, for what no search index helps to find
LISTED_TAGS = 10_000  # tags in a part of a list, unless its first repository has more
_AT_ONCE = 200  # items between two pauses: some milliseconds of work


@dataclass(frozen=True, slots=True)
class SearchResult:
    """One result. Where nobody keeps stars and flags, they are None."""

    name: str
    description: str = ""
    stars: int | None = None
    is_official: bool | None = None
    is_automated: bool | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Results, and how many there are on all pages."""

    results: Sequence[SearchResult]
    total: int


@dataclass(frozen=True, slots=True)
class AllResults:
    """All results of a search, read as far as they are taken, and their number."""

    results: Iterator[SearchResult]
    total: int


@dataclass(frozen=True, slots=True)
class Listing:
    """A part of a list: repositories by name, with `tags` and what else is known. If there may be
    more, `more` is what they are behind; so a part may be short, or empty, and not the last.
    """

    repositories: Sequence[Mapping[str, Any]]
    more: str | None


class Search(Protocol):
    """Finds repositories that the asker may pull, and no others."""

    def find(self, asker: Caller, query: str, size: int, page: int) -> Page:
        """A page, from 1, of those that `query` is a part of, in any case; of all for an empty one."""

    def whole(self, asker: Caller, query: str) -> AllResults:
        """The same without pages: all results, up to 100000."""

    def listed(self, asker: Caller, after: str, most: int) -> Listing:
        """By name, those behind `after`, at most so many."""


def paced(items: Iterable[T]) -> Iterator[T]:
    """Yield the items, and let other greenlets or threads run after every 200 of them."""
    for number, item in enumerate(items, 1):
        if number % _AT_ONCE == 0:
            time.sleep(0)
        yield item


class StoreSearch:
    """Searches names. What it looks at for one request is bounded, however many there are."""

    def __init__(self, roster: RepositoryNameIndex, tags: Tags, rights: Rights) -> None:
        self._roster = roster
        self._tags = tags
        self._rights = rights

    def find(self, asker: Caller, query: str, size: int, page: int) -> Page:
        """By name, among the first 5000 that fit; the count is right up to 1000."""
        names = self._roster.names()
        start = (page - 1) * size
        most = max(COUNTED, start + size) + 1 if start < DEEPEST else COUNTED + 1
        fit = islice(names.holding(query.strip()), READ)
        found = list(islice(self._seen(asker, names, fit), most))
        return Page([SearchResult(name) for name in found[start : start + size]], len(found))

    def whole(self, asker: Caller, query: str) -> AllResults:
        """By name, among the first 100000 that fit."""
        names = self._roster.names()
        fit = paced(islice(names.holding(query.strip()), WHOLE))
        found = list(self._seen(asker, names, fit))
        return AllResults(map(SearchResult, found), len(found))

    def listed(self, asker: Caller, after: str, most: int) -> Listing:
        names = self._roster.names()
        first = bisect_right(names.all, after)
        some = names.all[first : first + READ]
        shown: list[Mapping[str, Any]] = []
        count = 0
        for name in self._seen(asker, names, some):
            repository = _parsed(name)
            # the flag may be newer than the names are
            if repository is not None and self._rights.may(asker, repository, Access.PULL):
                tags = self._tags.all(repository) or {}
                shown.append({"name": name, "tags": tags})
                count += len(tags)
            if len(shown) == most or count > LISTED_TAGS:
                return Listing(shown, name if name != names.all[-1] else None)
        return Listing(shown, some[-1] if first + len(some) < len(names.all) else None)

    def _seen(self, asker: Caller, names: NameSnapshot, some: Iterable[str]) -> Iterator[str]:
        """Those that the asker may see, which is who may pull them. Private ones hide from nobody
        in particular, where there are no accounts too.
        """
        for name in some:
            private = name in names.private
            if private and (self._rights.open or asker.is_nobody):
                continue
            repository = _parsed(name)
            if repository is not None and self._rights.sees(asker, repository, private=private):
                yield name


def _parsed(name: str) -> RepositoryName | None:
    try:
        return RepositoryName.parse_stored(name)
    except Failure:
        return None
