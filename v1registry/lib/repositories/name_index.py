"""The names of all repositories of a store, for search and lists where no database has them.

They are read by a walk over the store, which grows with it. No request does it: one process of all
walks, beside its requests, and leaves what it found in the store, where all others read it. Who asks
gets the names of a moment ago: of 10 seconds, or, where walking takes long, of some 25 times as long
as that.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from v1registry.lib import documents, errors
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName
from v1registry.lib.repositories.walk import is_repository
from v1registry.lib.support import lease
from v1registry.storage import Storage, keys
from v1registry.storage.errors import NotFound, Refused

FRESH = 5.0  # seconds for which names are used without looking for newer ones
PATIENCE = 1.0  # seconds that a request waits for newer ones, where that is long enough
FIRST = 10.0  # seconds that it waits for the first

_SHARE = 20  # a walk is followed by so many times its time without one
_WALK = 120.0  # seconds after which another process walks, if the one that does has not finished
_PLACE = f"{keys.OURS}/names"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Read:
    """What a walk found, when it began (seconds since the epoch), and how long it took."""

    names: tuple[str, ...]
    private: frozenset[str]
    began: float
    took: float

    def is_fresh(self) -> bool:
        age = time.time() - self.began
        return -FRESH < age < max(FRESH, _SHARE * self.took) + self.took


class NameSnapshot:
    """`all` in order, `namespace/name`, and which of them are `private`."""

    def __init__(self, names: tuple[str, ...], private: frozenset[str]) -> None:
        self.all = names
        self.private = private
        lower = [name.lower() for name in names]
        self._text = "\n".join(lower)
        self._begins = list(accumulate((len(name) + 1 for name in lower), initial=0))

    def holding(self, text: str) -> Iterator[str]:
        """The names that `text` is a part of, in any case, in order."""
        if not text:
            yield from self.all
        if not text or "\n" in text:
            return
        wanted = text.lower()
        found = self._text.find(wanted)
        while found >= 0:
            number = bisect_right(self._begins, found) - 1
            yield self.all[number]
            found = self._text.find(wanted, self._begins[number + 1])


class RepositoryNameIndex:
    """Keeps the names. `offload` runs what would stop a whole process."""

    def __init__(self, storage: Storage, offload: Callable[..., Any], *, read_only: bool) -> None:
        self._storage = storage
        self._offload = offload
        self._walked: Callable[[], _Read] = lambda: offload(self._walk)
        self._read_only = read_only
        self._names: NameSnapshot | None = None
        self._read: _Read | None = None
        self._due = float("-inf")
        self._lock = threading.Lock()
        self._running: threading.Event | None = None
        self._error: Exception | None = None

    def names(self) -> NameSnapshot:
        """As they were a moment ago. Raise Failure 503 if they are being read for the first time,
        and that takes long, StorageError if that fails.
        """
        if self._names is None:
            return self._first()
        if time.monotonic() >= self._due:
            done = self._begin()
            if self._read is not None and self._read.took < PATIENCE:
                done.wait(PATIENCE)
        return self._names

    def _first(self) -> NameSnapshot:
        end = time.monotonic() + FIRST
        while self._names is None and time.monotonic() < end:
            self._begin().wait(FIRST)
            if self._error is not None:
                raise self._error
            if self._names is None:  # another process reads them
                time.sleep(0.1)
        if self._names is None:
            raise Failure(*errors.NAMES_UNREAD, {"Retry-After": "10"})
        return self._names

    def _begin(self) -> threading.Event:
        """Have newer ones looked for, unless somebody does; what is returned tells of the end."""
        with self._lock:
            if self._running is None:
                self._running = threading.Event()
                threading.Thread(target=self._renew, args=[self._running], daemon=True).start()
            return self._running

    def _renew(self, done: threading.Event) -> None:
        try:
            found = self._newest()
            if found is not None and found is not self._read:
                self._names = self._offload(NameSnapshot, found.names, found.private)
                self._read = found
            self._error = None
        except Exception as error:  # the old ones do; without any, who asks is told
            self._error = error
            if self._names is not None:
                _log.warning("The names of the repositories cannot be read anew: %r", error)
        finally:
            took = self._read.took if self._read is not None else 0.0
            self._due = time.monotonic() + max(FRESH, took)
            with self._lock:
                self._running = None
            done.set()

    def _newest(self) -> _Read | None:
        """What somebody left, if it is new enough; or what a walk finds, if it is our turn."""
        stored: _Read | None = self._offload(self._stored)
        if stored is not None and stored.is_fresh():
            return stored if self._read is None or stored.began != self._read.began else self._read
        if self._read_only:
            known = self._read
            return known if known is not None and known.is_fresh() else self._walked()
        try:
            took = stored.took if stored is not None else 0.0
            if lease.take(self._storage, "names", max(_WALK, 3 * took)):
                # Another process may have walked between our look and the lease.
                newer: _Read | None = self._offload(self._stored)
                if newer is not None and newer.is_fresh():
                    lease.release(self._storage, "names")
                    return newer
                found = self._walked()
                self._offload(self._leave, found)
                return found
        except Refused:  # a store that takes nothing, or not from us
            return self._walked()
        return stored or self._read

    def _walk(self) -> _Read:
        began, clock = time.time(), time.monotonic()
        every: set[str] = set()
        private: set[str] = set()
        for namespace in self._storage.list(keys.REPOSITORIES):
            if not namespace.is_folder:
                continue
            folder = f"{keys.REPOSITORIES}/{namespace.name}"
            for repository in self._storage.list(folder):
                children = {
                    entry.name for entry in self._storage.list(f"{folder}/{repository.name}")
                }
                name = RepositoryName.of_folders(namespace.name, repository.name)
                if name is not None and (children if name.is_legal else is_repository(children)):
                    every.add(str(name))
                    if "_private" in children:
                        private.add(str(name))
        return _Read(tuple(sorted(every)), frozenset(private), began, time.monotonic() - clock)

    def _leave(self, found: _Read) -> None:
        value = {
            "names": list(found.names),
            "private": sorted(found.private),
            "began": found.began,
            "took": found.took,
        }
        self._storage.put(_PLACE, documents.dump(value))
        lease.release(self._storage, "names")

    def _stored(self) -> _Read | None:
        try:
            value = json.loads(self._storage.get(_PLACE))
            names, private = tuple(map(str, value["names"])), frozenset(map(str, value["private"]))
            return _Read(names, private, float(value["began"]), float(value["took"]))
        except (NotFound, ValueError, KeyError, TypeError):
            return None
