"""Pushing an image: JSON, then layer, then checksum (protocol-v1.md section 3).

The three requests may reach three nodes, and many clients may push one image
at once. So each JSON is staged under its own digest, each received layer is
staged under a handle of its own, and what is known of such a copy is written
beside it; the checksum PUT finds the copy that it speaks of by comparing.
Nothing shows under the final names, but the `_inprogress` mark that tells 0.x
of an open image, until `Commits` has decided.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from v1registry.lib import documents, errors
from v1registry.lib.commits import Commits, Record
from v1registry.lib.copies import Copies, Copy
from v1registry.lib.errors import Failure
from v1registry.lib.images import Image, Images
from v1registry.lib.names import ImageId
from v1registry.lib.tarsum import TarSumFeed
from v1registry.storage import Buffer, Storage, exists, keys

HASHED_AT_ONCE = 4  # JSONs that a layer is hashed with while it comes in


class Uploads:
    """`offload(function, *args)` runs what computes for long where it stops no other client.

    `max_bytes` (decompressed) bounds what a TarSum reads of one layer.
    """

    def __init__(
        self,
        storage: Storage,
        images: Images,
        commits: Commits,
        offload: Callable[..., Any],
        *,
        max_bytes: int | None = None,
    ) -> None:
        self._storage = storage
        self._images = images
        self._commits = commits
        self._copies = Copies(storage, offload, max_bytes)
        self._max_bytes = max_bytes

    def put_json(self, image_id: ImageId, data: bytes) -> None:
        """Open an image. Raise Failure 400 for a wrong JSON or parent, 409 if finished."""
        document = _image_json(image_id, data)
        self._parent(document)
        if self._images.find(image_id) is not None:
            raise Failure(*errors.IMAGE_EXISTS)
        self._copies.stage_json(image_id, data)
        self._storage.put(keys.image(image_id, "_inprogress"), b"true", durable=False)
        if self._commits.settle(image_id):
            # another push was decided since we looked; our mark is away again
            raise Failure(*errors.IMAGE_EXISTS)

    def put_layer(self, image_id: ImageId, pieces: Iterable[Buffer]) -> None:
        """Take in one copy of the layer. Raise Failure 404 if no JSON was sent before.

        The copy that comes for a finished image is hashed and not kept.
        """
        # in this order: a JSON leaves the staged ones only after its image is finished
        jsons = self._copies.staged_jsons(image_id)[:HASHED_AT_ONCE]
        image = self._images.find(image_id)
        if image is not None:
            jsons = _with(jsons, image.json)
        elif not jsons and (opened_by_0x := self._copies.open_json(image_id)) is not None:
            jsons = _with(jsons, opened_by_0x)
        if not jsons:
            raise Failure(*errors.IMAGE_NOT_FOUND)
        if image is None:
            self._stage(image_id, jsons, pieces)
        else:
            self._drain(image_id, jsons, pieces)

    def put_checksum(self, image_id: ImageId, payload: str | None, tarsum: str | None) -> None:
        """Check a received copy, and finish the image with it unless it is finished.

        `payload` and `tarsum` are the two request headers, None if absent.
        Raise Failure 412, 400, 404 or 409 as protocol-v1.md section 3 says.
        """
        if payload is None and tarsum is None:
            raise Failure(*errors.CHECKSUM_ABSENT)
        values = [value.strip() for value in (payload, tarsum) if value and value.strip()]
        if not values:
            raise Failure(*errors.CHECKSUM_EMPTY)
        image = self._images.find(image_id)
        copies = self._copies.received(image_id)
        match = self._copies.match(image_id, copies, values, image)
        if match is None:
            raise self._mismatch(image_id, image, copies)
        copy, digest, checksums = match
        if image is None:
            image = self._finish(image_id, copy, digest, checksums)
        self._copies.forget_staged(copies, copy, image)

    def _finish(self, image_id: ImageId, copy: Copy, digest: str, checksums: list[str]) -> Image:
        if copy.handle is None:
            # drained: another copy is in place, unless that one was lost
            return self._images.get(image_id)
        data = self._copies.json(image_id, digest)
        parent = self._parent(_image_json(image_id, data))
        ancestry = [image_id, *(parent.ancestors if parent else [])]
        record = Record(digest, copy.handle, copy.size, checksums, ancestry)
        self._commits.decide(image_id, record)
        return self._images.get(image_id)

    def _parent(self, document: dict[str, Any]) -> Image | None:
        """The finished parent; None for a base image. Raise Failure 400 if there is none such."""
        parent = document.get("parent")
        if parent is None or parent == "":
            return None
        image = self._images.find(parent)
        if image is None or parent == document["id"]:
            raise Failure(*errors.PARENT_NOT_FOUND)
        return image

    def _stage(
        self, image_id: ImageId, jsons: list[tuple[str, bytes]], pieces: Iterable[Buffer]
    ) -> None:
        sums = _Sums(jsons)
        handle = self._storage.stage(keys.image(image_id, "layer"), sums.reading(pieces))
        copy = sums.copy(handle)
        equal = self._copies.staged_equal(image_id, copy)
        if equal is not None:
            # an earlier try, or another client, sent these very bytes: one copy will do
            self._storage.abandon(handle)
            copy = equal
        self._copies.note(image_id, copy)

    def _drain(
        self, image_id: ImageId, jsons: list[tuple[str, bytes]], pieces: Iterable[Buffer]
    ) -> None:
        sums = _Sums(jsons)
        feed = TarSumFeed(max_bytes=self._max_bytes)
        try:
            for piece in sums.reading(pieces):
                feed.write(piece)
            tarsums = feed.finish()
        finally:
            feed.close()
        copy = sums.copy(None)
        if tarsums is not None:
            copy.tarsums.update({digest: tarsums.values(data) for digest, data in jsons})
        self._copies.note(image_id, copy)

    def _mismatch(self, image_id: ImageId, image: Image | None, copies: list[Copy]) -> Failure:
        if image is not None:
            return Failure(*errors.CHECKSUM_CLOSED)
        if copies:
            return Failure(*errors.CHECKSUM_MISMATCH)
        if self._copies.staged_jsons(image_id) or self._is_open(image_id):
            return Failure(*errors.LAYER_MISSING)
        return Failure(*errors.IMAGE_NOT_FOUND)

    def _is_open(self, image_id: ImageId) -> bool:
        return exists(self._storage, keys.image(image_id, "_inprogress"))


class _Sums:
    """Hashes a layer on its way, once with each JSON that it may belong to."""

    def __init__(self, jsons: list[tuple[str, bytes]]) -> None:
        self._hashes = {digest: hashlib.sha256(data + b"\n") for digest, data in jsons}
        self._size = 0

    def reading(self, pieces: Iterable[Buffer]) -> Iterator[Buffer]:
        hashes = list(self._hashes.values())
        for piece in pieces:
            for sum in hashes:
                sum.update(piece)
            self._size += len(piece)
            yield piece

    def copy(self, handle: str | None) -> Copy:
        payloads = {digest: f"sha256:{sum.hexdigest()}" for digest, sum in self._hashes.items()}
        return Copy(handle, self._size, payloads, {})


def _with(jsons: list[tuple[str, bytes]], stored: bytes) -> list[tuple[str, bytes]]:
    """Put the JSON that lies under the final name before the staged ones."""
    digest = hashlib.sha256(stored).hexdigest()
    return [(digest, stored), *(pair for pair in jsons if pair[0] != digest)]


def _image_json(image_id: ImageId, data: bytes) -> dict[str, Any]:
    document = documents.parse(data)
    if not isinstance(document, dict):
        raise Failure(*errors.JSON_INVALID)
    if "id" not in document:
        raise Failure(*errors.JSON_WITHOUT_ID)
    if document["id"] != image_id:
        raise Failure(*errors.JSON_OTHER_ID)
    return document
