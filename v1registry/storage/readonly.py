"""The read-only switch: an object in the store that makes all nodes refuse writes.

An administrator sets it without a restart. Every process reads it again after at most `LIFE` seconds.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from v1registry.storage import Storage, get_or_none, keys
from v1registry.storage.errors import ReadOnly

LIFE = 5.0  # seconds for which a process uses the state that it has read
MAX_REASON = 500  # characters
TEXT = "The registry is read-only at the moment"


@dataclass(frozen=True, slots=True)
class ReadOnlyState:
    """Since when (epoch seconds), by whom and why the store is read-only."""

    since: int
    by: str
    reason: str

    @property
    def text(self) -> str:
        """The error of a write."""
        return f"{TEXT}: {self.reason}" if self.reason else f"{TEXT}, retry later"


class ReadOnlySwitch:
    """Reads and sets the switch of one store. `before_write` raises if the store is not the right one."""

    def __init__(self, storage: Storage, before_write: Callable[[], object]) -> None:
        self._storage = storage
        self._before_write = before_write
        self._state: ReadOnlyState | None = None
        self._expires = -math.inf

    def state(self, *, anew: bool = False) -> ReadOnlyState | None:
        """Return the state, None while writes are accepted; it is read again if `anew`."""
        started = time.monotonic()
        if anew or started >= self._expires:
            self._remember(_read(self._storage), started)
        return self._state

    def require_off(self) -> None:
        """Raise ReadOnly while writes must be refused."""
        if (state := self.state()) is not None:
            raise ReadOnly(state.text)

    def switch_on(self, by: str, reason: str) -> ReadOnlyState:
        """Make the store read-only. If it is already, change only `by` and `reason`."""
        self._before_write()
        before = self.state(anew=True)
        state = ReadOnlyState(before.since if before else int(time.time()), by, reason)
        self._storage.put(keys.READ_ONLY, json.dumps(asdict(state), sort_keys=True).encode())
        self._remember(state, time.monotonic())
        return state

    def switch_off(self) -> bool:
        """Accept writes again; return whether the store was read-only."""
        self._before_write()
        before = self.state(anew=True)
        self._storage.delete(keys.READ_ONLY)
        self._remember(None, time.monotonic())
        return before is not None

    def _remember(self, state: ReadOnlyState | None, started: float) -> None:
        self._state = state
        self._expires = started + LIFE


def _read(storage: Storage) -> ReadOnlyState | None:
    data = get_or_none(storage, keys.READ_ONLY)
    if data is None:
        return None
    try:
        value = json.loads(data)
        return ReadOnlyState(int(value["since"]), str(value["by"]), str(value["reason"]))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        # Refusing writes is the safe reading of a damaged switch.
        return ReadOnlyState(0, "unknown", f"the object {keys.READ_ONLY} in the store is damaged")
