"""What a layer holds (`files`) and what it changes (`diff`), computed once and kept.

Both are kept beside the image where 0.x kept them, in its format (`_files` and
`_diff`, protocol-v1.md section 4). That a layer cannot be listed is kept as well
(`_files_refused`, `_diff_refused`), so that a hostile layer costs its time once.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable
from typing import Any

from v1registry.lib import documents, errors
from v1registry.lib.errors import Failure
from v1registry.lib.images.images import Image, Images
from v1registry.lib.layers.diff import Comparison
from v1registry.lib.layers.files import list_files
from v1registry.lib.layers.tar_stream import LayerTooLarge, LayerUnreadable
from v1registry.lib.running import collector_off
from v1registry.lib.support.single_flight import SingleFlightCache
from v1registry.storage import Storage, keys
from v1registry.storage.errors import NotFound, Refused

_NAMES_PER_ENTRY = 2  # places in the tree of a comparison, for each entry that a layer may have
_REASONS = {"too large": errors.LAYER_TOO_LARGE, "format": errors.LAYER_FORMAT}


class Listings:
    """`max_bytes` (decompressed) and `max_entries` limit what is read of one layer.

    `offload` runs what computes for long.
    """

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
        self._running: SingleFlightCache[bytes] = SingleFlightCache(0)
        self._comparing = threading.BoundedSemaphore(1)  # each holds a tree of names in memory

    def files(self, image: Image) -> bytes:
        """The `_files` JSON. Raise Failure 404 without a layer, 400 for one we cannot list."""
        kept = self._kept(image, "_files")
        if kept and self._offload(_is_sound, kept):
            return kept
        return self._once(image, "_files", lambda: self._offload(self._list, image))

    def diff(self, image: Image) -> bytes:
        """The `_diff` JSON: what the layer deletes, changes and creates in its ancestors' files."""
        kept = self._kept(image, "_diff")
        if kept.startswith(b"{") and kept.endswith(b"}}"):
            return kept
        return self._once(image, "_diff", lambda: self._compare(image))

    def _once(self, image: Image, part: str, compute: Callable[[], bytes]) -> bytes:
        """What `compute` returns, kept. Requests that come meanwhile wait for the same answer."""

        def answer() -> bytes:
            self._raise_refusal(image, part)
            try:
                value = compute()
            except LayerTooLarge:
                raise self._refuse(image, part, "too large") from None
            except LayerUnreadable:
                raise self._refuse(image, part, "format") from None
            except Failure as failure:  # a comparison meets an ancestor that was refused
                for reason, text in _REASONS.items():
                    if (failure.status, failure.text) == text:
                        raise self._refuse(image, part, reason) from None
                raise
            self._keep(image, part, value)
            return value

        return self._running.get(f"{image.id}{part}", answer, lambda _: False)

    def _list(self, image: Image) -> bytes:
        with self._images.open_layer(image) as blob, collector_off():
            return documents.dump(list_files(blob, self._max_bytes, self._max_entries))

    def _compare(self, image: Image) -> bytes:
        """Hold the ancestors' files against the layer's, one ancestor at a time."""
        comparison = Comparison(_NAMES_PER_ENTRY * self._max_entries)
        with self._comparing:
            self._offload(_feed, comparison.add_own, self.files(image))
            for ancestor in image.ancestors[1:]:
                if comparison.is_complete:
                    break
                files = self.files(self._ancestor(ancestor))
                self._offload(_feed, comparison.add_ancestor, files)
            value: bytes = self._offload(_finish, comparison)
        return value

    def _ancestor(self, image_id: str) -> Image:
        image = self._images.find(image_id)
        if image is None:
            raise Failure(*errors.PARENT_NOT_FOUND)
        return image

    # -- what is kept --------------------------------------------------------------

    def _kept(self, image: Image, part: str) -> bytes:
        try:
            return self._storage.get(keys.image(image.id, part)).strip()
        except NotFound:
            return b""

    def _keep(self, image: Image, part: str, value: bytes) -> None:
        """Keep what was computed; a store that is full or read-only gets it computed again."""
        with contextlib.suppress(Refused):
            self._storage.put(keys.image(image.id, part), value)

    def _refuse(self, image: Image, part: str, reason: str) -> Failure:
        """Keep why the layer is not listed; return the failure."""
        value = {"reason": reason, **self._circumstances(image)}
        self._keep(image, f"{part}_refused", documents.dump(value))
        return Failure(*_REASONS[reason])

    def _raise_refusal(self, image: Image, part: str) -> None:
        """Raise Failure if the layer was refused before, under the limits of today."""
        try:
            value = json.loads(self._kept(image, f"{part}_refused"))
            reason = _REASONS[value.pop("reason")]
        except (ValueError, KeyError, AttributeError, TypeError):
            return
        if value == self._circumstances(image):
            raise Failure(*reason)

    def _circumstances(self, image: Image) -> dict[str, Any]:
        """What a refusal depends on: it does not count after any of it has changed."""
        return {
            "checksums": list(image.checksums),
            "stored": image.size,
            "max_bytes": self._max_bytes,
            "max_entries": self._max_entries,
        }


def _is_sound(files: bytes) -> bool:
    """Whether a kept `_files` JSON is whole, and names the whiteouts.

    0.x knew whiteouts at the root only, and listed the others as files.
    """
    try:
        return b"/.wh." not in files and all(
            isinstance(row, list) and len(row) > 2 for row in documents.elements(files)
        )
    except (ValueError, RecursionError):
        return False


def _feed(take: Callable[[Any], None], files: bytes) -> None:
    """Hand the rows of a `_files` JSON to `take` one by one: a list of them takes much memory."""
    with collector_off():
        take(documents.elements(files))


def _finish(comparison: Comparison) -> bytes:
    """The `_diff` JSON. The comparison is emptied here, since freeing it takes long, too."""
    with collector_off():
        value = documents.dump(comparison.result())
        comparison.clear()
    return value
