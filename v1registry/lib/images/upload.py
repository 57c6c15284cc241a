"""Pushing an image: image JSON, then layer, then checksum (protocol-v1.md section 3).

The three requests may reach three nodes, and many clients may push one image at once. So each image
JSON is staged under its digest, and each received layer under a handle of its own with a note beside
it. The checksum PUT finds the staged layer that it describes by comparing. Until `Commits` has
written the commit record, clients see nothing except the `_inprogress` mark, which tells 0.x of an
open image.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import KW_ONLY, dataclass, replace
from functools import partial
from typing import Any

from v1registry.lib import documents, errors
from v1registry.lib.errors import Failure
from v1registry.lib.images.commit import CommitRecord, Commits
from v1registry.lib.images.images import Image, Images
from v1registry.lib.images.layer_hasher import LayerHasher, StagedLayer
from v1registry.lib.images.push_provenance import PushProvenance, Sender
from v1registry.lib.images.staged_layers import Match, StagedLayers
from v1registry.lib.layers.tarsum import TarSumFeed
from v1registry.lib.names import ImageId
from v1registry.lib.running import Run, for_size, in_place
from v1registry.storage import Buffer, Storage, exists, keys
from v1registry.storage.errors import NotFound

HASHED_AT_ONCE = 4  # image JSONs that a layer is hashed with while it is received


@dataclass(eq=False)
class Uploads:
    """Receives pushes.

    `run_in_thread(function, *args)` runs a long computation in the thread pool. `compute` runs one that
    takes a part of a second, such as parsing a large JSON. `max_bytes` (decompressed) limits what a
    TarSum reads of one layer.
    """

    storage: Storage
    images: Images
    commits: Commits
    run_in_thread: Callable[..., Any]
    provenance: PushProvenance
    _: KW_ONLY
    max_bytes: int | None = None
    compute: Run = in_place

    def __post_init__(self) -> None:
        self._staged = StagedLayers(self.storage, self.run_in_thread, self.max_bytes)

    def put_json(self, image_id: ImageId, data: bytes, sender: Sender | None = None) -> None:
        """Open an image. Raise Failure 400 for a wrong JSON or parent, 409 if it is complete.

        To a `sender` who may not use it, a complete image looks like an unknown one.
        """
        document = self._image_json(image_id, data)
        _check_expected(image_id, sender)
        self.images.keep(image_id)
        self._parent(document, sender)
        is_complete = self.images.find(image_id) is not None
        if is_complete and _may_use(image_id, sender):
            raise Failure(*errors.IMAGE_EXISTS)
        digest = self._staged.stage_json(image_id, data)
        if sender is not None:
            self.provenance.note_json(image_id, sender, digest)
        if is_complete:
            return
        self.storage.put(keys.image(image_id, "_inprogress"), b"true", durable=False)
        if self.commits.complete(image_id) and _may_use(image_id, sender):
            # Another push was committed since the look above, and the mark is deleted again.
            raise Failure(*errors.IMAGE_EXISTS)

    def put_layer(
        self, image_id: ImageId, pieces: Iterable[Buffer], sender: Sender | None = None
    ) -> None:
        """Receive a layer. Raise Failure 404 if no image JSON was sent before.

        A layer for a complete image is hashed, and its bytes are not kept.
        """
        _check_expected(image_id, sender)
        # In this order: a staged JSON is deleted only after its image is complete.
        jsons = self._sent_jsons(image_id, sender)[:HASHED_AT_ONCE]
        image = self.images.find(image_id)
        if image is not None and _may_use(image_id, sender):
            jsons = _with(jsons, image.json)
        elif image is None and not jsons and sender is None:
            opened_by_0x = self._staged.open_json(image_id)
            jsons = _with(jsons, opened_by_0x) if opened_by_0x is not None else jsons
        if not jsons:
            raise Failure(*errors.IMAGE_NOT_FOUND)
        if image is None:
            layer = self._stage(image_id, jsons, pieces, with_content=sender is not None)
        else:
            hasher = LayerHasher(jsons, not _may_use(image_id, sender))
            layer = self._with_tarsum(hasher, pieces, _discard)
        self._staged.note(image_id, replace(layer, sender=sender.file_name if sender else None))

    def put_checksum(
        self,
        image_id: ImageId,
        payload: str | None,
        tarsum: str | None,
        sender: Sender | None = None,
    ) -> bool:
        """Check a received layer, and commit the image with it unless the image is complete.

        Return whether this request committed it: then the bytes were checked just now.
        `payload` and `tarsum` are the two request headers, None if absent.
        Raise Failure 412, 400, 404 or 409 as protocol-v1.md section 3 says.
        """
        values = _checksum_values(payload, tarsum)
        _check_expected(image_id, sender)
        image = self.images.find(image_id)
        usable = image if image is not None and _may_use(image_id, sender) else None
        layers = self._staged.received(image_id, sender.file_name if sender else None)
        match = self._staged.match(image_id, layers, values, usable)
        if match is None:
            raise self._mismatch(image_id, usable, layers, sender)
        is_new = image is None and match.layer.handle is not None
        if image is None:
            image = self._commit(image_id, match, sender)
        if sender is not None and usable is None:
            self._prove(image, match, sender)
        self._staged.forget_staged(layers, match.layer, image)
        return is_new

    def _commit(self, image_id: ImageId, match: Match, sender: Sender | None) -> Image:
        """Make the matched layer the image unless another push was first; return the image."""
        handle = match.layer.handle
        if handle is None:
            # Its bytes were not kept because the image was complete. It is lost if it is not now.
            return self.images.get(image_id)
        data = self._staged.json(image_id, match.json_digest)
        parent = self._parent(self._image_json(image_id, data), sender)
        record = CommitRecord(
            json=match.json_digest,
            handle=handle,
            size=match.layer.size,
            checksums=match.checksums,
            ancestry=[image_id, *(parent.ancestors if parent else [])],
            document=data.decode("latin-1"),
        )
        self.commits.commit(image_id, record, data)
        return self.images.get(image_id)

    def _prove(self, image: Image, match: Match, sender: Sender) -> None:
        """Note that the sender has sent the complete image; raise Failure 400 if it has not.

        If another client committed first, the sender's layer is not the one in place.
        """
        if not self._staged.is_same(image, match.layer, match.json_digest):
            raise Failure(*errors.CHECKSUM_MISMATCH)
        self.provenance.prove(image.id, sender.key)

    def _image_json(self, image_id: ImageId, data: bytes) -> dict[str, Any]:
        document: dict[str, Any] = for_size(self.compute, len(data))(_image_json, image_id, data)
        return document

    def _parent(self, document: dict[str, Any], sender: Sender | None) -> Image | None:
        """Return the complete parent, None for a base image. Raise Failure 400 if it is missing."""
        parent = document.get("parent")
        if parent is None or parent == "":
            return None
        if not ImageId.is_valid(parent) or parent == document["id"]:
            raise Failure(*errors.PARENT_NOT_FOUND)
        if sender is not None and not sender.may_use(ImageId(parent)):
            raise Failure(*sender.parent_refused)
        self.images.keep(parent)
        image = self.images.find(parent)
        if image is None:
            raise Failure(*errors.PARENT_NOT_FOUND)
        return image

    def _sent_jsons(self, image_id: ImageId, sender: Sender | None) -> list[tuple[str, bytes]]:
        """Return (hex digest, bytes) of the JSONs that a layer may belong to, the newest first."""
        if sender is None:
            return self._staged.staged_jsons(image_id)
        found = []
        for digest in self.provenance.jsons(image_id, sender):
            with contextlib.suppress(NotFound):
                found.append((digest, self._staged.json(image_id, digest)))
        return found

    def _stage(
        self,
        image_id: ImageId,
        jsons: list[tuple[str, bytes]],
        pieces: Iterable[Buffer],
        *,
        with_content: bool,
    ) -> StagedLayer:
        """Stage the layer of an image that is not complete; see `LayerHasher` for `with_content`."""
        stage = partial(self.storage.stage, keys.image(image_id, "layer"))
        if self.storage.reads_stages:
            hasher = LayerHasher(jsons)
            layer = hasher.result(stage(hasher.hashing(pieces)))
        else:
            # The content is required as well: another client may complete the image first.
            layer = self._with_tarsum(LayerHasher(jsons, with_content), pieces, stage)
        equal = self._staged.staged_equal(image_id, layer)
        if equal is not None and layer.handle is not None:
            # A retry or another client has staged the same bytes: keep one copy of them.
            self.storage.abandon(layer.handle)
            # Take only the handle: the sums may be of image JSONs that this client never sent.
            layer = replace(layer, handle=equal.handle)
        return layer

    def _with_tarsum(
        self, hasher: LayerHasher, pieces: Iterable[Buffer], take: Callable[[Iterable[Buffer]], Any]
    ) -> StagedLayer:
        """Pass the pieces to `take`, which returns the handle, and compute the TarSums meanwhile.

        For bytes that cannot be read again.
        """
        with TarSumFeed(max_bytes=self.max_bytes, content=hasher.content) as feed:

            def fed() -> Iterator[Buffer]:
                for piece in hasher.hashing(pieces):
                    feed.write(piece)
                    yield piece

            handle = take(fed())
            layer: StagedLayer = self.run_in_thread(hasher.result, handle, feed.finish())
            return layer

    def _mismatch(
        self,
        image_id: ImageId,
        image: Image | None,
        layers: list[StagedLayer],
        sender: Sender | None,
    ) -> Failure:
        if image is not None:
            return Failure(*errors.CHECKSUM_CLOSED)
        if layers:
            return Failure(*errors.CHECKSUM_MISMATCH)
        if self._sent_jsons(image_id, sender) or (sender is None and self._is_open(image_id)):
            return Failure(*errors.LAYER_MISSING)
        return Failure(*errors.IMAGE_NOT_FOUND)

    def _is_open(self, image_id: ImageId) -> bool:
        return exists(self.storage, keys.image(image_id, "_inprogress"))


def _checksum_values(payload: str | None, tarsum: str | None) -> list[str]:
    """Return the values of the two headers that are not empty. Raise Failure 412 or 400."""
    if payload is None and tarsum is None:
        raise Failure(*errors.CHECKSUM_ABSENT)
    values = [value.strip() for value in (payload, tarsum) if value and value.strip()]
    if not values:
        raise Failure(*errors.CHECKSUM_EMPTY)
    return values


def _discard(pieces: Iterable[Buffer]) -> None:
    deque(pieces, maxlen=0)


def _may_use(image_id: ImageId, sender: Sender | None) -> bool:
    return sender is None or sender.may_use(image_id)


def _check_expected(image_id: ImageId, sender: Sender | None) -> None:
    if sender is not None and not sender.expects(image_id):
        raise Failure(*errors.IMAGE_NOT_IN_REPOSITORY)


def _with(jsons: list[tuple[str, bytes]], stored: bytes) -> list[tuple[str, bytes]]:
    """Put the image JSON that is in place before the staged ones."""
    digest = hashlib.sha256(stored).hexdigest()
    return [(digest, stored), *(pair for pair in jsons if pair[0] != digest)]


def _image_json(image_id: ImageId, data: bytes) -> dict[str, Any]:
    """Return the members of an image JSON that the registry reads. Raise Failure 400 if invalid."""
    document = documents.parse(data, opaque=True)
    if not isinstance(document, dict):
        raise Failure(*errors.JSON_INVALID)
    if "id" not in document:
        raise Failure(*errors.JSON_WITHOUT_ID)
    if document["id"] != image_id:
        raise Failure(*errors.JSON_OTHER_ID)
    return {name: document[name] for name in ("id", "parent") if name in document}
