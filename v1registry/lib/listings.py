"""What a layer holds (`files`) and what it changes (`diff`), computed once and kept.

Both are kept beside the image where 0.x kept them, in its format (`_files` and
`_diff`, protocol-v1.md section 4).
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

from v1registry.lib import documents, errors
from v1registry.lib.diff import diff
from v1registry.lib.errors import Failure
from v1registry.lib.images import Image, Images
from v1registry.lib.layers import list_files
from v1registry.lib.tarstream import LayerTooLarge, LayerUnreadable
from v1registry.storage import Storage, keys
from v1registry.storage.errors import NotFound, Refused

Rows = list[list[Any]]


class Listings:
    """`max_bytes` (decompressed) and `max_entries` bound what is read of one layer."""

    def __init__(
        self,
        storage: Storage,
        images: Images,
        offload: Callable[..., Any],
        *,
        max_bytes: int,
        max_entries: int,
    ) -> None:
        self._storage = storage
        self._images = images
        self._offload = offload
        self._max_bytes = max_bytes
        self._max_entries = max_entries

    def files(self, image: Image) -> bytes:
        """The `_files` JSON. Raise Failure 404 without a layer, 400 for one we cannot list."""
        return documents.dump(self._rows(image))

    def diff(self, image: Image) -> bytes:
        """The `_diff` JSON: what the layer deletes, changes and creates in its ancestors' files."""
        kept = self._kept(image, "_diff")
        if isinstance(kept, dict):
            return documents.dump(kept)
        own = self._rows(image)
        ancestors = [self._rows(self._ancestor(id)) for id in image.ancestors[1:]]
        value = documents.dump(self._offload(diff, own, ancestors))
        self._keep(image, "_diff", value)
        return value

    def _ancestor(self, image_id: str) -> Image:
        image = self._images.find(image_id)
        if image is None:
            raise Failure(*errors.PARENT_NOT_FOUND)
        return image

    def _rows(self, image: Image) -> Rows:
        kept = self._kept(image, "_files")
        if isinstance(kept, list) and not any(_is_unread_whiteout(row) for row in kept):
            return kept
        try:
            rows: Rows = self._offload(self._list, image)
        except LayerTooLarge:
            raise Failure(*errors.LAYER_TOO_LARGE) from None
        except LayerUnreadable:
            raise Failure(*errors.LAYER_FORMAT) from None
        self._keep(image, "_files", documents.dump(rows))
        return rows

    def _list(self, image: Image) -> Rows:
        with self._images.open_layer(image) as blob:
            return list_files(blob, self._max_bytes, self._max_entries)

    def _keep(self, image: Image, part: str, value: bytes) -> None:
        """Keep what was computed; a store that is full or read-only gets it computed again."""
        with contextlib.suppress(Refused):
            self._storage.put(keys.image(image.id, part), value)

    def _kept(self, image: Image, part: str) -> Any:
        try:
            return json.loads(self._storage.get(keys.image(image.id, part)))
        except (NotFound, ValueError):
            return None


def _is_unread_whiteout(row: Any) -> bool:
    """0.x knew whiteouts at the root only, and listed the others as files."""
    return "/.wh." in str(row[0]) if isinstance(row, list) and row else True
