"""Which images the tags of a repository lead to, for checks of repository references."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import NamedTuple

from v1registry.lib import documents
from v1registry.lib.errors import Failure
from v1registry.lib.maintenance.parents import Parents
from v1registry.lib.names import RepositoryName
from v1registry.lib.repositories.tags import Tags
from v1registry.storage import Storage, get_or_none, keys

_KEPT = 200_000  # ids in memory, about 20 MB


class Contained(NamedTuple):
    """The images of a repository; not all of them if not `is_whole`, because one is damaged."""

    ids: frozenset[str]
    is_whole: bool


class Membership:
    """Answers whether a tag of a repository leads to an image. It keeps some answers in memory."""

    def __init__(self, storage: Storage, tags: Tags, parents: Parents) -> None:
        self._storage = storage
        self._tags = tags
        self._parents = parents
        self._sets: OrderedDict[RepositoryName, Contained] = OrderedDict()
        self._count = 0  # ids in all sets
        self._lock = threading.Lock()

    def is_valid(self, key: str, file: str, image_id: str) -> bool | None:
        """Return whether the reference under `key` is right; None if it is damaged.

        `file` is its file name.
        """
        data = get_or_none(self._storage, key)
        try:
            value = documents.load(data or b"")
            name, tag = value["repository"], value["tag"]
            repository = RepositoryName.parse_stored(name)
            is_ours = keys.reference(image_id, str(repository)).endswith(f"/{file}")
        except (ValueError, KeyError, TypeError, AttributeError, Failure):
            return data is None or None  # deleted meanwhile, or damaged
        if not is_ours or not isinstance(tag, str):
            return None
        top = self._tags.get(repository, tag)
        if top is not None and (top == image_id or image_id in self._parents.ancestors(top)):
            return True
        found = self.images(repository)
        return image_id in found.ids or not found.is_whole

    def images(self, repository: RepositoryName) -> Contained:
        """Return the images that the tags of a repository lead to."""
        with self._lock:
            found = self._sets.get(repository)
            if found is not None:
                self._sets.move_to_end(repository)
                return found
        ids: set[str] = set()
        is_whole = True
        for top in set((self._tags.all(repository) or {}).values()):
            if top not in ids:
                ids.update(self._parents.ancestors(top))
                is_whole = is_whole and self._parents.chain(top).end == "base"
        found = Contained(frozenset(ids), is_whole)
        with self._lock:
            self._count += len(found.ids)
            if (other := self._sets.pop(repository, None)) is not None:
                self._count -= len(other.ids)
            self._sets[repository] = found
            while self._count > _KEPT and len(self._sets) > 1:
                self._count -= len(self._sets.popitem(last=False)[1].ids)
        return found

    def forget(self) -> None:
        """Read all tags again when they are needed."""
        with self._lock:
            self._sets.clear()
            self._count = 0
