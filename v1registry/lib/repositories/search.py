"""Searching and listing repositories (protocol-v1.md section 6).

Without an index's database, `StoreSearch` finds repositories by the names in the store
(`RepositoryNameIndex`).
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
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

COUNTED = 1000  # matches up to which the total is exact; a larger total is a lower bound
DEEPEST = 10_000  # results that the pages of a query reach; a list has no such limit
WHOLE = 100_000  # matches that a search without pages checks and returns at most
READ = 5000  # repositories that a query without a search index checks one by one
LISTED_TAGS = 10_000  # tags in one page of a list, unless its first repository has more
_AT_ONCE = 200  # items between two pauses, a few milliseconds of work


@dataclass(frozen=True, slots=True)
class SearchResult:
    """One result. `stars` and the flags are None without an index's database."""

    name: str
    description: str = ""
    stars: int | None = None
    is_official: bool | None = None
    is_automated: bool | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """The results of one page, and the number on all pages."""

    results: Sequence[SearchResult]
    total: int


@dataclass(frozen=True, slots=True)
class AllResults:
    """All results of a search, read lazily, and their number."""

    results: Iterator[SearchResult]
    total: int


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of a list: repositories by name, with `tags` and other fields.

    If there may be more, `more` is the name after which the next page begins. So a page may be short
    or empty without being the last.
    """

    repositories: Sequence[Mapping[str, Any]]
    more: str | None


@dataclass(frozen=True, slots=True)
class BrowseQuery:
    """What a page shows: names with `text`, in `namespace` ("": all), by `order`, from page 1."""

    text: str = ""
    namespace: str = ""
    order: str = "name"
    page: int = 1
    size: int = 50


@dataclass(frozen=True, slots=True)
class Row:
    """One repository on a page. `pushed` in seconds since the epoch. None: not known here."""

    name: str
    is_private: bool
    description: str = ""
    stars: int | None = None
    pulls: int | None = None
    pushed: int | None = None


@dataclass(frozen=True, slots=True)
class Rows:
    """One page of repositories. The total is exact up to 1000; above, it is a lower bound."""

    rows: Sequence[Row]
    total: int


@dataclass(frozen=True, slots=True)
class Totals:
    """The numbers of all repositories and tags; `tags` is None if only a walk could count them."""

    repositories: int
    tags: int | None = None


class Search(Protocol):
    """Finds the repositories that the caller may pull, and no others.

    `orders` are the values that `BrowseQuery.order` may have.
    """

    @property
    def orders(self) -> Sequence[str]: ...

    def find(self, caller: Caller, query: str, size: int, page: int) -> Page:
        """Return a page, from 1, of the names that contain `query`, ignoring case."""

    def whole(self, caller: Caller, query: str) -> AllResults:
        """Return all results, at most 100000."""

    def listed(self, caller: Caller, after: str, most: int) -> Listing:
        """Return at most `most` repositories after `after`, by name."""

    def browse(self, caller: Caller, query: BrowseQuery) -> Rows:
        """Return one page of the first 10000 repositories."""

    def totals(self) -> Totals:
        """Return the numbers for an administrator, without a walk over the store."""


@dataclass(frozen=True, slots=True)
class Bounded:
    """The names of one page, and their number as far as counted."""

    rows: Sequence[str]
    total: int


def bounded(names: Iterator[str], query: BrowseQuery) -> Bounded:
    """Return the page of `names` that `query` asks for. Count at most 1000 names or to its end."""
    start = (query.page - 1) * query.size
    most = max(COUNTED, start + query.size) + 1 if start < DEEPEST else COUNTED + 1
    found = list(islice(names, most))
    return Bounded(found[start : start + query.size], len(found))


def paced(items: Iterable[T]) -> Iterator[T]:
    """Yield the items, and let other greenlets or threads run after every 200 of them."""
    for number, item in enumerate(items, 1):
        if number % _AT_ONCE == 0:
            time.sleep(0)
        yield item


class NameSearch(ABC):
    """A search by name that checks the rights for each match, for a bounded number of matches."""

    def find(self, caller: Caller, query: str, size: int, page: int) -> Page:
        """Return a page by name. The total is exact up to 1000."""
        found = bounded(self._visible(caller, query), BrowseQuery(page=page, size=size))
        return Page(list(self._results(found.rows)), found.total)

    def whole(self, caller: Caller, query: str) -> AllResults:
        """Return all results by name, among the first 100000 matches."""
        found = list(self._visible(caller, query, whole=True))
        return AllResults(self._results(found), len(found))

    @abstractmethod
    def _visible(self, caller: Caller, query: str, *, whole: bool = False) -> Iterator[str]:
        """Yield the names that the caller may see, among the first 5000 matches; if `whole`, 100000."""

    @abstractmethod
    def _results(self, names: Sequence[str]) -> Iterator[SearchResult]:
        """Yield the results of these names."""


class StoreSearch(NameSearch):
    """Searches names. The work for one request is bounded for any number of repositories."""

    orders = ("name",)

    def __init__(self, name_index: RepositoryNameIndex, tags: Tags, rights: Rights) -> None:
        self._name_index = name_index
        self._tags = tags
        self._rights = rights

    def _visible(self, caller: Caller, query: str, *, whole: bool = False) -> Iterator[str]:
        names = self._name_index.names()
        matches = names.containing(query.strip())
        some = paced(islice(matches, WHOLE)) if whole else islice(matches, READ)
        return self._seen(caller, names, some)

    def _results(self, names: Sequence[str]) -> Iterator[SearchResult]:
        return map(SearchResult, names)

    def listed(self, caller: Caller, after: str, most: int) -> Listing:
        names = self._name_index.names()
        first = bisect_right(names.all, after)
        some = names.all[first : first + READ]
        shown: list[Mapping[str, Any]] = []
        count = 0
        for name in self._seen(caller, names, some):
            repository = _parsed(name)
            # The flag may have changed since the names were read.
            if repository is not None and self._rights.may(caller, repository, Access.PULL):
                tags = self._tags.all(repository) or {}
                shown.append({"name": name, "tags": tags})
                count += len(tags)
            if len(shown) == most or count > LISTED_TAGS:
                return Listing(shown, name if name != names.all[-1] else None)
        return Listing(shown, some[-1] if first + len(some) < len(names.all) else None)

    def browse(self, caller: Caller, query: BrowseQuery) -> Rows:
        """Check the first 5000 names that match; see `find`."""
        names = self._name_index.names()
        prefix = f"{query.namespace}/" if query.namespace else ""
        matches: Iterable[str] = names.containing(query.text.strip())
        if prefix:
            matches = names.beginning(prefix)
            text = query.text.strip().lower()
            matches = (name for name in matches if text in name.lower())
        found = bounded(self._seen(caller, names, islice(matches, READ)), query)
        rows = [Row(name, name in names.private) for name in found.rows]
        return Rows(rows, found.total)

    def totals(self) -> Totals:
        return Totals(len(self._name_index.names().all))

    def _seen(self, caller: Caller, names: NameSnapshot, some: Iterable[str]) -> Iterator[str]:
        """Yield the names that the caller may see: those of the repositories it may pull.

        Anonymous clients never see private repositories, not even in a registry without accounts.
        """
        for name in some:
            private = name in names.private
            if private and (self._rights.open or caller.is_anonymous):
                continue
            repository = _parsed(name)
            if repository is not None and self._rights.may_see(caller, repository, private=private):
                yield name


def _parsed(name: str) -> RepositoryName | None:
    try:
        return RepositoryName.parse_stored(name)
    except Failure:
        return None
