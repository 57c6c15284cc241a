"""Checks of a layer, and of the layer metadata that is stored beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from v1registry.lib import documents
from v1registry.lib.layers.scan import (
    ChecksumMismatch,
    DamagedLayer,
    LayerDescriptor,
    is_checked,
    scan_layer,
    walk,
)
from v1registry.lib.layers.tar_header import LayerTooLarge, LayerUnreadable
from v1registry.lib.layers.tarsum import TarSums
from v1registry.lib.maintenance.findings import Finding
from v1registry.lib.oci.layer_metadata import StoredMetadata, parse_metadata, scan_limit
from v1registry.storage import Storage, get_or_none, keys
from v1registry.storage.errors import NotFound

if TYPE_CHECKING:
    from v1registry.lib.maintenance.image_checks import StoredImage

_SIMPLE = "sha256:"
_TARSUM = "tarsum"


class LayerChecks:
    """Checks layers. If `deep`, it reads them to the end; `max_bytes` unpacked bytes, at least."""

    def __init__(self, storage: Storage, *, deep: bool, max_bytes: int) -> None:
        self._storage = storage
        self._deep = deep
        self._max_bytes = max_bytes

    def check(self, image: StoredImage) -> Iterator[Finding]:
        """Yield the findings about the layer of a complete image. Raise StorageError."""
        key = keys.image(image.id, "layer")
        if image.size is None:
            yield Finding("layer-missing", key)
            return
        pushed = image.record.size if image.record else image.size
        if image.size != pushed:
            yield Finding("layer-size", key, f"{image.size} instead of {pushed}")
        stored, damaged = self._metadata(image)
        metadata_key = keys.image(image.id, "_oci")
        if damaged:
            yield Finding("metadata-invalid", metadata_key, fixable=True)
        if not self._deep:
            is_current = stored is None or (
                (stored.checksums, stored.size) == (image.pushed_checksums, image.size)
            )
            if not is_current:
                yield Finding("metadata-differs", metadata_key, fixable=True)
            elif stored and isinstance(stored.found, DamagedLayer):
                yield Finding("layer-damaged", key, str(stored.found))
            return
        try:
            found = self._scan(image)
        except NotFound:
            yield Finding("layer-missing", key)
        except ChecksumMismatch as error:
            yield Finding("checksum-mismatch", key, str(error))
        except DamagedLayer as error:
            yield Finding("layer-damaged", key, str(error))
        else:
            if stored and _differs(stored, found, image):
                yield Finding("metadata-differs", metadata_key, fixable=True)
            # With a checksum, these are the bytes that were pushed. Engines do not always push a tar
            # with the bytes from which the id was made.
            expected = (
                None if _has(image.pushed_checksums, _SIMPLE) else _chain_id(image, found.diff_id)
            )
            if expected not in (None, image.id):
                yield Finding("chain-id", key, f"its chain id is {expected}")

    def _metadata(self, image: StoredImage) -> tuple[StoredMetadata | None, bool]:
        """Return the stored metadata, if any, and whether it is damaged."""
        data = None
        if "_oci" in image.parts:
            data = get_or_none(self._storage, keys.image(image.id, "_oci"))
        try:
            return (None, False) if data is None else (parse_metadata(data), False)
        except ValueError:
            return None, True

    def _scan(self, image: StoredImage) -> LayerDescriptor:
        """Read the layer and verify it against its checksums. Raise DamagedLayer, NotFound."""
        key, limit = keys.image(image.id, "layer"), scan_limit(self._max_bytes, image.size)
        data = image.pushed_json
        # The checksums cover the JSON: if that is damaged, they say nothing about the layer.
        checksums = () if data is None else image.pushed_checksums
        with self._storage.open(key) as layer:
            found = scan_layer(layer, data or b"", checksums, limit)
        if is_checked(found, checksums) and _has(checksums, _SIMPLE):
            return found
        if _has(checksums, _TARSUM):
            self._check_tarsum(key, data or b"", checksums, limit)
        elif not is_checked(found, checksums):
            with self._storage.open(key) as layer:
                walk(layer)
        return found

    def _check_tarsum(self, key: str, data: bytes, checksums: tuple[str, ...], limit: int) -> None:
        try:
            with self._storage.open(key) as layer:
                sums = TarSums.read(layer, max_bytes=limit)
        except (LayerUnreadable, LayerTooLarge) as error:
            raise DamagedLayer(f"the layer cannot be read: {error}") from None
        if not any(sums.matches(data, text) for text in checksums):
            raise ChecksumMismatch("the TarSum differs")


def _has(checksums: tuple[str, ...], kind: str) -> bool:
    """Return whether one of the checksums is of this kind."""
    return any(text.startswith(kind) for text in checksums)


def _differs(stored: StoredMetadata, found: LayerDescriptor, image: StoredImage) -> bool:
    return stored != StoredMetadata(image.pushed_checksums, image.size, found)


def _chain_id(image: StoredImage, diff_id: str) -> str | None:
    """Return the id that Docker 1.10 or later gives the image; None for a JSON of another kind.

    These engines push an ancestor with only `id` and `parent`. Its id and its parent's are chain ids,
    so each layer can be checked by itself.
    """
    document = documents.load(image.pushed_json or b"[]")
    if not isinstance(document, dict) or not set(document) <= {"id", "parent"}:
        return None
    parent = document.get("parent")
    if not parent:
        return diff_id.removeprefix("sha256:")
    return hashlib.sha256(f"sha256:{parent} {diff_id}".encode()).hexdigest()
