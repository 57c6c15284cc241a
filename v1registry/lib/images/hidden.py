"""Hidden images: images that garbage collection will delete unless a client needs them.

A collection hides images long before it deletes them (`lib/maintenance/collector.py`). A hidden image
looks like a missing one. A client that pushes it, a child of it or a tag on it keeps it: from then on
the image is there again. The objects of one collection are in `_v1registry/gc/RUN/`:

- `hidden` lists the ids of the images that the collection hid. It is never rewritten.
- `keep-ID` is written by a process that needs the image.
- `delete-ID` exists while the collection deletes the image.

Each side first writes its own object and then looks for the other one. So at least one of the two sees
the other, in any order and on any store: an image that was kept is never deleted.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence

from v1registry.lib.support import lease
from v1registry.lib.support.single_flight import SingleFlightCache
from v1registry.storage import Storage, exists, keys
from v1registry.storage.errors import NotFound

LEASE = "gc"  # only its holder deletes images
LIFE = 5.0  # seconds for which a process uses the lists that it has read
_MOMENT = 60.0  # seconds for which a process that gives up an interrupted deletion holds the lease
_LINE = 65  # bytes of a line: 64 of the id, padded with spaces, and the newline


class IdList(Sequence[str]):
    """A sorted list of image ids in one string: a hundred thousand of them need 6.5 MB."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @staticmethod
    def dump(ids: Iterable[str]) -> bytes:
        return "".join(f"{id:<64}\n" for id in sorted(ids)).encode("ascii")

    def __len__(self) -> int:
        return len(self._data) // _LINE

    def __getitem__(self, at: int) -> str:  # type: ignore[override]
        if not 0 <= at < len(self):
            raise IndexError(at)
        return self._data[at * _LINE : (at + 1) * _LINE].decode("ascii", "replace").rstrip()

    def __contains__(self, id: object) -> bool:
        at = bisect.bisect_left(self, str(id))
        return at < len(self) and self[at] == id


class HiddenImages:
    """Reads the lists of hidden images and keeps images.

    A list is used for `life` seconds before this process looks for new ones.
    """

    def __init__(self, storage: Storage, life: float = LIFE) -> None:
        self._storage = storage
        self._lists: dict[str, IdList] = {}
        self._current: SingleFlightCache[dict[str, IdList]] = SingleFlightCache(life)

    def run_of(self, image_id: str) -> str | None:
        """Return the collection that lists the image, also if the image was kept; None if none does."""
        lists = self._current.get("lists", self._read, keep=lambda _: True)
        return next((run for run, ids in lists.items() if image_id in ids), None)

    def contains(self, image_id: str) -> bool:
        """Return whether the image is hidden."""
        run = self.run_of(image_id)
        return run is not None and not is_kept(self._storage, run, image_id)

    def keep(self, run: str, ids: Iterable[str]) -> bool:
        """Keep these images of a collection; return False if one of them is being deleted just now.

        Give a base image before its children.
        """
        for image_id in ids:
            key = keys.gc_keep(run, image_id)
            if not exists(self._storage, key):
                self._storage.put(key, b"")
            if exists(self._storage, keys.gc_delete(run, image_id)):
                if not lease.take(self._storage, LEASE, _MOMENT):
                    return False
                # The process that began to delete it is gone.
                self._storage.delete(keys.gc_delete(run, image_id))
                lease.release(self._storage, LEASE)
        return True

    def _read(self) -> dict[str, IdList]:
        """Return the ids of each collection. A list that this process has read is not read again."""
        runs = [entry.name for entry in self._storage.list(keys.GC) if entry.is_folder]
        found = {}
        for run in runs:
            ids = self._lists.get(run)
            try:
                if ids is None:
                    ids = IdList(self._storage.get(keys.gc_hidden(run)))
                elif not exists(self._storage, keys.gc_hidden(run)):
                    continue
            except NotFound:
                continue  # the collection has not hidden images yet, or it is over
            found[run] = ids
        self._lists = found
        return found


def is_kept(storage: Storage, run: str, image_id: str) -> bool:
    """Return whether a process has kept the image, and no deletion of it was under way."""
    return exists(storage, keys.gc_keep(run, image_id)) and not exists(
        storage, keys.gc_delete(run, image_id)
    )
