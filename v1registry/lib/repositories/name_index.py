"""The name index: all repository names of a store, for search and lists without a database.

Reading the names walks over the whole store, which takes longer the larger it is. No request walks.
One process walks beside its requests and writes the names to the store, and all other processes read
them from there. So the names are up to 10 seconds old or, if a walk takes long, up to some 25 times
its duration.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from v1registry.lib import documents, errors
from v1registry.lib.errors import Failure
from v1registry.lib.repositories import walk
from v1registry.lib.support import lease
from v1registry.storage import Storage, keys
from v1registry.storage.errors import NotFound, Refused

MIN_AGE = 5.0  # seconds for which names are used without looking for newer ones
WAIT = 1.0  # seconds that a request waits for newer names if a walk takes less than that
FIRST_WAIT = 10.0  # seconds that a request waits for the first names

_PAUSE = 20  # the pause after a walk, as a multiple of its duration
_MAX_WALK = 120.0  # seconds after which another process walks if a walk has not finished
_KEY = f"{keys.OURS}/names"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Walk:
    """Names that a walk found, when it began (seconds since the epoch), and its duration."""

    names: tuple[str, ...]
    private: frozenset[str]
    began: float
    took: float

    def is_fresh(self) -> bool:
        age = time.time() - self.began
        return -MIN_AGE < age < max(MIN_AGE, _PAUSE * self.took) + self.took


class NameSnapshot:
    """All names, `namespace/name`, sorted, and those of private repositories."""

    def __init__(self, names: tuple[str, ...], private: frozenset[str]) -> None:
        self.all = names
        self.private = private
        lower = [name.lower() for name in names]
        self._text = "\n".join(lower)
        self._begins = list(accumulate((len(name) + 1 for name in lower), initial=0))

    def containing(self, text: str) -> Iterator[str]:
        """Yield the names that contain `text`, in order, ignoring case."""
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

    def beginning(self, prefix: str) -> Iterator[str]:
        """Yield the names that begin with `prefix`, in order."""
        for number in range(bisect_left(self.all, prefix), len(self.all)):
            if not self.all[number].startswith(prefix):
                return
            yield self.all[number]


class RepositoryNameIndex:
    """Keeps the names up to date. `run_in_thread` runs a function in the thread pool."""

    def __init__(
        self, storage: Storage, run_in_thread: Callable[..., Any], *, read_only: bool
    ) -> None:
        self._storage = storage
        self._run_in_thread = run_in_thread
        self._run_walk: Callable[[], _Walk] = lambda: run_in_thread(self._walk)
        self._read_only = read_only
        self._names: NameSnapshot | None = None
        self._last_walk: _Walk | None = None
        self._due = float("-inf")
        self._lock = threading.Lock()
        self._running: threading.Event | None = None
        self._error: Exception | None = None

    def names(self) -> NameSnapshot:
        """Return the newest names that this process knows.

        Raise Failure 503 if the first walk takes too long, StorageError if it fails.
        """
        if self._names is None:
            return self._first()
        if time.monotonic() >= self._due:
            done = self._start()
            if self._last_walk is not None and self._last_walk.took < WAIT:
                done.wait(WAIT)
        return self._names

    def _first(self) -> NameSnapshot:
        end = time.monotonic() + FIRST_WAIT
        while self._names is None and time.monotonic() < end:
            self._start().wait(FIRST_WAIT)
            if self._error is not None:
                raise self._error
            if self._names is None:  # another process walks
                time.sleep(0.1)
        if self._names is None:
            raise Failure(*errors.NAMES_UNREAD, {"Retry-After": "10"})
        return self._names

    def _start(self) -> threading.Event:
        """Start a thread that looks for newer names unless one runs; the event tells when it ends."""
        with self._lock:
            if self._running is None:
                self._running = threading.Event()
                threading.Thread(target=self._renew, args=[self._running], daemon=True).start()
            return self._running

    def _renew(self, done: threading.Event) -> None:
        try:
            found = self._newest()
            if found is not None and found is not self._last_walk:
                self._names = self._run_in_thread(NameSnapshot, found.names, found.private)
                self._last_walk = found
            self._error = None
        except Exception as error:  # use the old names; without any, `_first` raises the error
            self._error = error
            if self._names is not None:
                _log.warning(
                    "The repository names cannot be refreshed: %r. The old names stay in use", error
                )
        finally:
            took = self._last_walk.took if self._last_walk is not None else 0.0
            self._due = time.monotonic() + max(MIN_AGE, took)
            with self._lock:
                self._running = None
            done.set()

    def _newest(self) -> _Walk | None:
        """Return the stored names if they are fresh, or walk if this process gets the lease."""
        stored: _Walk | None = self._run_in_thread(self._load)
        if stored is not None and stored.is_fresh():
            return (
                stored
                if self._last_walk is None or stored.began != self._last_walk.began
                else self._last_walk
            )
        if self._read_only:
            known = self._last_walk
            return known if known is not None and known.is_fresh() else self._run_walk()
        try:
            took = stored.took if stored is not None else 0.0
            if lease.take(self._storage, "names", max(_MAX_WALK, 3 * took)):
                # Another process may have walked between the look above and the lease.
                newer: _Walk | None = self._run_in_thread(self._load)
                if newer is not None and newer.is_fresh():
                    lease.release(self._storage, "names")
                    return newer
                found = self._run_walk()
                self._run_in_thread(self._store, found)
                return found
        except Refused:  # a store that this process cannot write
            return self._run_walk()
        return stored or self._last_walk

    def _walk(self) -> _Walk:
        began, clock = time.time(), time.monotonic()
        every: set[str] = set()
        private: set[str] = set()
        for folder, name in walk.folders(self._storage):
            children = {entry.name for entry in self._storage.list(folder)}
            if name is not None and (children if name.is_legal else walk.is_repository(children)):
                every.add(str(name))
                if "_private" in children:
                    private.add(str(name))
        return _Walk(tuple(sorted(every)), frozenset(private), began, time.monotonic() - clock)

    def _store(self, found: _Walk) -> None:
        value = {
            "names": list(found.names),
            "private": sorted(found.private),
            "began": found.began,
            "took": found.took,
        }
        self._storage.put(_KEY, documents.dump(value))
        lease.release(self._storage, "names")

    def _load(self) -> _Walk | None:
        try:
            value = json.loads(self._storage.get(_KEY))
            names, private = tuple(map(str, value["names"])), frozenset(map(str, value["private"]))
            return _Walk(names, private, float(value["began"]), float(value["took"]))
        except (NotFound, ValueError, KeyError, TypeError):
            return None
