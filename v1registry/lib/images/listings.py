"""File listings (`files`) and changes (`diff`) of layers, computed once and stored.

Both are stored beside the image, in the format and under the names of 0.x (`_files` and `_diff`,
protocol-v1.md section 4). If a layer cannot be listed, that is stored as well (`_files_refused`,
`_diff_refused`), so a hostile layer is read only once.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any

from v1registry.lib import documents, errors
from v1registry.lib.errors import Failure
from v1registry.lib.images.images import Image, Images
from v1registry.lib.layers.diff import Comparison
from v1registry.lib.layers.files import list_files
from v1registry.lib.layers.tar_stream import LayerTooLarge, LayerUnreadable
from v1registry.lib.running import collector_off
from v1registry.lib.support.single_flight import SingleFlightCache
from v1registry.storage import Storage, get_or_none, keys
from v1registry.storage.errors import Refused

_NAMES_PER_ENTRY = 2  # nodes in the tree of a comparison for each entry that a layer may have
_REASONS = {"too large": errors.LAYER_TOO_LARGE, "format": errors.LAYER_FORMAT}


@dataclass(eq=False)
class Listings:
    """Computes and stores listings.

    `max_bytes` (decompressed) and `max_entries` limit what is read of one layer. `run_in_thread` runs a
    long computation in the thread pool.
    """

    storage: Storage
    images: Images
    run_in_thread: Callable[..., Any]
    _: KW_ONLY
    max_bytes: int
    max_entries: int

    def __post_init__(self) -> None:
        self._running: SingleFlightCache[bytes] = SingleFlightCache(0)
        self._comparing = threading.BoundedSemaphore(1)  # each keeps a tree of names in memory

    def files(self, image: Image) -> bytes:
        """Return the `_files` JSON. Raise Failure 404 without a layer, 400 if it cannot be listed."""
        kept = self._kept(image, "_files")
        if kept and self.run_in_thread(_is_sound, kept):
            return kept
        return self._once(image, "_files", lambda: self.run_in_thread(self._list, image))

    def diff(self, image: Image) -> bytes:
        """Return the `_diff` JSON: files deleted, changed and created against the ancestors."""
        kept = self._kept(image, "_diff")
        if kept.startswith(b"{") and kept.endswith(b"}}"):
            return kept
        return self._once(image, "_diff", lambda: self._compare(image))

    def _once(self, image: Image, part: str, compute: Callable[[], bytes]) -> bytes:
        """Compute and store a listing. Concurrent requests for it share one computation."""

        def answer() -> bytes:
            self._raise_refusal(image, part)
            try:
                value = compute()
            except LayerTooLarge:
                raise self._refuse(image, part, "too large") from None
            except LayerUnreadable:
                raise self._refuse(image, part, "format") from None
            except Failure as failure:  # a comparison reached an ancestor that was refused
                for reason, text in _REASONS.items():
                    if (failure.status, failure.text) == text:
                        raise self._refuse(image, part, reason) from None
                raise
            self._keep(image, part, value)
            return value

        return self._running.get(f"{image.id}{part}", answer)

    def _list(self, image: Image) -> bytes:
        with self.images.open_layer(image) as blob, collector_off():
            return documents.dump(list_files(blob, self.max_bytes, self.max_entries))

    def _compare(self, image: Image) -> bytes:
        """Compare the layer's files with its ancestors' files, one ancestor at a time."""
        comparison = Comparison(_NAMES_PER_ENTRY * self.max_entries)
        with self._comparing:
            self.run_in_thread(_feed, comparison.add_own, self.files(image))
            for ancestor in image.ancestors[1:]:
                if comparison.is_complete:
                    break
                files = self.files(self._ancestor(ancestor))
                self.run_in_thread(_feed, comparison.add_ancestor, files)
            value: bytes = self.run_in_thread(_finish, comparison)
        return value

    def _ancestor(self, image_id: str) -> Image:
        image = self.images.find(image_id)
        if image is None:
            raise Failure(*errors.PARENT_NOT_FOUND)
        return image

    # -- stored listings ------------------------------------------------------------

    def _kept(self, image: Image, part: str) -> bytes:
        return (get_or_none(self.storage, keys.image(image.id, part)) or b"").strip()

    def _keep(self, image: Image, part: str, value: bytes) -> None:
        """Store a listing, unless the store is full or read-only."""
        with contextlib.suppress(Refused):
            self.storage.put(keys.image(image.id, part), value)

    def _refuse(self, image: Image, part: str, reason: str) -> Failure:
        """Store why the layer cannot be listed; return the failure."""
        value = {"reason": reason, **self._circumstances(image)}
        self._keep(image, f"{part}_refused", documents.dump(value))
        return Failure(*_REASONS[reason])

    def _raise_refusal(self, image: Image, part: str) -> None:
        """Raise Failure if the layer was refused before under the current limits."""
        try:
            value = json.loads(self._kept(image, f"{part}_refused"))
            reason = _REASONS[value.pop("reason")]
        except (ValueError, KeyError, AttributeError, TypeError):
            return
        if value == self._circumstances(image):
            raise Failure(*reason)

    def _circumstances(self, image: Image) -> dict[str, Any]:
        """Return what a refusal depends on. It is void once any of these values has changed."""
        return {
            "checksums": list(image.checksums),
            "stored": image.size,
            "max_bytes": self.max_bytes,
            "max_entries": self.max_entries,
        }


def _is_sound(files: bytes) -> bool:
    """Return whether a stored `_files` JSON is valid and treats whiteouts correctly.

    0.x knew whiteouts only at the root, and listed the others as files.
    """
    try:
        return b"/.wh." not in files and all(
            isinstance(row, list) and len(row) > 2 for row in documents.elements(files)
        )
    except (ValueError, RecursionError):
        return False


@collector_off()
def _feed(take: Callable[[Any], None], files: bytes) -> None:
    """Pass the rows of a `_files` JSON to `take` one by one: a list of them takes much memory."""
    take(documents.elements(files))


@collector_off()
def _finish(comparison: Comparison) -> bytes:
    """Return the `_diff` JSON and empty the comparison here, because freeing it also takes long."""
    value = documents.dump(comparison.result())
    comparison.clear()
    return value
