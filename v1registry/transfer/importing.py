"""Import from an archive or layout into the store. Each layer is checked, then uploaded like a push.

The import uses `lib.images.upload` like every push, so it is safe beside running servers: an image is
visible only when it is complete. An image that is in the store stays unchanged.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

from v1registry.lib.errors import Failure
from v1registry.lib.images.images import Images
from v1registry.lib.images.upload import Uploads
from v1registry.lib.layers.decompress import DecompressedLayer, Readable
from v1registry.lib.layers.tar_header import LayerTooLarge, LayerUnreadable
from v1registry.lib.names import ImageId, RepositoryName
from v1registry.lib.repositories.image_list import ImageListStore
from v1registry.lib.repositories.repositories import Repositories
from v1registry.transfer import zstd
from v1registry.transfer.bundles import Bundle
from v1registry.transfer.errors import TransferError
from v1registry.transfer.oci_to_v1 import LayerToConvert, V1Layer
from v1registry.transfer.report import FAILURES, ReportLine, TransferReport
from v1registry.transfer.selection import ImportSelection

AGENT = "v1registry-import"
_PIECE = 1024 * 1024
_MOST_KEPT = 16 * 1024 * 1024  # bytes of image JSON that are kept in memory
_GZIP = b"\x1f\x8b"
_LEVEL = 6  # of gzip
_EMPTY = bytes(1024)  # a tar archive without entries


@dataclass(frozen=True, slots=True)
class Importer:
    """Imports images into one store. `max_bytes` limits an unpacked layer.

    `begin` tells the index that a push to a repository begins, as a client does. It is called before
    anything of the repository is visible.
    """

    images: Images
    uploads: Uploads
    lists: ImageListStore
    repositories: Repositories
    report: TransferReport
    _: KW_ONLY
    max_bytes: int
    begin: Callable[[RepositoryName], object] = lambda _: None

    def run(self, bundle: Bundle, wanted: Sequence[ImportSelection]) -> None:
        """Import the images. The report lists those that cannot be imported."""
        chains, expected = self._look(bundle, wanted)
        self.report.expect(expected)
        for image in wanted:
            name = str(image.repository)
            line = ReportLine(name, image.tag, name, "", "failed")
            with self.report.failing(line):
                chain = chains.pop(image.key, None) or bundle.chain(image.key)
                line.v1_id, line.layers = chain[-1].id, len(chain)
                line.state = self.report.done if self._import(image, chain) else "there"
            self.report.finish(line, image)
        self.report.settle()

    def _look(
        self, bundle: Bundle, wanted: Sequence[ImportSelection]
    ) -> tuple[dict[str, list[V1Layer]], int]:
        """Return the chains that fit into memory, by key, and the number of bytes to import."""
        chains: dict[str, list[V1Layer]] = {}
        sizes: dict[str, int] = {}
        kept = 0
        for image in wanted:
            with contextlib.suppress(*FAILURES):  # reported when the image is imported
                chain = chains.get(image.key) or bundle.chain(image.key)
                kept += sum(len(layer.json) for layer in chain)
                if kept < _MOST_KEPT:
                    chains[image.key] = chain
                for layer in chain:
                    if layer.id not in sizes and not self._is_there(layer):
                        sizes[layer.id] = (layer.layer or _Empty()).size
        return chains, sum(sizes.values())

    def _import(self, wanted: ImportSelection, chain: list[V1Layer]) -> bool:
        """Write what is missing, and return whether anything was."""
        top = chain[-1].id
        self.repositories.immutable.refuse_push(wanted.repository, {wanted.tag: {top}})
        changed = False
        for layer in chain:
            if self._is_there(layer):
                self.report.count(present=1)
            else:
                self._push(layer)
                self.report.count(uploaded=1)
                changed = True
            self.report.progress.layer()
        self.begin(wanted.repository)
        entries = [{"id": layer.id} for layer in chain[:-1]]
        self.lists.update(
            wanted.repository, json.dumps([*entries, {"id": top, "Tag": wanted.tag}]).encode()
        )
        try:
            if self.repositories.tag(wanted.repository, wanted.tag) == top:
                return changed
        except Failure:
            pass  # a new tag
        self.repositories.set_tag(wanted.repository, wanted.tag, json.dumps(top).encode(), AGENT)
        return True

    def _is_there(self, layer: V1Layer) -> bool:
        image = self.images.find(layer.id)
        if image is not None and image.json != layer.json:
            raise TransferError(f"the store has another image with the id {layer.id}")
        return image is not None

    def _push(self, layer: V1Layer) -> None:
        source = layer.layer or _Empty()
        head = next(source.pieces(), b"")[:4]
        self._check(source, head, layer)
        image_id = ImageId.parse(layer.id)
        self.uploads.put_json(image_id, layer.json)
        payload = hashlib.sha256(layer.json + b"\n")
        stored = self._stored(self._counted(source.pieces()), head)
        self.uploads.put_layer(image_id, self._hashed(stored, payload))
        self.uploads.put_checksum(image_id, f"sha256:{payload.hexdigest()}", None)

    def _check(self, source: LayerToConvert, head: bytes, layer: V1Layer) -> None:
        """Read the whole layer before anything is written. Raise TransferError if it is damaged."""
        sum = hashlib.sha256()
        try:
            for piece in self._unpacked(source.pieces(), head):
                sum.update(piece)
        except (LayerUnreadable, LayerTooLarge) as error:
            raise TransferError(f"the layer of {layer.id} cannot be read: {error}") from None
        if layer.diff_id is not None and layer.diff_id != f"sha256:{sum.hexdigest()}":
            raise TransferError(
                f"the layer of {layer.id} is not the one that the configuration names:"
                f" sha256:{sum.hexdigest()}, not {layer.diff_id}"
            )

    def _stored(self, pieces: Iterator[bytes], head: bytes) -> Iterator[bytes]:
        """Return the bytes to store, compressed with gzip as clients do. A gzip layer stays unchanged."""
        return pieces if head.startswith(_GZIP) else _gzipped(self._unpacked(pieces, head))

    def _unpacked(self, pieces: Iterator[bytes], head: bytes) -> Iterator[bytes]:
        """Yield the tar archive. Raise LayerUnreadable, LayerTooLarge or TransferError."""
        file: Readable = _File(pieces)
        if head.startswith(zstd.MAGIC):
            file = zstd.Unpacked(file, "the layer")
        unpacked = DecompressedLayer(file, self.max_bytes)
        while piece := unpacked.some(_PIECE):
            yield piece

    def _counted(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self.report.bytes(len(piece))
            yield piece

    def _hashed(self, pieces: Iterator[bytes], payload: Any) -> Iterator[bytes]:
        for piece in pieces:
            payload.update(piece)
            self.report.count(sent=len(piece))
            yield piece


class _Empty:
    """An empty layer, for an image without a layer."""

    size = len(_EMPTY)

    def pieces(self) -> Iterator[bytes]:
        yield _EMPTY


class _File:
    """A file over pieces."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = pieces, b""

    def read(self, size: int, /) -> bytes:
        if not self._rest:
            self._rest = next(self._pieces, b"")
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken


def _gzipped(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Compress with gzip, without time and name, so that equal layers give equal bytes."""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, 31)
    for piece in pieces:
        if packed := packer.compress(piece):
            yield packed
    yield packer.flush()
