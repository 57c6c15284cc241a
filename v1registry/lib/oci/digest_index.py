"""The digest index: finds the images that have a digest, without a walk over the store.

An entry is an empty file named by digest, kind and image, in folders by the first digits of the digest.
No file is ever rewritten, so nodes need no lock. An entry is only a hint: its reader always checks it
against the image.
"""

from __future__ import annotations

import contextlib
from typing import Literal, NamedTuple, get_args

from v1registry.lib.names import Digest, ImageId
from v1registry.lib.support.cache import Cache
from v1registry.storage import Storage, exists, keys
from v1registry.storage.errors import Refused

# `part`: a layer of an image whose ancestry does not contain the layer's image.
Kind = Literal["layer", "part", "config", "schema2", "oci"]

_KINDS: dict[str, Kind] = {kind: kind for kind in get_args(Kind)}
_OVERHEAD = 200  # bytes of a cached entry, approximately


def is_kind(text: str) -> bool:
    """Return whether an entry may have this kind."""
    return text in _KINDS


class DigestEntry(NamedTuple):
    """An image that has the digest, and what of it has the digest."""

    kind: Kind
    image_id: ImageId


class DigestIndex:
    """Reads and writes the entries; writes none if `read_only`.

    `cache_limit` in bytes, `cache_life` in seconds.
    """

    def __init__(
        self, storage: Storage, *, cache_limit: int, cache_life: float, read_only: bool = False
    ) -> None:
        self._storage = storage
        self._read_only = read_only
        self._cache: Cache[list[DigestEntry]] = Cache(
            cache_limit, cache_life, lambda entries: (len(entries) + 1) * _OVERHEAD
        )
        #: whether a write failed: then a missing entry does not mean that there is no such image
        self.incomplete = read_only

    def note(self, digest: str, kind: Kind, image_id: str) -> None:
        """Write an entry unless it exists. If the store refuses it, set `incomplete`."""
        if self._read_only:
            return
        key = keys.digest(digest, kind, image_id)
        try:
            if not exists(self._storage, key):
                self._storage.put(key, b"", durable=False)
        except Refused:
            self.incomplete = True

    def find(self, digest: Digest, *, anew: bool = False) -> list[DigestEntry]:
        """Return the entries of a digest, perhaps cached ones unless `anew`."""
        found = None if anew else self._cache.get(digest)
        if found is None:
            found = self._read(digest)
            if found:
                self._cache.put(digest, found)
        return found

    def forget(self, digest: str, kind: Kind, image_id: str) -> None:
        """Delete an entry if it exists."""
        self._cache.forget(digest)
        with contextlib.suppress(Refused):
            self._storage.delete(keys.digest(digest, kind, image_id), durable=False)

    def _read(self, digest: Digest) -> list[DigestEntry]:
        folder, start = keys.digests(digest)
        found = []
        for entry in self._storage.list(folder):
            if entry.name.startswith(start):
                kind, _, image_id = entry.name[len(start) :].partition("-")
                if kind in _KINDS and ImageId.is_valid(image_id):
                    found.append(DigestEntry(_KINDS[kind], ImageId(image_id)))
        return found
