"""Reading tags: which image each of a repository's tags points to."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from v1registry.lib.names import ImageId, RepositoryName
from v1registry.storage import Storage, keys
from v1registry.storage.errors import NotFound

_PREFIX = "tag_"


class Tags:
    """Reads the tags of a store."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def all(self, repository: RepositoryName) -> dict[str, str] | None:
        """All tags with their image ids; None if nothing at all is stored there."""
        found: dict[str, str] = {}
        anything = False
        for folder in reversed(repository.folders):
            for entry in self._storage.list(folder):
                anything = True
                if entry.name.startswith(_PREFIX) and not entry.is_folder:
                    image_id = self.read(f"{folder}/{entry.name}")
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
                if not entry.name.endswith("_json") or self.read(f"{folder}/{entry.name}"):
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
                    image_id = self.read(f"{folder}/{entry.name}")
                    if image_id is not None:
                        yield keys.decode(entry.name)[len(_PREFIX) :], image_id

    def read(self, key: str) -> str | None:
        """The id that a tag's file holds; None for no file, and for metadata of a `_x` tag."""
        try:
            text = self._storage.get(key).decode("ascii", "replace").strip().strip('"')
        except NotFound:
            return None
        return text if ImageId.is_valid(text) else None


@lru_cache(maxsize=1024)
def _places(repository: RepositoryName, tag: str) -> tuple[str, ...]:
    """Where a tag may lie, the place that we write to first."""
    return tuple(f"{folder}/{keys.tag(tag)}" for folder in repository.folders)
