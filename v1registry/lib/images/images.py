"""Complete images: what is served of them, and the state of an image.

An image is complete if its image JSON is in place and the `_inprogress` mark is absent. A complete
image never changes (docs/architecture.md#rule-5-complete-images-are-immutable). So its small files
are read once and cached: in the process, and in the shared cache if there is one.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

from v1registry.lib import documents, errors
from v1registry.lib.errors import Failure
from v1registry.lib.images.commit import Commits
from v1registry.lib.images.hidden import HiddenImages
from v1registry.lib.names import ImageId
from v1registry.lib.support.cache import Cache, Shared
from v1registry.storage import Blob, Storage, exists, get_or_none, keys
from v1registry.storage.errors import CorruptObject, NotFound, Refused

_SIMPLE = "sha256:"  # a checksum of JSON and layer; a TarSum does not cover the layer's bytes
_OVERHEAD = 1024  # bytes of a cached image besides its texts, approximately
_SETTLING = 30.0  # longest time in seconds that a committing node may stall
_MAX_ANCESTORS = 100_000  # more is a loop or an attack


@dataclass(frozen=True, slots=True)
class Image:
    """A complete image. `size` is that of the stored layer in bytes, None if there is no layer."""

    id: ImageId
    json: bytes
    ancestry: bytes
    checksums: tuple[str, ...]
    size: int | None

    @property
    def ancestors(self) -> list[str]:
        """The ids from the image itself to its base image."""
        return list(json.loads(self.ancestry))


class Images:
    """Reads complete images.

    `cache_limit` in bytes and `cache_life` in seconds limit the cache of this process. Images in
    `hidden` look like missing ones.
    """

    def __init__(
        self,
        storage: Storage,
        commits: Commits,
        *,
        cache_limit: int,
        cache_life: float,
        shared: Shared[Image] | None = None,
        hidden: HiddenImages | None = None,
    ) -> None:
        self._storage = storage
        self._commits = commits
        self._hidden = hidden
        self._cache: Cache[Image] = Cache(cache_limit, cache_life, _size)
        self._shared = shared

    def get(self, image_id: ImageId) -> Image:
        """Return the complete image; raise Failure 404 if unknown, 400 if it is being uploaded."""
        if self._hidden is not None and self._hidden.contains(image_id):
            raise Failure(*errors.IMAGE_NOT_FOUND)
        image = self._cache.get(image_id)
        if image is None:
            image = self._shared.get(image_id) if self._shared else None
            if image is None or image.size is None:
                image = self._read(image_id)
                if image.size is None or not self._is_settled(image_id):
                    return image  # not cached: a missing layer may be restored
                if self._shared:
                    self._shared.put(image_id, image)
            self._cache.put(image_id, image)
        return image

    def find(self, image_id: str) -> Image | None:
        """Return the complete image, or None."""
        if not ImageId.is_valid(image_id):
            return None
        try:
            return self.get(ImageId(image_id))
        except Failure as failure:
            if (failure.status, failure.text) in (errors.IMAGE_NOT_FOUND, errors.IMAGE_IN_PROGRESS):
                return None
            raise

    def keep(self, image_id: str) -> None:
        """Keep an image and its ancestors if garbage collection has hidden them.

        Raise Failure 503 if one of them is being deleted just now.
        """
        run = self._hidden.run_of(image_id) if self._hidden is not None else None
        if self._hidden is None or run is None:
            return
        try:
            image = self._read(ImageId(image_id))
        except Failure:  # it is not complete, or deleted already
            ids = [image_id]
        else:  # v1 clients use the ancestry, v2 clients the parents in the JSONs
            ids = list(dict.fromkeys([*image.ancestors, *self._walk(image_id, image.json)]))
        if not self._hidden.keep(run, ids[::-1]):
            raise Failure(*errors.IMAGE_BEING_DELETED)

    def layer_key(self, image: Image) -> str:
        """Return the key of the stored layer."""
        return keys.image(image.id, "layer")

    def open_layer(self, image: Image, size: int | None = None) -> Blob:
        """Open the stored layer; raise Failure 404 if there is none.

        `size` is its known length. If the store reports another one, a second request must confirm
        it: a length that was damaged on its way would make a response end too early or too late.
        Raise CorruptObject if it does not.
        """
        key = self.layer_key(image)
        try:
            blob = self._storage.open(key)
        except NotFound:
            raise Failure(*errors.IMAGE_NOT_FOUND) from None
        try:
            if (
                size not in (None, blob.size)
                and (again := self._storage.stat(key).size) != blob.size
            ):
                raise CorruptObject(f"{key}: has {size}, {blob.size} or {again} bytes")
        except BaseException:
            blob.close()
            raise
        return blob

    def _read(self, image_id: ImageId) -> Image:
        # In this order: a JSON is put in place only while the mark exists. So a JSON that was read
        # before the mark was seen to be absent belongs to a complete image.
        data = self._stored(image_id, "json")
        in_progress = exists(self._storage, keys.image(image_id, "_inprogress"))
        if (in_progress or data is None) and self._settle(image_id):
            in_progress, data = False, self._stored(image_id, "json")
        if in_progress:
            raise Failure(*errors.IMAGE_IN_PROGRESS)
        if data is None:
            raise Failure(*errors.IMAGE_NOT_FOUND)
        try:
            size = self._storage.stat(keys.image(image_id, "layer")).size
        except NotFound:
            size = None
        return Image(image_id, data, self._ancestry(image_id, data), self._sums(image_id), size)

    def _is_settled(self, image_id: ImageId) -> bool:
        """Return whether the image can no longer change, so that it may be cached.

        Where creates are not atomic, two pushes at the same instant may each put their record in
        place, one over the other, until both see which record stays.
        """
        if self._storage.creates_atomically:
            return True
        try:
            decided = self._storage.stat(keys.image(image_id, "_commit")).modified
        except NotFound:
            return True  # written by 0.x
        return time.time() - decided > _SETTLING

    def _settle(self, image_id: ImageId) -> bool:
        """Complete a commit that was interrupted; return whether the image is complete."""
        try:
            return self._commits.complete(image_id)
        except Refused:
            return False  # a read-only store: a node that may write will complete it

    def _stored(self, image_id: str, part: str) -> bytes | None:
        return get_or_none(self._storage, keys.image(image_id, part))

    def _sums(self, image_id: ImageId) -> tuple[str, ...]:
        return stored_checksums(self._stored(image_id, "_checksum"))

    def _ancestry(self, image_id: ImageId, data: bytes) -> bytes:
        """Return the stored ancestry, or compute it from the JSONs: stores before 0.6 have none."""
        stored = self._stored(image_id, "ancestry")
        if stored is not None:
            try:
                ids = json.loads(stored)
            except ValueError:
                ids = None
            if isinstance(ids, list) and ids and all(ImageId.is_valid(id) for id in ids):
                return stored.strip()
        return documents.dump(self._walk(image_id, data))

    def _walk(self, image_id: str, data: bytes) -> list[str]:
        ids, parent = [image_id], parent_of(data)
        while parent is not None and parent not in ids and len(ids) < _MAX_ANCESTORS:
            ids.append(parent)
            found = self._stored(parent, "json")
            parent = parent_of(found) if found is not None else None
        return ids


def stored_checksums(data: bytes | None) -> tuple[str, ...]:
    """Return the checksums in the file `_checksum`.

    The file holds a JSON array. docker-registry up to 0.6.9 wrote a bare string, perhaps with a
    newline, or no file.
    """
    text = (data or b"").decode("utf-8", "replace").strip()
    try:
        value = json.loads(text)
    except ValueError:
        value = [text] if text else []
    sums = value if isinstance(value, list) else [value]
    return tuple(sum for sum in sums if isinstance(sum, str) and sum.isprintable() and sum)


def parent_of(data: bytes) -> str | None:
    """Return the parent's id from an image JSON, or None for a base image."""
    try:
        parent = documents.load(data).get("parent")
    except (ValueError, AttributeError):
        return None
    return parent if ImageId.is_valid(parent) else None


def verified(pieces: Iterator[bytes], image: Image) -> Iterator[bytes]:
    """Yield the pieces of the image's layer, the last one only if the checksum is right.

    Otherwise raise CorruptObject. Then the client receives fewer bytes than announced and never takes
    the layer for complete. An image that Docker before 0.10 pushed may have no such checksum: its
    layer is sent without verification.
    """
    known = {sum for sum in image.checksums if sum.startswith(_SIMPLE)}
    if not known:
        yield from pieces
        return
    sum, held = hashlib.sha256(image.json + b"\n"), b""
    for piece in pieces:
        sum.update(piece)
        if held:
            yield held
        held = piece
    if f"{_SIMPLE}{sum.hexdigest()}" not in known:
        raise CorruptObject(f"{image.id}: the layer's bytes do not match the image's checksum")
    yield held


def _size(image: Image) -> int:
    return len(image.json) + len(image.ancestry) + _OVERHEAD
