"""Searching repositories (protocol-v1.md section 6), and listing them; without an index of our own
by their names, which are read from the store itself.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName
from v1registry.lib.rights import Access, Asker, Rights
from v1registry.lib.tags import Tags
from v1registry.storage import Storage, keys

_LIFE = 10.0  # seconds that the names are kept: a new repository is found after this at the latest


@dataclass(frozen=True, slots=True)
class Found:
    """One result. Where nobody keeps stars and flags, they are None."""

    name: str
    description: str = ""
    stars: int | None = None
    is_official: bool | None = None
    is_automated: bool | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Results, and how many there are on all pages."""

    results: Sequence[Found]
    total: int


class Search(Protocol):
    """Finds repositories that the asker may pull, and no others."""

    def find(self, asker: Asker, query: str, size: int, page: int) -> Page:
        """A page, from 1, of those that `query` is a part of, in any case; of all for an empty one."""

    def listed(self, asker: Asker, after: str, most: int) -> Sequence[Mapping[str, Any]]:
        """By name, those behind `after`, at most so many: `name`, `tags`, and what else is known."""


class StoreSearch:
    """Searches names. `offload` runs the walk over the store, which grows with it."""

    def __init__(
        self, storage: Storage, tags: Tags, rights: Rights, offload: Callable[..., Any]
    ) -> None:
        self._storage = storage
        self._tags = tags
        self._rights = rights
        self._offload = offload
        self._names: list[str] = []
        self._private: set[str] = set()
        self._read = float("-inf")

    def find(self, asker: Asker, query: str, size: int, page: int) -> Page:
        wanted = query.lower()
        found = [
            name for name in self._all() if wanted in name.lower() and self._shows(asker, name)
        ]
        start = (page - 1) * size
        return Page([Found(name) for name in found[start : start + size]], len(found))

    def listed(self, asker: Asker, after: str, most: int) -> list[Mapping[str, Any]]:
        names = self._all()
        behind = islice(names, bisect_right(names, after), None)
        shown = (
            parsed
            for name in behind
            if self._shows(asker, name) and (parsed := _parsed(name)) is not None
        )
        return [
            {"name": str(repository), "tags": self._tags.all(repository) or {}}
            for repository in islice(shown, most)
        ]

    def _shows(self, asker: Asker, name: str) -> bool:
        """Whether the asker may see the repository, which is who may pull it. Private ones hide
        from nobody in particular, where there are no accounts too, and when they are gone since
        the names were read. What 0.x stored and nobody can ask for is seen where all is.
        """
        if name in self._private and (self._rights.open or asker.is_nobody):
            return False
        repository = _parsed(name)
        if repository is None:
            return self._rights.open
        return self._rights.may(asker, repository, Access.PULL)

    def _all(self) -> list[str]:
        if time.monotonic() > self._read + _LIFE:
            self._names, self._private = self._offload(self._walk)
            self._read = time.monotonic()
        return self._names

    def _walk(self) -> tuple[list[str], set[str]]:
        """All names (`namespace/name`), and those of private ones."""
        every: set[str] = set()
        private: set[str] = set()
        for namespace in self._storage.list(keys.REPOSITORIES):
            if not namespace.is_folder:
                continue
            folder = f"{keys.REPOSITORIES}/{namespace.name}"
            for repository in self._storage.list(folder):
                children = {
                    entry.name for entry in self._storage.list(f"{folder}/{repository.name}")
                }
                if children:
                    name = f"{keys.decode(namespace.name)}/{keys.repository_name(repository.name)}"
                    every.add(name)
                    if "_private" in children:
                        private.add(name)
        return sorted(every), private


def _parsed(name: str) -> RepositoryName | None:
    try:
        return RepositoryName.parse(name)
    except Failure:
        return None
