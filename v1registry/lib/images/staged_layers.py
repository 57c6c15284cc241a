"""What running pushes of an image have sent: staged JSONs, received copies of the layer.

All of it lies in one folder an image, `_v1registry/pushes/ID`, apart from the
staged layers themselves, which the driver keeps under their handles. No push
outlives a power cut, since its connections do not: so none of it is forced to
the disk. Each file is named by the hash of what is in it, and one of which a
power cut left a part counts as not there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from v1registry.lib import documents
from v1registry.lib.images.images import Image
from v1registry.lib.images.same_json import is_same_json
from v1registry.lib.layers.same_layer import LayerContent
from v1registry.lib.layers.tar_stream import LayerTooLarge, LayerUnreadable
from v1registry.lib.layers.tarsum import TarSums
from v1registry.lib.names import ImageId
from v1registry.storage import Blob, Buffer, Storage, keys
from v1registry.storage.errors import NotFound, Refused

Match = tuple["StagedLayer", str, list[str]]  # the copy, the digest of its JSON, its checksums


@dataclass(frozen=True, slots=True)
class StagedLayer:
    """A received layer: `handle` of the staged bytes (None: drained), `size` in bytes.

    `payloads` has the simple checksum with each JSON, `tarsums` the TarSums,
    where they were computed on the way; both by the JSON's hex digest. `sender`
    is who sent it (`proofs.mark`), where users are told apart. `content` is the
    `LayerContent.value` of bytes that cannot be read again.
    """

    handle: str | None
    size: int
    payloads: dict[str, str]
    tarsums: dict[str, list[str]]
    sender: str | None = None
    content: str | None = None


class LayerHasher:
    """Hashes a layer on its way, once with each JSON that it may belong to.

    `content` is for bytes that cannot be read again and may have to prove possession.
    """

    def __init__(self, jsons: list[tuple[str, bytes]], with_content: bool = False) -> None:
        self.content = LayerContent() if with_content else None
        self._jsons = jsons
        self._hashes = {digest: hashlib.sha256(data + b"\n") for digest, data in jsons}
        self._own = hashlib.sha256()
        self._size = 0

    def reading(self, pieces: Iterable[Buffer]) -> Iterator[Buffer]:
        hashes = [*self._hashes.values(), *([self._own] if self.content else [])]
        for piece in pieces:
            for sum in hashes:
                sum.update(piece)
            self._size += len(piece)
            yield piece

    def copy(self, handle: str | None, tarsums: TarSums | None = None) -> StagedLayer:
        """The copy; `tarsums` are those of the walk that `content` had, too, if it came to an end."""
        payloads = {digest: f"sha256:{sum.hexdigest()}" for digest, sum in self._hashes.items()}
        known = {d: tarsums.values(data) for d, data in self._jsons} if tarsums else {}
        content = self.content
        if content and tarsums is None:
            content.incomplete()
        value = content.value(self._own.hexdigest()) if content else None
        return StagedLayer(handle, self._size, payloads, known, content=value)


class StagedLayers:
    """Reads and writes the folder of an image's pushes. For the rest see `Uploads`."""

    def __init__(
        self, storage: Storage, offload: Callable[..., Any], max_bytes: int | None = None
    ) -> None:
        self._storage = storage
        self._offload = offload
        self._max_bytes = max_bytes

    # -- JSONs ----------------------------------------------------------------

    def stage_json(self, image_id: ImageId, data: bytes) -> str:
        """Keep a JSON that was sent; return its hex digest."""
        digest = _digest(data)
        self._storage.put(keys.pushed_json(image_id, digest), data, durable=False)
        return digest

    def staged_jsons(self, image_id: ImageId) -> list[tuple[str, bytes]]:
        """(hex digest, bytes) of each JSON that was sent, the newest first."""
        found, names = [], self._names(image_id, "json-")
        for name in names:
            digest = name.removeprefix("json-")
            key = keys.pushed_json(image_id, digest)
            try:
                modified, data = self._storage.stat(key).modified, self._storage.get(key)
            except NotFound:
                continue  # carried out meanwhile
            if _digest(data) == digest:
                found.append((modified, digest, data))
        return [(digest, data) for _, digest, data in sorted(found, reverse=True)]

    def open_json(self, image_id: ImageId) -> bytes | None:
        """The JSON under the final name, finished or left there open by 0.x."""
        try:
            return self._storage.get(keys.image(image_id, "json"))
        except NotFound:
            return None

    def json(self, image_id: ImageId, digest: str) -> bytes:
        """The JSON with this digest, staged or in place. Raise NotFound."""
        for key in (keys.pushed_json(image_id, digest), keys.image(image_id, "json")):
            with contextlib.suppress(NotFound):
                data = self._storage.get(key)
                if _digest(data) == digest:
                    return data
        raise NotFound(keys.pushed_json(image_id, digest))

    # -- layers ---------------------------------------------------------------

    def note(self, image_id: ImageId, copy: StagedLayer) -> None:
        """Write down a received copy; without this note its stage is a leftover.

        Named by what it says: equal copies that were drained leave one note.
        """
        fields = asdict(copy)
        if copy.content is None:
            del fields["content"]  # which older versions do not know
        data = documents.dump(fields)
        token = _digest(data)[:16]
        try:
            self._storage.put(keys.pushed_copy(image_id, token), data, durable=False)
        except BaseException:
            if copy.handle is not None:
                self._storage.abandon(copy.handle)
            raise

    def received(self, image_id: ImageId, sender: str | None = None) -> list[StagedLayer]:
        """All copies that are still known, finished pushes' included; or those of one sender."""
        found, names = [], self._names(image_id, "copy-")
        for name in names:
            token = name.removeprefix("copy-")
            try:
                data = self._storage.get(keys.pushed_copy(image_id, token))
            except NotFound:
                continue  # the cleaner was here
            if _digest(data).startswith(token):
                found.append(StagedLayer(**json.loads(data)))
        return [copy for copy in found if sender is None or copy.sender == sender]

    def staged_equal(self, image_id: ImageId, copy: StagedLayer) -> StagedLayer | None:
        """A noted copy of the same bytes that lies staged, or None.

        Nobody drops it before the image is finished: its client may be told
        success at any time, or be dead.
        """
        copies = self.received(image_id)
        for other in copies:
            if other.handle is None or not copy.payloads.items() <= other.payloads.items():
                continue
            if self._storage.is_staged(other.handle):
                return other
        return None

    def match(
        self, image_id: ImageId, copies: list[StagedLayer], values: list[str], image: Image | None
    ) -> Match | None:
        """The copy that one of the header's `values` describes, or None.

        First the sums that were taken on the way; then, since engines before
        0.10 send no other, the TarSum, which takes reading the copy once more.
        """
        for copy in copies:
            for digest, payload in copy.payloads.items():
                if payload in values:
                    return copy, digest, [payload]
                if known := [v for v in values if v in copy.tarsums.get(digest, [])]:
                    return copy, digest, [payload, known[0]]
        if not any(value.startswith("tarsum") for value in values):
            return None
        jsons = dict(self.staged_jsons(image_id))
        stored = image.json if image else self.open_json(image_id)
        if stored is not None:
            jsons[_digest(stored)] = stored
        for copy in copies:
            if (match := self._match_tarsum(image_id, copy, image, jsons, values)) is not None:
                return match
        return None

    def is_same(self, image: Image, copy: StagedLayer, digest: str) -> bool:
        """Whether a copy, sent with the JSON of this digest, is the finished image.

        Every engine writes both anew, so the bytes may differ; see `samejson`, `samelayer`.
        """
        if _digest(image.json) == digest and copy.payloads[digest] in image.checksums:
            return True
        try:
            sent = self.json(image.id, digest)
        except NotFound:
            return False  # the cleaner was here
        if not self._offload(is_same_json, sent, image.json):
            return False
        try:
            own = copy.content or self._content(self._open(copy, image))
            return own == self._content(self._storage.open(keys.image(image.id, "layer")))
        except NotFound:
            return False

    def forget_staged(self, copies: list[StagedLayer], matched: StagedLayer, image: Image) -> None:
        """Drop the staged bytes that nobody needs once the image is finished.

        The sums stay noted, so whoever sent them is still told success; the
        bytes of copies other than these may still be needed for a TarSum.
        """
        for copy in copies:
            if copy.handle is not None and (copy is matched or _is_in_place(copy, image)):
                self._storage.abandon(copy.handle)

    def _match_tarsum(
        self,
        image_id: ImageId,
        copy: StagedLayer,
        image: Image | None,
        jsons: dict[str, bytes],
        values: list[str],
    ) -> Match | None:
        if copy.handle is None or not jsons.keys() & copy.payloads.keys():
            return None
        with contextlib.suppress(NotFound), self._open(copy, image) as blob:
            match: Match | None = self._offload(self._matching, image_id, blob, copy, jsons, values)
            return match
        return None

    def _matching(
        self,
        image_id: ImageId,
        blob: Blob,
        copy: StagedLayer,
        jsons: dict[str, bytes],
        values: list[str],
    ) -> Match | None:
        # Noted here, where few run at once: of many requests about one hostile layer, few read it.
        refusal = keys.pushed_refusal(image_id, _digest((copy.handle or "").encode())[:16])
        limit = b"%d" % (self._max_bytes or 0)
        with contextlib.suppress(NotFound):
            if self._storage.get(refusal) == limit:
                return None
        try:
            # The sums of many entries take as long as reading the layer does.
            sums = TarSums.read(blob, (0, 1), self._max_bytes)
        except (LayerUnreadable, LayerTooLarge):
            with contextlib.suppress(Refused):
                self._storage.put(refusal, limit, durable=False)
            return None
        for digest, payload in copy.payloads.items():
            for value in values:
                if digest in jsons and sums.matches(jsons[digest], value):
                    return copy, digest, [payload, value]
        return None

    def _content(self, opened: Blob) -> str:
        with opened as blob:
            value: str = self._offload(LayerContent.read, blob, self._max_bytes)
        return value

    def _open(self, copy: StagedLayer, image: Image | None) -> Blob:
        """The copy's bytes: staged, or in place if they are the ones that stayed."""
        if copy.handle is None:
            raise NotFound("a copy that was not kept")
        try:
            return self._storage.open_staged(copy.handle)
        except NotFound:
            if image is None or not _is_in_place(copy, image):
                raise
            return self._storage.open(keys.image(image.id, "layer"))

    def _names(self, image_id: ImageId, prefix: str) -> list[str]:
        folder = keys.pushes(image_id)
        return [entry.name for entry in self._storage.list(folder) if entry.name.startswith(prefix)]


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _is_in_place(copy: StagedLayer, image: Image) -> bool:
    """Whether the finished image's layer is byte for byte this copy."""
    return not set(image.checksums).isdisjoint(copy.payloads.values())
