"""Pushing an image: JSON, then layer, then checksum (protocol-v1.md section 3).

The three requests may reach three nodes, and many clients may push one image
at once. So each JSON is staged under its own digest, each received layer is
staged under a handle of its own, and what is known of such a copy is written
beside it; the checksum PUT finds the copy that it speaks of by comparing.
Nothing shows under the final names, but the `_inprogress` mark that tells 0.x
of an open image, until `Commits` has decided.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from v1registry.lib import documents, errors
from v1registry.lib.errors import Failure
from v1registry.lib.images.commit import CommitRecord, Commits
from v1registry.lib.images.images import Image, Images
from v1registry.lib.images.push_provenance import PushProvenance, Sender
from v1registry.lib.images.staged_layers import LayerHasher, StagedLayer, StagedLayers
from v1registry.lib.layers.tarsum import TarSumFeed
from v1registry.lib.names import ImageId
from v1registry.lib.running import Run, for_size, in_place
from v1registry.storage import Buffer, Storage, exists, keys
from v1registry.storage.errors import NotFound

HASHED_AT_ONCE = 4  # JSONs that a layer is hashed with while it comes in


class Uploads:
    """`offload(function, *args)` runs what computes for long where it stops no other client.

    `compute` runs what takes a part of a second, such as parsing a large JSON. `max_bytes` (decompressed) bounds what a TarSum reads of one layer.
    """

    def __init__(
        self,
        storage: Storage,
        images: Images,
        commits: Commits,
        offload: Callable[..., Any],
        proofs: PushProvenance,
        *,
        max_bytes: int | None = None,
        compute: Run = in_place,
    ) -> None:
        self._storage = storage
        self._compute = compute
        self._images = images
        self._commits = commits
        self._proofs = proofs
        self._copies = StagedLayers(storage, offload, max_bytes)
        self._offload = offload
        self._max_bytes = max_bytes

    def put_json(self, image_id: ImageId, data: bytes, sender: Sender | None = None) -> None:
        """Open an image. Raise Failure 400 for a wrong JSON or parent, 409 if finished.

        To a `sender` who may not use it, a finished image looks like an unknown one.
        """
        document = self._image_json(image_id, data)
        _check_expected(image_id, sender)
        self._parent(document, sender)
        finished = self._images.find(image_id) is not None
        if finished and _may_use(image_id, sender):
            raise Failure(*errors.IMAGE_EXISTS)
        digest = self._copies.stage_json(image_id, data)
        if sender is not None:
            self._proofs.note_json(image_id, sender, digest)
        if finished:
            return
        self._storage.put(keys.image(image_id, "_inprogress"), b"true", durable=False)
        if self._commits.settle(image_id) and _may_use(image_id, sender):
            # another push was decided since we looked; our mark is away again
            raise Failure(*errors.IMAGE_EXISTS)

    def put_layer(
        self, image_id: ImageId, pieces: Iterable[Buffer], sender: Sender | None = None
    ) -> None:
        """Take in one copy of the layer. Raise Failure 404 if no JSON was sent before.

        The copy that comes for a finished image is hashed and not kept.
        """
        _check_expected(image_id, sender)
        # in this order: a JSON leaves the staged ones only after its image is finished
        jsons = self._sent_jsons(image_id, sender)[:HASHED_AT_ONCE]
        image = self._images.find(image_id)
        if image is not None and _may_use(image_id, sender):
            jsons = _with(jsons, image.json)
        elif image is None and not jsons and sender is None:
            opened_by_0x = self._copies.open_json(image_id)
            jsons = _with(jsons, opened_by_0x) if opened_by_0x is not None else jsons
        if not jsons:
            raise Failure(*errors.IMAGE_NOT_FOUND)
        if image is None:
            self._stage(image_id, jsons, pieces, sender)
        else:
            self._drain(image_id, jsons, pieces, sender)

    def put_checksum(
        self,
        image_id: ImageId,
        payload: str | None,
        tarsum: str | None,
        sender: Sender | None = None,
    ) -> bool:
        """Check a received copy, and finish the image with it unless it is finished.

        Tell whether this finished it: then its bytes were checked just now.
        `payload` and `tarsum` are the two request headers, None if absent.
        Raise Failure 412, 400, 404 or 409 as protocol-v1.md section 3 says.
        """
        if payload is None and tarsum is None:
            raise Failure(*errors.CHECKSUM_ABSENT)
        values = [value.strip() for value in (payload, tarsum) if value and value.strip()]
        if not values:
            raise Failure(*errors.CHECKSUM_EMPTY)
        _check_expected(image_id, sender)
        image = self._images.find(image_id)
        known = image if image is not None and _may_use(image_id, sender) else None
        copies = self._copies.received(image_id, sender.mark if sender else None)
        match = self._copies.match(image_id, copies, values, known)
        if match is None:
            raise self._mismatch(image_id, known, copies, sender)
        copy, digest, checksums = match
        is_new = image is None and copy.handle is not None
        if image is None:
            image = self._finish(image_id, copy, digest, checksums, sender)
        if sender is not None and known is None:
            self._prove(image, copy, digest, sender)
        self._copies.forget_staged(copies, copy, image)
        return is_new

    def _prove(self, image: Image, copy: StagedLayer, digest: str, sender: Sender) -> None:
        """Note that the sender has sent the image that is there now; raise Failure 400 if not.

        His copy may be another than the one that stays: somebody may have been there before him.
        """
        if not self._copies.is_same(image, copy, digest):
            raise Failure(*errors.CHECKSUM_MISMATCH)
        self._proofs.prove(image.id, sender.key)

    def _finish(
        self,
        image_id: ImageId,
        copy: StagedLayer,
        digest: str,
        checksums: list[str],
        sender: Sender | None,
    ) -> Image:
        if copy.handle is None:
            # drained: another copy is in place, unless that one was lost
            return self._images.get(image_id)
        data = self._copies.json(image_id, digest)
        parent = self._parent(self._image_json(image_id, data), sender)
        ancestry = [image_id, *(parent.ancestors if parent else [])]
        record = CommitRecord(
            digest, copy.handle, copy.size, checksums, ancestry, data.decode("latin-1")
        )
        self._commits.decide(image_id, record, data)
        return self._images.get(image_id)

    def _image_json(self, image_id: ImageId, data: bytes) -> dict[str, Any]:
        document: dict[str, Any] = for_size(self._compute, len(data))(_image_json, image_id, data)
        return document

    def _parent(self, document: dict[str, Any], sender: Sender | None) -> Image | None:
        """The finished parent; None for a base image. Raise Failure 400 if there is none such."""
        parent = document.get("parent")
        if parent is None or parent == "":
            return None
        if not ImageId.is_valid(parent) or parent == document["id"]:
            raise Failure(*errors.PARENT_NOT_FOUND)
        if sender is not None and not sender.may_use(ImageId(parent)):
            raise Failure(*sender.parent_refused)
        image = self._images.find(parent)
        if image is None:
            raise Failure(*errors.PARENT_NOT_FOUND)
        return image

    def _sent_jsons(self, image_id: ImageId, sender: Sender | None) -> list[tuple[str, bytes]]:
        """(hex digest, bytes) of the JSONs that a layer may belong to, the newest first."""
        if sender is None:
            return self._copies.staged_jsons(image_id)
        found = []
        for digest in self._proofs.jsons(image_id, sender):
            with contextlib.suppress(NotFound):
                found.append((digest, self._copies.json(image_id, digest)))
        return found

    def _stage(
        self,
        image_id: ImageId,
        jsons: list[tuple[str, bytes]],
        pieces: Iterable[Buffer],
        sender: Sender | None,
    ) -> None:
        key = keys.image(image_id, "layer")
        stage = partial(self._storage.stage, key)
        if self._storage.reads_stages:
            sums = LayerHasher(jsons)
            copy = sums.copy(stage(sums.reading(pieces)))
        else:
            # another client may finish the same image before this one does
            copy = self._with_tarsum(LayerHasher(jsons, sender is not None), pieces, stage)
        equal = self._copies.staged_equal(image_id, copy)
        if equal is not None and copy.handle is not None:
            # an earlier try, or another client, sent these very bytes: one copy will do
            self._storage.abandon(copy.handle)
            # not its sums: it may have come with JSONs that this client never sent
            copy = replace(copy, handle=equal.handle)
        self._note(image_id, copy, sender)

    def _drain(
        self,
        image_id: ImageId,
        jsons: list[tuple[str, bytes]],
        pieces: Iterable[Buffer],
        sender: Sender | None,
    ) -> None:
        sums = LayerHasher(jsons, not _may_use(image_id, sender))
        self._note(image_id, self._with_tarsum(sums, pieces, _discard), sender)

    def _note(self, image_id: ImageId, copy: StagedLayer, sender: Sender | None) -> None:
        self._copies.note(image_id, replace(copy, sender=sender.mark if sender else None))

    def _with_tarsum(
        self, sums: LayerHasher, pieces: Iterable[Buffer], take: Callable[[Iterable[Buffer]], Any]
    ) -> StagedLayer:
        """Hand the pieces to `take`, which returns the handle, and compute the TarSum beside it,
        for want of a second look.
        """
        with TarSumFeed(max_bytes=self._max_bytes, content=sums.content) as feed:

            def fed() -> Iterator[Buffer]:
                for piece in sums.reading(pieces):
                    feed.write(piece)
                    yield piece

            handle = take(fed())
            copy: StagedLayer = self._offload(sums.copy, handle, feed.finish())
            return copy

    def _mismatch(
        self,
        image_id: ImageId,
        image: Image | None,
        copies: list[StagedLayer],
        sender: Sender | None,
    ) -> Failure:
        if image is not None:
            return Failure(*errors.CHECKSUM_CLOSED)
        if copies:
            return Failure(*errors.CHECKSUM_MISMATCH)
        if self._sent_jsons(image_id, sender) or (sender is None and self._is_open(image_id)):
            return Failure(*errors.LAYER_MISSING)
        return Failure(*errors.IMAGE_NOT_FOUND)

    def _is_open(self, image_id: ImageId) -> bool:
        return exists(self._storage, keys.image(image_id, "_inprogress"))


def _discard(pieces: Iterable[Buffer]) -> None:
    deque(pieces, maxlen=0)


def _may_use(image_id: ImageId, sender: Sender | None) -> bool:
    return sender is None or sender.may_use(image_id)


def _check_expected(image_id: ImageId, sender: Sender | None) -> None:
    if sender is not None and not sender.expects(image_id):
        raise Failure(*errors.IMAGE_NOT_IN_REPOSITORY)


def _with(jsons: list[tuple[str, bytes]], stored: bytes) -> list[tuple[str, bytes]]:
    """Put the JSON that lies under the final name before the staged ones."""
    digest = hashlib.sha256(stored).hexdigest()
    return [(digest, stored), *(pair for pair in jsons if pair[0] != digest)]


def _image_json(image_id: ImageId, data: bytes) -> dict[str, Any]:
    """The members of an image JSON that the registry reads. Raise Failure 400 if it is none."""
    document = documents.parse(data, opaque=True)
    if not isinstance(document, dict):
        raise Failure(*errors.JSON_INVALID)
    if "id" not in document:
        raise Failure(*errors.JSON_WITHOUT_ID)
    if document["id"] != image_id:
        raise Failure(*errors.JSON_OTHER_ID)
    return {name: document[name] for name in ("id", "parent") if name in document}
