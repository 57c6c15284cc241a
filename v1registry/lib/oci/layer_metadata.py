"""The facts of layers, computed once and kept beside the image as `images/ID/_oci`.

0.x ignores the file. It carries the layer's checksums and size and counts only
while they fit, since 0.x may have written the image anew in between
(docs/architecture.md#rule-9-roll-back-stays-possible).
Damage is kept, too, if reading the image's bytes showed it: a broken layer is not
read again on every request. A layer that is missing or half there is looked for
again, since an operator may be restoring it.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

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
from v1registry.lib.oci.digest_index import Digests
from v1registry.lib.support.cache import Cache
from v1registry.lib.support.single_flight import SingleFlightCache
from v1registry.storage import Storage, keys
from v1registry.storage.errors import NotFound, Refused

_NAME = "_oci"
_SIZE = 500  # bytes that cached facts take, about
_MISSING = "the layer is missing"
_RATIO = 20  # a layer may unpack to so many times its size, where that is more than the limit

_log = logging.getLogger(__name__)


class LayerMetadataStore:
    """Reads, computes and keeps facts.

    `offload` runs what computes for long; `max_bytes` (unpacked) bounds it.
    `cache_limit` in bytes, `cache_life` in seconds. Where `read_only`, facts
    last as long as they are cached.
    """

    def __init__(
        self,
        storage: Storage,
        images: Images,
        digests: Digests,
        offload: Callable[..., Any],
        *,
        max_bytes: int,
        cache_limit: int,
        cache_life: float,
        read_only: bool = False,
    ) -> None:
        self._storage = storage
        self._images = images
        self._digests = digests
        self._offload = offload
        self._max_bytes = max_bytes
        self._read_only = read_only
        self._cache: Cache[LayerDescriptor | DamagedLayer] = Cache(
            cache_limit, cache_life, lambda _: _SIZE
        )
        self._running: SingleFlightCache[LayerDescriptor | DamagedLayer] = SingleFlightCache(0)

    def get(self, image: Image) -> LayerDescriptor:
        """The facts, computed if they are not known. Raises Damaged."""
        known = self.known(image)
        if known is None:
            # who else wants it now waits for the one that reads it
            known = self._running.get(image.id, lambda: self.compute(image), _no)
        if isinstance(known, DamagedLayer):
            raise DamagedLayer(str(known))
        return known

    def known(self, image: Image) -> LayerDescriptor | DamagedLayer | None:
        """The facts or the damage that was found before, None if the layer was never read."""
        known = self._cache.get(image.id)
        if known is None:
            known = self._kept(image)
            if known is not None:
                self._cache.put(image.id, known)
        return known

    def compute(self, image: Image) -> LayerDescriptor | DamagedLayer:
        """Read the layer, and keep what was found."""
        return self._compute(image, self._offload, image.checksums)

    def look_at_pushed(self, image: Image, offload: Callable[..., Any]) -> None:
        """Read the layer of an image whose checksum was held against its bytes just now."""
        if self.known(image) is None:
            self._running.get(image.id, lambda: self._compute(image, offload, None), _no)

    def _compute(
        self, image: Image, offload: Callable[..., Any], checksums: Sequence[str] | None
    ) -> LayerDescriptor | DamagedLayer:
        found: LayerDescriptor | DamagedLayer
        try:
            found = offload(self._examine, image, checksums)
        except DamagedLayer as error:
            _log.error("Image %s: %s", image.id, error)
            found = error
            if isinstance(error, NotWhole):
                return found
        self._keep(image, found)
        self._cache.put(image.id, found)
        return found

    def forget(self, image: Image) -> None:
        """Remove what is kept, as the image goes. The image's folder is the caller's."""
        known = self._kept(image)
        self._cache.forget(image.id)
        if isinstance(known, LayerDescriptor):
            self._digests.forget(known.digest, "layer", image.id)

    def index(self, image: Image, facts: LayerDescriptor) -> None:
        """See that the layer is found by its digest."""
        if facts.is_empty and self._digests.find(Digest(facts.digest)):
            return  # thousands of images have this one, and one will do
        self._digests.note(facts.digest, "layer", image.id)

    def _examine(self, image: Image, checksums: Sequence[str] | None) -> LayerDescriptor:
        """Read the layer once, and hold it against `checksums`, unless somebody did (None)."""
        try:
            with self._images.open_layer(image) as layer:
                try:
                    facts = scan_layer(layer, image.json, checksums or (), self._limit(image))
                except DamagedLayer as error:
                    if layer.size != image.size:
                        raise NotWhole(str(error)) from None
                    raise
            if checksums is not None and not is_checked(facts, checksums):
                with self._images.open_layer(image) as layer:
                    walk(layer)
        except Failure:
            raise NotWhole(_MISSING) from None
        return facts

    def _limit(self, image: Image) -> int:
        return max(self._max_bytes, _RATIO * (image.size or 0))

    # -- what is kept ----------------------------------------------------------

    def _keep(self, image: Image, found: LayerDescriptor | DamagedLayer) -> None:
        """Keep it; what a full or read-only store does not take is computed again."""
        if self._read_only:
            return
        value: dict[str, Any] = {"checksums": list(image.checksums), "stored": image.size}
        if isinstance(found, DamagedLayer):
            value |= {"damage": str(found), "limit": self._limit(image)}
        else:
            value["facts"] = asdict(found)
            self.index(image, found)
        with contextlib.suppress(Refused):
            self._storage.put(keys.image(image.id, _NAME), documents.dump(value), durable=False)

    def _kept(self, image: Image) -> LayerDescriptor | DamagedLayer | None:
        try:
            value = json.loads(self._storage.get(keys.image(image.id, _NAME)))
            if value["checksums"] != list(image.checksums) or value["stored"] != image.size:
                return None
            if "facts" in value:
                facts = LayerDescriptor(**value["facts"])
                return facts if Digest.is_valid(facts.digest) else None
            if value["damage"] == _MISSING or value["limit"] < self._limit(image):
                return None  # it may be back; and more may be read now
            return DamagedLayer(value["damage"])
        except (NotFound, ValueError, KeyError, TypeError):
            return None


def _no(_: object) -> bool:
    return False
