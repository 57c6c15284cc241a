"""A lease: of many processes, the one that holds it runs a task.

Its object is where docker-registry 0.x does not look (docs/architecture.md#rule-9-roll-back-stays-possible).
"""

from __future__ import annotations

import json
import secrets
import time
from typing import Any

from v1registry.lib import documents
from v1registry.storage import Storage, keys
from v1registry.storage.errors import NotFound

_SETTLING = 30.0  # longest time in seconds that a process may stall between a read and a write


class LeaseLost(Exception):
    """The lease ended while its task was running, because the process or the store was too slow."""


def take(storage: Storage, name: str, seconds: float) -> bool:
    """Take the lease `name` for some seconds; return False while another process holds it.

    A lease normally ends by expiring. If the store does not create atomically, two processes may take
    it at once. So the task of such a lease must be safe to run twice; `Lease` rules that out.
    """
    return Lease(storage, name, seconds).take(settle=False)


def release(storage: Storage, name: str) -> None:
    """Release the lease early. If it had expired and another process took it, that ends as well."""
    storage.delete(_key(name))


class Lease:
    """A lease that its holder extends while the task runs. Not safe for threads."""

    def __init__(self, storage: Storage, name: str, seconds: float) -> None:
        self._storage = storage
        self._name = name
        self._seconds = seconds
        self._token = secrets.token_hex(8)
        self._taken = 0.0  # monotonic seconds

    def take(self, *, settle: bool = True) -> bool:
        """Take the lease; return False while another process holds it.

        With `settle`, wait until no other process can believe that it took the lease as well. That is
        necessary to replace a lease that expired, and on stores that do not create atomically.
        """
        found = _read(self._storage, self._name)
        now = time.time()
        if now < _until(found) <= now + 10 * self._seconds:  # a later time was from a wrong clock
            return False
        started = time.monotonic()
        if found is not None:
            self._storage.put(_key(self._name), self._data())
        elif not self._storage.create(_key(self._name), self._data()):
            return False
        if settle and (found is not None or not self._storage.creates_atomically):
            time.sleep(_SETTLING)
        self._taken = started
        return self._is_ours()

    def extend(self) -> None:
        """Hold the lease for its full time again. Call this often: it does nothing in most cases.

        Raise LeaseLost if the lease ended, or if so much of its time has passed that it may end before
        the caller's next step.
        """
        passed = time.monotonic() - self._taken
        if passed < self._seconds / 4:
            return
        if passed > self._seconds / 2 or not self._is_ours():
            raise LeaseLost(self._name)
        started = time.monotonic()
        self._storage.put(_key(self._name), self._data())
        self._taken = started

    def release(self) -> None:
        """Release the lease if this process still holds it."""
        if self._is_ours():
            self._storage.delete(_key(self._name))

    def _data(self) -> bytes:
        return documents.dump({"until": time.time() + self._seconds, "by": self._token})

    def _is_ours(self) -> bool:
        found = _read(self._storage, self._name)
        return isinstance(found, dict) and found.get("by") == self._token


def _key(name: str) -> str:
    return f"{keys.LEASES}/{name}"


def _read(storage: Storage, name: str) -> Any:
    """Return the lease's document; None if there is no lease, an empty one if it is damaged."""
    try:
        return json.loads(storage.get(_key(name)))
    except NotFound:
        return None
    except ValueError:
        return {}


def _until(found: Any) -> float:
    """Return until when a lease lasts in epoch seconds; 0 for a missing or damaged one."""
    try:
        return float(found["until"])
    except (ValueError, KeyError, TypeError):
        return 0.0
