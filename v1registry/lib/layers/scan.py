"""The layer scan: one pass over a stored layer that verifies it and computes its layer metadata.

A layer comes from an untrusted client, and a disk may damage it. So every value is computed from the
bytes that this pass has read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from v1registry.lib.layers.decompress import DecompressedLayer, Readable, Tap
from v1registry.lib.layers.tar_header import BLOCK, LayerTooLarge, LayerUnreadable, is_header
from v1registry.lib.layers.tar_stream import entries

_PIECE = 1 << 20
_SIMPLE = "sha256:"

#: Digests of tar archives without any entry, only zeros. They disclose nothing.
EMPTY_DIFF_IDS = frozenset(
    {
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",  # 0 bytes
        "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef",  # 1024
        "sha256:84ff92691f909a05b224e1c56abb4864f01b4f8e3c854e4bb4c7baf1d3f6d652",  # 10240
    }
)


class DamagedLayer(Exception):
    """The layer cannot be served; the text says why."""


class NotWhole(DamagedLayer):
    """The layer is missing or truncated now. That may end soon, so the result must not be stored."""


class ChecksumMismatch(DamagedLayer):
    """The layer can be read to its end, but its bytes are not those that were pushed."""


@dataclass(frozen=True, slots=True)
class LayerDescriptor:
    """The metadata of a layer for v2.

    `digest` and `size` are those of the blob as it is served: of the stored bytes if `as_stored`,
    otherwise of the unpacked tar. `encoding` is that of the stored bytes (tar, gzip, bzip2, xz, lzma),
    `diff_id` the digest of the unpacked tar.
    """

    digest: str
    size: int
    diff_id: str
    encoding: str
    as_stored: bool

    @property
    def gzipped(self) -> bool:
        """Whether the blob is a gzipped tar rather than a plain one."""
        return self.as_stored and self.encoding == "gzip"

    @property
    def is_empty(self) -> bool:
        """Whether the layer has no entry, like the layer of a build step that changes no file."""
        return self.diff_id in EMPTY_DIFF_IDS


def scan_layer(
    layer: Readable, document: bytes, checksums: Sequence[str], max_bytes: int | None
) -> LayerDescriptor:
    """Read a layer to its end once and return its metadata. `document` is its image's JSON.

    `checksums` are those of the image. If one of them is a simple checksum, the bytes must match it.
    A plain tar without such a checksum is not verified: `walk` it as well (see `is_checked`).
    `max_bytes` counts unpacked bytes. Raise DamagedLayer.
    """
    simple = {sum for sum in checksums if sum.startswith(_SIMPLE)}
    stored_sum, payload = hashlib.sha256(), hashlib.sha256(document + b"\n")
    tap = Tap(layer, stored_sum, *([payload] if simple else []))
    source = DecompressedLayer(tap, max_bytes)
    unpacked, size = hashlib.sha256(), 0
    try:
        piece = source.read(BLOCK)
        if piece and not is_header(piece) and piece.strip(b"\0"):
            raise LayerUnreadable("it holds no tar archive")
        while piece:
            if source.encoding != "tar":
                unpacked.update(piece)
            size += len(piece)
            piece = source.some(_PIECE)
    except (LayerUnreadable, LayerTooLarge) as error:
        raise DamagedLayer(f"the layer cannot be read: {error}") from None
    tap.drain()
    if simple and f"{_SIMPLE}{payload.hexdigest()}" not in simple:
        raise ChecksumMismatch(
            "the stored bytes are not those that were pushed: the checksum differs"
        )
    stored = f"{_SIMPLE}{stored_sum.hexdigest()}"
    if source.encoding == "tar":
        return LayerDescriptor(stored, tap.size, stored, "tar", True)
    diff_id = f"{_SIMPLE}{unpacked.hexdigest()}"
    if source.encoding == "gzip" and source.pure:
        return LayerDescriptor(stored, tap.size, diff_id, "gzip", True)
    # Serve the plain tar: its bytes never depend on the version of a compressor.
    return LayerDescriptor(diff_id, size, diff_id, source.encoding, False)


def is_checked(metadata: LayerDescriptor, checksums: Sequence[str]) -> bool:
    """Return whether `scan_layer` has verified that the layer is complete and unchanged."""
    return metadata.encoding != "tar" or any(sum.startswith(_SIMPLE) for sum in checksums)


def walk(layer: Readable) -> None:
    """Walk over the entries of a tar. Raise DamagedLayer if it is truncated or damaged."""
    try:
        for _ in entries(layer):
            pass
    except (LayerUnreadable, LayerTooLarge) as error:
        raise DamagedLayer(f"the layer cannot be read: {error}") from None
