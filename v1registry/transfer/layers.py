"""A layer of the store as a blob: the bytes that v2 clients see."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from v1registry.lib.images.images import Images
from v1registry.lib.layers.decompress import DecompressedLayer
from v1registry.lib.layers.scan import LayerDescriptor
from v1registry.lib.layers.tar_header import LayerTooLarge, LayerUnreadable
from v1registry.lib.layers.tar_stream import Readable
from v1registry.lib.names import ImageId
from v1registry.transfer.errors import TransferError

PIECE = 1024 * 1024  # bytes


@dataclass(frozen=True, slots=True)
class SourceLayerBlob:
    """The layer of one image, with its facts."""

    images: Images
    image_id: ImageId
    facts: LayerDescriptor

    @property
    def digest(self) -> str:
        return self.facts.digest

    @property
    def size(self) -> int:
        return self.facts.size

    def pieces(self, start: int = 0) -> Iterator[bytes]:
        """The blob's bytes from `start` on: as stored, or unpacked where that is what is served."""
        if not self.facts.as_stored:
            yield from _skip(self.unpacked(), start)
            return
        with self.images.open_layer(self.images.get(self.image_id)) as layer:
            yield from layer.pieces(start)

    def unpacked(self, told: Callable[[int], None] = lambda count: None) -> Iterator[bytes]:
        """The archive itself. Raise TransferError if it cannot be read any more.

        `told` gets counts of bytes which sum up to `size`.
        """
        left = self.size
        with self.images.open_layer(self.images.get(self.image_id)) as layer:
            read = _Counted(layer)
            source = DecompressedLayer(
                read, None
            )  # it was read to its end before, within the limits
            try:
                while piece := source.some(PIECE):
                    count = min(left, read.taken() if self.facts.as_stored else len(piece))
                    told(count)
                    left -= count
                    yield piece
                told(left)  # what lies behind the end of the archive
            except (LayerUnreadable, LayerTooLarge) as error:
                raise TransferError(f"the layer of {self.image_id} changed: {error}") from None


class _Counted:
    """A file; counts what is read of it."""

    def __init__(self, file: Readable) -> None:
        self._file = file
        self._count = 0

    def read(self, size: int, /) -> bytes:
        data = self._file.read(size)
        self._count += len(data)
        return data

    def taken(self) -> int:
        """Return how many bytes were read since the last call."""
        count, self._count = self._count, 0
        return count


def _skip(pieces: Iterator[bytes], start: int) -> Iterator[bytes]:
    for piece in pieces:
        if start < len(piece):
            yield piece[start:] if start else piece
            start = 0
        else:
            start -= len(piece)
