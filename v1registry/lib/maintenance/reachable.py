"""Finds the images that clients can still get: through a tag, or because a push uses them now."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from itertools import islice
from typing import TypeVar

from v1registry.lib.images.images import parent_of
from v1registry.lib.names import ImageId
from v1registry.lib.repositories import walk
from v1registry.lib.repositories.backfill import BackfillRun
from v1registry.lib.repositories.tags import Tags
from v1registry.storage import Storage, keys
from v1registry.storage.errors import NotFound

T = TypeVar("T")
R = TypeVar("R")

_AT_ONCE = 5000  # images that are submitted to the threads at a time


class ReachableImages:
    """The ids of the images that tags or running pushes lead to.

    `run` has the progress and receives a problem for each tag or repository that cannot be read.
    """

    def __init__(self, storage: Storage, tags: Tags, pool: Executor, run: BackfillRun) -> None:
        self._storage = storage
        self._tags = tags
        self._pool = pool
        self._run = run
        self.ids: set[str] = set()

    def read(self) -> None:
        """Add all images that tags and running pushes lead to. Raise StorageError.

        Read the list of all images before: then every push of a listed image is seen here.
        """
        for count, repository in enumerate(walk.repositories(self._storage, self._run.left_out), 1):
            tags = self._tags.all(repository, self._run.unreadable(repository)) or {}
            self.add(set(tags.values()))
            self._run.progress("repositories", count, None)
        self.add(self._pushed())
        # Of a store that is not mounted, the walk above sees nothing.
        self._storage.require_marker()

    def add(self, ids: Iterable[str]) -> None:
        """Add these images and their ancestors."""
        read = self._both
        waiting = [id for id in ids if id not in self.ids and ImageId.is_valid(id)]
        while waiting:
            self.ids.update(waiting)
            self._run.progress("images", len(self.ids), None)
            found = {id for ids in mapped(self._pool, read, waiting) for id in ids}
            waiting = [id for id in found if id not in self.ids]
            read = self._parents

    def _both(self, image_id: str) -> list[str]:
        """Return the parent by the JSON and all ancestors by the ancestry: v1 and v2 may differ."""
        ids = self._parents(image_id)
        try:
            stored = json.loads(self._storage.get(keys.image(image_id, "ancestry")))
        except (NotFound, ValueError):
            return ids
        more = stored if isinstance(stored, list) else []
        return ids + [str(id) for id in more if ImageId.is_valid(id)]

    def _parents(self, image_id: str) -> list[str]:
        return _parent(self._storage, keys.image(image_id, "json"))

    def _pushed(self) -> Iterator[str]:
        """Yield the images that running pushes send, and their parents."""
        for entry in self._storage.list(keys.PUSHES):
            yield entry.name
            for file in self._storage.list(f"{keys.PUSHES}/{entry.name}"):
                if file.name.startswith("json-"):
                    yield from _parent(self._storage, f"{keys.PUSHES}/{entry.name}/{file.name}")


def mapped(pool: Executor, function: Callable[[T], R], values: Iterable[T]) -> Iterator[R]:
    """Yield the results of `function` in order. It runs in the pool, for some values at a time."""
    rest = iter(values)
    while some := list(islice(rest, _AT_ONCE)):
        yield from pool.map(function, some)


def children_first(parents: dict[str, str | None]) -> Iterator[str]:
    """Yield the ids so that every image comes before its parent; of a loop, in any order."""
    children = dict.fromkeys(parents, 0)
    for parent in parents.values():
        if parent in children:
            children[parent] += 1
    ready = [id for id, count in children.items() if not count]
    while ready:
        id = ready.pop()
        yield id
        del children[id]
        parent = parents[id]
        if parent in children:
            children[parent] -= 1
            if not children[parent]:
                ready.append(parent)
    yield from children


def _parent(storage: Storage, key: str) -> list[str]:
    try:
        parent = parent_of(storage.get(key))
    except NotFound:
        return []
    return [parent] if parent else []
