"""Garbage collection: deletes images that no tag leads to, while all nodes serve and accept pushes.

A collection has two phases. First it marks the images that tags and running pushes lead to, and hides
all others that are older than the grace time (`lib/images/hidden.py`). After the longest time for which
a push may take and a cache may keep an image, it marks again. It keeps what has become reachable, and
deletes the rest, children before their base images. It may be interrupted at any point: the next run
continues. Only the holder of the lease `gc` deletes.
"""

from __future__ import annotations

import calendar
import contextlib
import json
import secrets
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import islice
from typing import Any

from v1registry.lib import documents
from v1registry.lib.images.hidden import LIFE, IdList
from v1registry.lib.images.images import parent_of
from v1registry.lib.maintenance import deletion
from v1registry.lib.maintenance.reachable import ReachableImages, children_first, mapped
from v1registry.lib.names import ImageId
from v1registry.lib.repositories import walk
from v1registry.lib.repositories.backfill import BackfillRun
from v1registry.lib.repositories.tags import Tags
from v1registry.storage import Storage, exists, keys
from v1registry.storage.errors import NotFound

_BATCH = 100  # images whose deletion is announced together
_SETTLING = 2 * LIFE  # seconds until every process uses a new list of hidden images
_RUN = "%Y%m%dT%H%M%SZ"  # the time at the beginning of a collection's name
_ABANDONED = 3600.0  # seconds after which the remains of a collection that hid nothing are deleted


@dataclass(frozen=True, slots=True)
class Garbage:
    """An image that nothing leads to. `size` is that of its layer in bytes."""

    id: str
    size: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What a collection would delete, children first. `images` is the number of images in the store."""

    images: int
    reachable: int
    garbage: list[Garbage]

    @property
    def bytes(self) -> int:
        return sum(item.size for item in self.garbage)

    @property
    def share(self) -> float:
        """The part of all images that the plan deletes, 0 to 1."""
        return len(self.garbage) / self.images if self.images else 0.0


@dataclass(frozen=True, slots=True)
class Collection:
    """A collection that has hidden images: since when, and the first time to delete them."""

    run: str
    since: float
    due: float


@dataclass(slots=True)
class Deleted:
    """The result of a collection: numbers of images, and the bytes of deleted layers."""

    images: int = 0
    bytes: int = 0
    kept: int = 0


class GarbageCollector:
    """Plans and carries out collections.

    `wait` is the number of seconds between hiding and deleting. `pool` runs several requests to the
    store at once. `still_held` is called often, and raises if another process may have taken over.
    """

    def __init__(
        self,
        storage: Storage,
        tags: Tags,
        wait: float,
        run: BackfillRun,
        pool: Executor,
        *,
        still_held: Callable[[], object] = lambda: None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._storage = storage
        self._tags = tags
        self._wait = wait
        self._run = run
        self._pool = pool
        self._still_held = still_held
        self._sleep = sleep

    def plan(self, grace: float) -> Plan:
        """Find all garbage that was last changed more than `grace` seconds ago. Raise StorageError."""
        before = time.time() - grace
        # In this order: a push creates its own folder before that of its image.
        images = list(walk.images(self._storage))
        reachable = self._reachable()
        count = len(reachable.ids.intersection(images))
        rest: list[str] = [id for id in images if id not in reachable.ids]
        facts: dict[str, tuple[float, int, str | None]] = {}
        for unused, found in zip(rest, mapped(self._pool, self._facts, rest), strict=True):
            facts[unused] = found
            self._run.progress("images without a tag", len(facts), len(rest))
        reachable.add(id for id, (modified, _, _) in facts.items() if modified >= before)
        for needed in facts.keys() & reachable.ids:
            del facts[needed]
        parents = {id: parent for id, (_, _, parent) in facts.items()}
        garbage = [Garbage(id, facts[id][1]) for id in children_first(parents)]
        return Plan(len(images), count, garbage)

    def hide(self, plan: Plan) -> Collection:
        """Hide the garbage of a plan. Keep what was tagged while the plan was made."""
        run = f"{time.strftime(_RUN, time.gmtime())}-{secrets.token_hex(4)}"
        since = time.time()
        document = {
            "since": since,
            "due": since + self._wait,
            "garbage": [[item.id, item.size] for item in plan.garbage],
        }
        self._still_held()
        self._storage.put(keys.gc_plan(run), documents.dump(document))
        ids = IdList.dump(item.id for item in plan.garbage)
        self._storage.put(keys.gc_hidden(run), ids)
        # From now on every process keeps what it tags, after it has read the new list.
        self._sleep(_SETTLING)
        self._keep_reachable(run, plan.garbage)
        return Collection(run, since, since + self._wait)

    def collections(self) -> list[Collection]:
        """Return the collections that have hidden images, the oldest first."""
        found = []
        for run in self._runs():
            if exists(self._storage, keys.gc_hidden(run)):
                document = self._document(run)
                found.append(Collection(run, document["since"], document["due"]))
        return found

    def collect(
        self, collection: Collection, check: Callable[[], object] = lambda: None
    ) -> Deleted:
        """Delete the hidden images of a collection, except those that are needed again.

        `check` is called between the second marking and the first deletion; it may raise.
        """
        run, result = collection.run, Deleted()
        garbage = [Garbage(id, size) for id, size in self._document(run)["garbage"]]
        self._keep_reachable(run, garbage)
        check()
        gone: set[str] = set()
        rest = iter(garbage)
        while batch := list(islice(rest, _BATCH)):
            self._still_held()
            self._delete(run, batch, gone, result)
            self._run.progress("images deleted", result.images, len(garbage), result.bytes)
        self._forget_digests(gone)
        self._storage.put(_over(run), b"")
        self._storage.delete(keys.gc_hidden(run))
        return result

    def clean(self) -> None:
        """Delete what remains of collections that are over."""
        now = time.time()
        for run in self._runs():
            if exists(self._storage, keys.gc_hidden(run)):
                continue
            for key, age in ((_over(run), _SETTLING), (keys.gc_plan(run), _ABANDONED)):
                if now - self._modified(key, now) > age:
                    self._storage.delete_folder(f"{keys.GC}/{run}")
                    break

    # -- finding ---------------------------------------------------------------

    def _reachable(self) -> ReachableImages:
        reachable = ReachableImages(self._storage, self._tags, self._pool, self._run)
        reachable.read()
        return reachable

    def _facts(self, image_id: str) -> tuple[float, int, str | None]:
        """Return when the image last changed, the size of its layer, and its parent."""
        modified, size = 0.0, 0
        for part in ("json", "layer", "_inprogress"):
            try:
                stat = self._storage.stat(keys.image(image_id, part))
            except NotFound:
                continue
            modified = max(modified, stat.modified)
            size = stat.size if part == "layer" else size
        try:
            parent = parent_of(self._storage.get(keys.image(image_id, "json")))
        except NotFound:
            parent = None
        return modified, size, parent

    def _keep_reachable(self, run: str, garbage: Iterable[Garbage]) -> None:
        reachable = self._reachable().ids
        for item in garbage:
            key = keys.gc_keep(run, item.id)
            if item.id in reachable and not exists(self._storage, key):
                self._storage.put(key, b"")

    # -- deleting ----------------------------------------------------------------

    def _delete(
        self,
        run: str,
        batch: list[Garbage],
        gone: set[str],
        result: Deleted,
    ) -> None:
        waiting: dict[ImageId, int] = {}
        for item in batch:
            if exists(self._storage, keys.gc_keep(run, item.id)):
                result.kept += 1
            elif next(self._storage.list(f"{keys.IMAGES}/{item.id}"), None) is None:
                gone.add(item.id)  # deleted by an earlier run
            else:
                waiting[ImageId(item.id)] = item.size
        chosen = deletion.begin(self._storage, run, list(waiting))
        result.kept += len(waiting) - len(chosen)
        for _ in self._pool.map(lambda id: deletion.carry_out(self._storage, run, id), chosen):
            pass
        gone.update(chosen)
        result.images += len(chosen)
        result.bytes += sum(waiting[id] for id in chosen)

    def _forget_digests(self, gone: set[str]) -> None:
        """Delete the entries of deleted images in the digest index of v2."""
        if not gone:
            return
        for algorithm in self._storage.list(keys.DIGESTS):
            for part in self._storage.list(f"{keys.DIGESTS}/{algorithm.name}"):
                self._still_held()
                folder = f"{keys.DIGESTS}/{algorithm.name}/{part.name}"
                for entry in list(self._storage.list(folder)):
                    if entry.name.rpartition("-")[2] in gone:
                        self._storage.delete(f"{folder}/{entry.name}", durable=False)

    # -- the collections in the store ------------------------------------------------

    def _runs(self) -> list[str]:
        return sorted(entry.name for entry in self._storage.list(keys.GC) if entry.is_folder)

    def _document(self, run: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self._storage.get(keys.gc_plan(run)))
        return document

    def _modified(self, key: str, otherwise: float) -> float:
        try:
            return self._storage.stat(key).modified
        except NotFound:
            return otherwise


def running(storage: Storage) -> list[float]:
    """Return when the collections began that have hidden images, in epoch seconds, the oldest first.

    This reads no plan, which may be large.
    """
    found = []
    for run in sorted(entry.name for entry in storage.list(keys.GC) if entry.is_folder):
        if exists(storage, keys.gc_hidden(run)):
            with contextlib.suppress(ValueError):  # a folder that no collection has made
                moment = time.strptime(run.partition("-")[0], _RUN)
                found.append(float(calendar.timegm(moment)))
    return found


def _over(run: str) -> str:
    """Return the key that exists when a collection is over."""
    return f"{keys.GC}/{run}/over"
