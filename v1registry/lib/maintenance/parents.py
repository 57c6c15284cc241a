"""The parents of images by their JSONs. Each JSON is read once in a run."""

from __future__ import annotations

import json
from typing import Literal, NamedTuple

from v1registry.lib import documents
from v1registry.lib.names import ImageId
from v1registry.storage import Storage, exists, get_or_none, keys

_MISSING = "-"  # an image without JSON
_UNKNOWN = "?"  # an image whose JSON is damaged or another image's
_LONGEST = 100_000  # images of a chain; more is an attack


class Chain(NamedTuple):
    """An image and its ancestors, and how they end. The last id may be of a damaged or missing image."""

    ids: list[str]
    end: Literal["base", "unknown", "loop"]


class Parents:
    """Finds parents. It keeps one short entry for each image of the store, none for missing ones."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._known: dict[str, str | None] = {}
        self._ids: dict[str, str] = {}  # one string for each id: parents repeat
        self._complete: set[str] = set()

    def exists(self, image_id: str) -> bool:
        """Return whether the image has a JSON."""
        return self._parent(image_id) != _MISSING

    def is_complete(self, image_id: str) -> bool:
        """Return whether the image has a JSON and no mark, or a commit that any reader completes."""
        if image_id in self._complete:
            return True
        if exists(self._storage, keys.image(image_id, "_inprogress")):
            return exists(self._storage, keys.image(image_id, "_commit"))
        if self.exists(image_id):
            self._complete.add(self._ids.setdefault(image_id, image_id))
            return True
        return False

    def learn(self, image_id: str, data: bytes | None) -> None:
        """Note the parent in the image JSON `data`; None if the image has no JSON."""
        if data is None:
            self._known.pop(image_id, None)
            return
        parent = _parent_in(data, image_id)
        if parent not in (None, _UNKNOWN):
            parent = self._ids.setdefault(str(parent), str(parent))
        self._known[self._ids.setdefault(image_id, image_id)] = parent

    def chain(self, image_id: str) -> Chain:
        """Return the image and its ancestors."""
        ids = dict.fromkeys([image_id])
        current = image_id
        while len(ids) < _LONGEST:
            parent = self._parent(current)
            if parent in (_MISSING, _UNKNOWN):
                return Chain(list(ids), "unknown")
            if parent is None:
                return Chain(list(ids), "base")
            if parent in ids:
                break
            ids[parent] = None
            current = parent
        return Chain(list(ids), "loop")

    def is_in_loop(self, image_id: str) -> bool:
        """Return whether the image is its own ancestor."""
        chain = self.chain(image_id)
        return chain.end == "loop" and self._parent(chain.ids[-1]) == image_id

    def ancestors(self, image_id: str) -> list[str]:
        """Return the ids in the stored ancestry and in the chain: v1 and v2 clients may differ."""
        stored = ancestry(get_or_none(self._storage, keys.image(image_id, "ancestry"))) or []
        return list(dict.fromkeys([*stored, *self.chain(image_id).ids]))

    def _parent(self, image_id: str) -> str | None:
        """Return the parent, None for a base image, `_MISSING` or `_UNKNOWN`."""
        try:
            return self._known[image_id]
        except KeyError:
            pass
        data = get_or_none(self._storage, keys.image(image_id, "json"))
        if data is None:
            return _MISSING
        self.learn(image_id, data)
        return _parent_in(data, image_id)


def _parent_in(data: bytes, image_id: str) -> str | None:
    try:
        document = documents.load(data)
        is_own = document["id"] == image_id
        parent = document.get("parent") or None
    except (ValueError, KeyError, TypeError, AttributeError):
        return _UNKNOWN
    return parent if is_own and (parent is None or ImageId.is_valid(parent)) else _UNKNOWN


def ancestry(data: bytes | None) -> list[str] | None:
    """Return the ids of a stored ancestry; None if it is missing or damaged."""
    try:
        ids = json.loads(data or b"")
    except (ValueError, RecursionError):
        return None
    is_list = isinstance(ids, list) and ids and all(ImageId.is_valid(id) for id in ids)
    return ids if is_list else None
