"""Reading tags: which image each of a repository's tags points to."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from functools import lru_cache

from v1registry.lib.cache import Cache
from v1registry.lib.names import ImageId, RepositoryName
from v1registry.storage import Entry, Storage, keys
from v1registry.storage.errors import NotFound

_PREFIX = "tag_"
_KNOWN = 10_000  # ids that are kept, some 2 MB


class Tags:
    """Reads the tags of a store.

    A tag may change at any time, by any node, so nothing is kept of where it points. But where a
    listing tells the MD5 of each file, and the same bytes were read before, they are known.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._known: Cache[str] = Cache(_KNOWN, math.inf, lambda _: 1)  # by MD5

    def all(self, repository: RepositoryName) -> dict[str, str] | None:
        """All tags with their image ids; None if nothing at all is stored there."""
        found: dict[str, str] = {}
        anything = False
        for folder in reversed(repository.folders):
            for entry in self._storage.list(folder):
                anything = True
                if entry.name.startswith(_PREFIX) and not entry.is_folder:
                    image_id = self._listed(folder, entry)
                    if image_id is not None:
                        found[keys.decode(entry.name)[len(_PREFIX) :]] = image_id
        return found if anything else None

    def names(self, repository: RepositoryName) -> set[str] | None:
        """All tags, without a look at where they point; None if nothing at all is stored there."""
        found: set[str] = set()
        anything = False
        for folder in repository.folders:
            for entry in self._storage.list(folder):
                anything = True
                if not entry.name.startswith(_PREFIX) or entry.is_folder:
                    continue
                # the metadata of the tag `_x` lies where the tag `x_json` does
                if not entry.name.endswith("_json") or self._listed(folder, entry):
                    found.add(keys.decode(entry.name)[len(_PREFIX) :])
        return found if anything else None

    def get(self, repository: RepositoryName, tag: str) -> str | None:
        """The image id of a tag; None if there is no such tag."""
        for key in _places(repository, tag):
            image_id = self.read(key)
            if image_id is not None:
                return image_id
        return None

    def each(self, repository: RepositoryName) -> Iterator[tuple[str, str]]:
        """Tags with their image ids one by one, for who may stop early."""
        for folder in repository.folders:
            for entry in self._storage.list(folder):
                if entry.name.startswith(_PREFIX) and not entry.is_folder:
                    image_id = self._listed(folder, entry)
                    if image_id is not None:
                        yield keys.decode(entry.name)[len(_PREFIX) :], image_id

    def read(self, key: str) -> str | None:
        """The id that a tag's file holds; None for no file, and for metadata of a `_x` tag."""
        try:
            return _id(self._storage.get(key))
        except NotFound:
            return None

    def _listed(self, folder: str, entry: Entry) -> str | None:
        """The same of a file in a listing, which may know what it holds."""
        known = self._known.get(entry.md5) if entry.md5 else None
        if known is not None:
            return known
        try:
            data = self._storage.get(f"{folder}/{entry.name}")
        except NotFound:
            return None
        image_id = _id(data)
        # Another node may have written since it was listed; and not each store tells the MD5.
        if image_id and entry.md5 == hashlib.md5(data, usedforsecurity=False).hexdigest():
            self._known.put(entry.md5, image_id)
        return image_id


def _id(data: bytes) -> str | None:
    text = data.decode("ascii", "replace").strip().strip('"')
    return text if ImageId.is_valid(text) else None


@lru_cache(maxsize=1024)
def _places(repository: RepositoryName, tag: str) -> tuple[str, ...]:
    """Where a tag may lie, the place that we write to first."""
    return tuple(f"{folder}/{keys.tag(tag)}" for folder in repository.folders)
