"""Hashing a layer while it is received."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from v1registry.lib.layers.same_layer import LayerContent
from v1registry.lib.layers.tarsum import TarSums
from v1registry.storage import Buffer


@dataclass(frozen=True, slots=True)
class StagedLayer:
    """A received layer of `size` bytes. `handle` names its staged bytes, None if they were not kept.

    `payloads` holds the simple checksum of the layer with each image JSON, and `tarsums` the TarSums
    if they were computed while receiving; both have the JSON's hex digest as key. `sender` is
    `Sender.file_name` of the user, None if users are not told apart. `content` is
    `LayerContent.value` for bytes that cannot be read again.
    """

    handle: str | None
    size: int
    payloads: dict[str, str]
    tarsums: dict[str, list[str]]
    sender: str | None = None
    content: str | None = None


class LayerHasher:
    """Hashes a layer while it is received, once with each image JSON that it may belong to.

    `with_content` also computes its `LayerContent`. It is required if the bytes cannot be read again
    and the sender may have to prove possession of the image.
    """

    def __init__(self, jsons: list[tuple[str, bytes]], with_content: bool = False) -> None:
        self.content = LayerContent() if with_content else None
        self._jsons = jsons
        self._hashes = {digest: hashlib.sha256(data + b"\n") for digest, data in jsons}
        self._layer_hash = hashlib.sha256()
        self._size = 0

    def hashing(self, pieces: Iterable[Buffer]) -> Iterator[Buffer]:
        """Hash the pieces and yield them unchanged."""
        hashes = [*self._hashes.values(), *([self._layer_hash] if self.content else [])]
        for piece in pieces:
            for sum in hashes:
                sum.update(piece)
            self._size += len(piece)
            yield piece

    def result(self, handle: str | None, tarsums: TarSums | None = None) -> StagedLayer:
        """Return the staged layer.

        `tarsums` are those of the same pass over the tar that `content` had, None if it failed.
        """
        payloads = {digest: f"sha256:{sum.hexdigest()}" for digest, sum in self._hashes.items()}
        known = {d: tarsums.values(data) for d, data in self._jsons} if tarsums else {}
        content = self.content
        if content and tarsums is None:
            content.incomplete()
        value = content.value(self._layer_hash.hexdigest()) if content else None
        return StagedLayer(handle, self._size, payloads, known, content=value)
