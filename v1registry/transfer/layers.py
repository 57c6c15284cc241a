"""Layers of the store as blobs, in the bytes that v2 clients see."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from v1registry.lib.images.images import Images
from v1registry.lib.layers.decompress import DecompressedLayer, Tap
from v1registry.lib.layers.scan import LayerDescriptor
from v1registry.lib.layers.tar_header import LayerTooLarge, LayerUnreadable
from v1registry.lib.names import ImageId
from v1registry.transfer.errors import TransferError

PIECE = 1024 * 1024  # bytes


@dataclass(frozen=True, slots=True)
class SourceLayerBlob:
    """The layer of one image, with its layer metadata."""

    images: Images
    image_id: ImageId
    metadata: LayerDescriptor

    @property
    def digest(self) -> str:
        return self.metadata.digest

    @property
    def size(self) -> int:
        return self.metadata.size

    def pieces(self, start: int = 0) -> Iterator[bytes]:
        """Yield the blob's bytes from `start` on: as stored, or unpacked if v2 clients get it unpacked."""
        if not self.metadata.as_stored:
            yield from _skip(self.unpacked(), start)
            return
        with self.images.open_layer(self.images.get(self.image_id)) as layer:
            yield from layer.pieces(start)

    def unpacked(self, on_bytes: Callable[[int], None] = lambda count: None) -> Iterator[bytes]:
        """Yield the uncompressed tar archive. Raise TransferError if it cannot be read.

        `on_bytes` is called with counts of bytes, whose sum is `size`.
        """
        with self.images.open_layer(self.images.get(self.image_id)) as layer:
            tap, total, reported = Tap(layer), 0, 0
            source = DecompressedLayer(tap, None)  # the layer scan has checked the limits
            try:
                while piece := source.some(PIECE):
                    total += len(piece)
                    moved = min(self.size, tap.size if self.metadata.as_stored else total)
                    on_bytes(moved - reported)
                    reported = moved
                    yield piece
                on_bytes(self.size - reported)  # bytes behind the end of the archive
            except (LayerUnreadable, LayerTooLarge) as error:
                raise TransferError(f"the layer of {self.image_id} changed: {error}") from None


def _skip(pieces: Iterator[bytes], start: int) -> Iterator[bytes]:
    for piece in pieces:
        if start < len(piece):
            yield piece[start:] if start else piece
            start = 0
        else:
            start -= len(piece)
