"""Search over the names of repositories (protocol-v1.md section 6), read from the store itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

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


class Search:
    """Finds repositories by a part of their name; private ones are not shown.

    `offload` runs the walk over the store, which grows with it.
    """

    def __init__(self, storage: Storage, offload: Callable[..., Any]) -> None:
        self._storage = storage
        self._offload = offload
        self._names: list[str] = []
        self._read = float("-inf")

    def find(self, query: str) -> list[str]:
        """Names (`namespace/name`) that contain `query` in any case; all for an empty one."""
        if time.monotonic() > self._read + _LIFE:
            self._names = self._offload(self._walk)
            self._read = time.monotonic()
        wanted = query.lower()
        return [name for name in self._names if wanted in name.lower()]

    def _walk(self) -> list[str]:
        public: set[str] = set()
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
                    (private if "_private" in children else public).add(name)
        return sorted(public - private)
