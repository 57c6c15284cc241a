"""Staged uploads of an image: the image JSONs and layers that running pushes have sent.

Their files are in one folder for each image, `_v1registry/pushes/ID`. The bytes of the staged
layers are elsewhere: the driver keeps them under their handles.

A push never outlives a power loss, because its connection does not. So none of these writes is
durable. Each file is named by the hash of its content, and a file that does not match its name
(truncated by a power loss) counts as absent.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from v1registry.lib import documents
from v1registry.lib.images.images import Image
from v1registry.lib.images.layer_hasher import StagedLayer
from v1registry.lib.images.same_json import is_same_json
from v1registry.lib.layers.same_layer import LayerContent
from v1registry.lib.layers.tar_stream import LayerTooLarge, LayerUnreadable
from v1registry.lib.layers.tarsum import TarSums
from v1registry.lib.names import ImageId
from v1registry.storage import Blob, Storage, get_or_none, keys
from v1registry.storage.errors import NotFound, Refused


class Match(NamedTuple):
    """The staged layer and image JSON that the checksums of a request describe."""

    layer: StagedLayer
    json_digest: str
    checksums: list[str]


@dataclass(eq=False)
class StagedLayers:
    """Reads and writes the folder of an image's pushes. `Uploads` uses it.

    `run_in_thread` runs a function in the thread pool. `max_bytes` (decompressed) limits what a TarSum
    reads of one layer.
    """

    storage: Storage
    run_in_thread: Callable[..., Any]
    max_bytes: int | None = None

    # -- image JSONs ------------------------------------------------------------

    def stage_json(self, image_id: ImageId, data: bytes) -> str:
        """Stage an image JSON; return its hex digest."""
        digest = _digest(data)
        self.storage.put(keys.pushed_json(image_id, digest), data, durable=False)
        return digest

    def staged_jsons(self, image_id: ImageId) -> list[tuple[str, bytes]]:
        """Return (hex digest, bytes) of each staged image JSON, the newest first."""
        found, names = [], self._names(image_id, "json-")
        for name in names:
            digest = name.removeprefix("json-")
            key = keys.pushed_json(image_id, digest)
            try:
                modified, data = self.storage.stat(key).modified, self.storage.get(key)
            except NotFound:
                continue  # another process has completed the commit meanwhile
            if _digest(data) == digest:
                found.append((modified, digest, data))
        return [(digest, data) for _, digest, data in sorted(found, reverse=True)]

    def open_json(self, image_id: ImageId) -> bytes | None:
        """Return the image JSON in place: of a complete image, or of a push that 0.x left open."""
        return get_or_none(self.storage, keys.image(image_id, "json"))

    def json(self, image_id: ImageId, digest: str) -> bytes:
        """Return the image JSON with this digest, staged or in place. Raise NotFound."""
        for key in (keys.pushed_json(image_id, digest), keys.image(image_id, "json")):
            data = get_or_none(self.storage, key)
            if data is not None and _digest(data) == digest:
                return data
        raise NotFound(keys.pushed_json(image_id, digest))

    # -- layers -------------------------------------------------------------------

    def note(self, image_id: ImageId, staged: StagedLayer) -> None:
        """Write the note about a received layer. The cleaner deletes staged bytes without a note.

        The note's name is the hash of its content. So equal layers whose bytes were not kept share
        one note.
        """
        fields = asdict(staged)
        if staged.content is None:
            del fields["content"]  # older versions do not know this field
        data = documents.dump(fields)
        token = _digest(data)[:16]
        try:
            self.storage.put(keys.pushed_copy(image_id, token), data, durable=False)
        except BaseException:
            if staged.handle is not None:
                self.storage.abandon(staged.handle)
            raise

    def received(self, image_id: ImageId, sender: str | None = None) -> list[StagedLayer]:
        """Return all received layers with a note, also of completed pushes; or those of one sender."""
        found, names = [], self._names(image_id, "copy-")
        for name in names:
            token = name.removeprefix("copy-")
            data = get_or_none(self.storage, keys.pushed_copy(image_id, token))
            # The cleaner may have deleted the note meanwhile.
            if data is not None and _digest(data).startswith(token):
                found.append(StagedLayer(**json.loads(data)))
        return [staged for staged in found if sender is None or staged.sender == sender]

    def staged_equal(self, image_id: ImageId, layer: StagedLayer) -> StagedLayer | None:
        """Return another noted layer with the same bytes that is still staged, or None.

        Its bytes stay staged until the image is complete. So the caller may drop its own bytes.
        """
        for other in self.received(image_id):
            if other.handle is None or not layer.payloads.items() <= other.payloads.items():
                continue
            if self.storage.is_staged(other.handle):
                return other
        return None

    def match(
        self, image_id: ImageId, layers: list[StagedLayer], values: list[str], image: Image | None
    ) -> Match | None:
        """Return the layer that one of the header's `values` describes, or None.

        First compare the checksums that were computed while receiving. Engines before 0.10 send only
        a TarSum; computing it reads the staged layer once more.
        """
        match = _match_known(layers, values)
        if match is not None or not any(value.startswith("tarsum") for value in values):
            return match
        jsons = dict(self.staged_jsons(image_id))
        stored = image.json if image else self.open_json(image_id)
        if stored is not None:
            jsons[_digest(stored)] = stored
        for layer in layers:
            match = self._match_tarsum(image_id, layer, image, jsons, values)
            if match is not None:
                return match
        return None

    def is_same(self, image: Image, staged: StagedLayer, digest: str) -> bool:
        """Return whether a layer, sent with the JSON of this digest, has the complete image's content.

        Engines write JSON and layer anew for each push, so the bytes may differ: `same_json` and
        `same_layer` compare them.
        """
        if _digest(image.json) == digest and staged.payloads[digest] in image.checksums:
            return True
        try:
            sent = self.json(image.id, digest)
        except NotFound:
            return False  # the cleaner has deleted it meanwhile
        if not self.run_in_thread(is_same_json, sent, image.json):
            return False
        try:
            content = staged.content or self._content(self._open(staged, image))
            return content == self._content(self.storage.open(keys.image(image.id, "layer")))
        except NotFound:
            return False

    def forget_staged(self, layers: list[StagedLayer], matched: StagedLayer, image: Image) -> None:
        """Delete the staged bytes that are not needed once the image is complete.

        The notes stay, so the clients that sent these layers are still told success. The bytes of
        layers other than these stay as well: a TarSum may still have to read them.
        """
        for layer in layers:
            if layer.handle is not None and (layer is matched or _is_in_place(layer, image)):
                self.storage.abandon(layer.handle)

    def _match_tarsum(
        self,
        image_id: ImageId,
        layer: StagedLayer,
        image: Image | None,
        jsons: dict[str, bytes],
        values: list[str],
    ) -> Match | None:
        if layer.handle is None or not jsons.keys() & layer.payloads.keys():
            return None
        with contextlib.suppress(NotFound), self._open(layer, image) as blob:
            match: Match | None = self.run_in_thread(
                self._read_tarsum, image_id, blob, layer, jsons, values
            )
            return match
        return None

    def _read_tarsum(
        self,
        image_id: ImageId,
        blob: Blob,
        layer: StagedLayer,
        jsons: dict[str, bytes],
        values: list[str],
    ) -> Match | None:
        # The thread pool runs few of these at once. So the refusal is looked up here: of many
        # requests about one hostile layer, only the first few read the layer.
        refusal = keys.pushed_refusal(image_id, _digest((layer.handle or "").encode())[:16])
        limit = b"%d" % (self.max_bytes or 0)
        if get_or_none(self.storage, refusal) == limit:
            return None
        try:
            # For a layer of many entries, computing both TarSums takes as long as reading it.
            sums = TarSums.read(blob, (0, 1), self.max_bytes)
        except (LayerUnreadable, LayerTooLarge):
            with contextlib.suppress(Refused):
                self.storage.put(refusal, limit, durable=False)
            return None
        for digest, payload in layer.payloads.items():
            for value in values:
                if digest in jsons and sums.matches(jsons[digest], value):
                    return Match(layer, digest, [payload, value])
        return None

    def _content(self, opened: Blob) -> str:
        with opened as blob:
            value: str = self.run_in_thread(LayerContent.read, blob, self.max_bytes)
        return value

    def _open(self, layer: StagedLayer, image: Image | None) -> Blob:
        """Open the layer's bytes: staged, or in place if they have become the image's layer."""
        if layer.handle is None:
            raise NotFound("a layer whose bytes were not kept")
        try:
            return self.storage.open_staged(layer.handle)
        except NotFound:
            if image is None or not _is_in_place(layer, image):
                raise
            return self.storage.open(keys.image(image.id, "layer"))

    def _names(self, image_id: ImageId, prefix: str) -> list[str]:
        folder = keys.pushes(image_id)
        return [entry.name for entry in self.storage.list(folder) if entry.name.startswith(prefix)]


def _match_known(layers: list[StagedLayer], values: list[str]) -> Match | None:
    """Return the layer with one of these checksums among those computed while receiving."""
    for layer in layers:
        for digest, payload in layer.payloads.items():
            if payload in values:
                return Match(layer, digest, [payload])
            if known := [v for v in values if v in layer.tarsums.get(digest, [])]:
                return Match(layer, digest, [payload, known[0]])
    return None


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _is_in_place(layer: StagedLayer, image: Image) -> bool:
    """Return whether the complete image's layer has exactly the bytes of this staged layer."""
    return not set(image.checksums).isdisjoint(layer.payloads.values())
