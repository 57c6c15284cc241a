"""Layer metadata, computed once and stored beside the image as `images/ID/_oci`.

0.x ignores the file. It contains the layer's checksums and size, and is valid only while they match:
0.x may have written the image anew (docs/architecture.md#rule-9-roll-back-stays-possible). If reading
the layer shows that it is damaged, that is stored as well, so that the layer is not read on every
request. A missing or truncated layer is read again: an administrator may be restoring it.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, asdict, dataclass
from typing import Any, NamedTuple

from v1registry.lib import documents
from v1registry.lib.errors import Failure
from v1registry.lib.images.images import Image, Images
from v1registry.lib.layers.scan import (
    DamagedLayer,
    LayerDescriptor,
    NotWhole,
    is_checked,
    scan_layer,
    walk,
)
from v1registry.lib.names import Digest
from v1registry.lib.oci.digest_index import DigestIndex
from v1registry.lib.support.cache import Cache
from v1registry.lib.support.single_flight import SingleFlightCache
from v1registry.storage import Storage, keys
from v1registry.storage.errors import NotFound, Refused

_NAME = "_oci"
_SIZE = 500  # bytes of cached layer metadata, approximately
_MISSING = "the layer is missing"
_RATIO = 20  # a layer may unpack to this multiple of its size, even beyond the limit

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class LayerMetadataStore:
    """Reads, computes and stores layer metadata.

    `run_in_thread` runs a layer scan in the thread pool; `max_bytes` (unpacked) limits it.
    `cache_limit` is in bytes, `cache_life` in seconds. If `read_only`, metadata is cached but not stored.
    """

    storage: Storage
    images: Images
    digests: DigestIndex
    run_in_thread: Callable[..., Any]
    _: KW_ONLY
    max_bytes: int
    cache_limit: int
    cache_life: float
    read_only: bool = False

    def __post_init__(self) -> None:
        self._cache: Cache[LayerDescriptor | DamagedLayer] = Cache(
            self.cache_limit, self.cache_life, lambda _: _SIZE
        )
        self._running: SingleFlightCache[LayerDescriptor | DamagedLayer] = SingleFlightCache(0)

    def get(self, image: Image) -> LayerDescriptor:
        """Return the metadata, computed if it is not known. Raise DamagedLayer."""
        known = self.known(image)
        if known is None:
            # Concurrent requests share one scan.
            known = self._running.get(image.id, lambda: self.compute(image))
        if isinstance(known, DamagedLayer):
            raise DamagedLayer(str(known))
        return known

    def known(self, image: Image) -> LayerDescriptor | DamagedLayer | None:
        """Return the known metadata or damage, None if the layer was never read."""
        known = self._cache.get(image.id)
        if known is None:
            known = self._kept(image)
            if known is not None:
                self._cache.put(image.id, known)
        return known

    def compute(self, image: Image) -> LayerDescriptor | DamagedLayer:
        """Scan the layer and store the result."""
        return self._compute(image, self.run_in_thread, image.checksums)

    def scan_pushed(self, image: Image, run_in_thread: Callable[..., Any]) -> None:
        """Scan a layer whose bytes were verified against its checksum just now."""
        if self.known(image) is None:
            self._running.get(image.id, lambda: self._compute(image, run_in_thread, None))

    def _compute(
        self, image: Image, run_in_thread: Callable[..., Any], checksums: Sequence[str] | None
    ) -> LayerDescriptor | DamagedLayer:
        found: LayerDescriptor | DamagedLayer
        try:
            found = run_in_thread(self._scan, image, checksums)
        except DamagedLayer as error:
            _log.error("Image %s: %s", image.id, error)
            found = error
            if isinstance(error, NotWhole):
                return found
        self._keep(image, found)
        self._cache.put(image.id, found)
        return found

    def forget(self, image: Image) -> None:
        """Delete the index entry of an image. The caller deletes the image's folder."""
        known = self._kept(image)
        self._cache.forget(image.id)
        if isinstance(known, LayerDescriptor):
            self.digests.forget(known.digest, "layer", image.id)

    def index(self, image: Image, metadata: LayerDescriptor) -> None:
        """Add the layer to the digest index."""
        if metadata.is_empty and self.digests.find(Digest(metadata.digest)):
            return  # thousands of images share the empty layer: one entry is enough
        self.digests.note(metadata.digest, "layer", image.id)

    def _scan(self, image: Image, checksums: Sequence[str] | None) -> LayerDescriptor:
        """Read the layer once and verify it against `checksums`, None if that was done already."""
        try:
            with self.images.open_layer(image) as layer:
                try:
                    metadata = scan_layer(layer, image.json, checksums or (), self._limit(image))
                except DamagedLayer as error:
                    if layer.size != image.size:
                        raise NotWhole(str(error)) from None
                    raise
            if checksums is not None and not is_checked(metadata, checksums):
                with self.images.open_layer(image) as layer:
                    walk(layer)
        except Failure:
            raise NotWhole(_MISSING) from None
        return metadata

    def _limit(self, image: Image) -> int:
        return scan_limit(self.max_bytes, image.size)

    # -- stored metadata -------------------------------------------------------

    def _keep(self, image: Image, found: LayerDescriptor | DamagedLayer) -> None:
        """Store a result. If a full or read-only store refuses it, it is computed again."""
        if self.read_only:
            return
        value: dict[str, Any] = {"checksums": list(image.checksums), "stored": image.size}
        if isinstance(found, DamagedLayer):
            value |= {"damage": str(found), "limit": self._limit(image)}
        else:
            value["facts"] = asdict(found)
            self.index(image, found)
        with contextlib.suppress(Refused):
            self.storage.put(keys.image(image.id, _NAME), documents.dump(value), durable=False)

    def _kept(self, image: Image) -> LayerDescriptor | DamagedLayer | None:
        try:
            stored = parse_metadata(self.storage.get(keys.image(image.id, _NAME)))
        except (NotFound, ValueError):
            return None
        if (stored.checksums, stored.size) != (image.checksums, image.size):
            return None
        if isinstance(stored.found, DamagedLayer) and (
            # The layer may be restored, or the limit may be higher now.
            str(stored.found) == _MISSING or stored.limit < self._limit(image)
        ):
            return None
        return stored.found


class StoredMetadata(NamedTuple):
    """A stored result, and what it was computed from: the image's checksums and the layer's size."""

    checksums: tuple[str, ...]
    size: int | None
    found: LayerDescriptor | DamagedLayer
    limit: int = 0


def parse_metadata(data: bytes) -> StoredMetadata:
    """Parse a stored result. Raise ValueError."""
    try:
        value = json.loads(data)
        checksums, size = tuple(value["checksums"]), value["stored"]
        if "facts" not in value:
            return StoredMetadata(
                checksums, size, DamagedLayer(value["damage"]), int(value["limit"])
            )
        metadata = LayerDescriptor(**value["facts"])
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"not layer metadata: {error!r}") from None
    if not Digest.is_valid(metadata.digest):
        raise ValueError("the digest is invalid")
    return StoredMetadata(checksums, size, metadata)


def scan_limit(max_bytes: int, size: int | None) -> int:
    """Return how many unpacked bytes of a layer with `size` stored bytes are read."""
    return max(max_bytes, _RATIO * (size or 0))
