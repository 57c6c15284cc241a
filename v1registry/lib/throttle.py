"""Slowing down who guesses passwords: a number of tries a minute, for an account and an address."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from v1registry.lib import errors
from v1registry.lib.errors import Failure

WINDOW = 60  # seconds

_ADDRESS = 3  # times as many for an address: several people may share one
_KNOWN = 10_000  # accounts with addresses from which they have come
_KEPT = 100_000  # counters in a process; who tries more addresses than that has others to lose


class Counts(Protocol):
    """Counters that nodes share; one that is not used for `life` seconds is gone."""

    def count(self, key: str, by: int, life: int) -> int | None:
        """Add to a counter, 0 at first, and return it; None if that is not possible now."""


class Throttle:
    """Lets `limit` wrong passwords a minute pass, 0: any number.

    A try counts when it begins, so that many at once are not more than one after the other. Where
    an account has come in before, others cannot lock it out: only tries with that name from that
    address count there.
    """

    def __init__(
        self, limit: int, shared: Counts | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._limit = limit
        self._shared = shared
        self._clock = clock
        self._own: dict[str, int] = {}
        self._window = 0
        self._known: OrderedDict[str, None] = OrderedDict()

    def begin(self, user: str, address: str) -> None:
        """Before a password is looked at. Raise Failure 429 for one too many."""
        if not self._limit:
            return
        limits = self._limits(user, address)
        counted = [self._add(key, 1) > limit for key, limit in limits.items()]
        if any(counted):
            wait = WINDOW - int(self._clock()) % WINDOW
            raise Failure(*errors.TOO_MANY_TRIES, {"Retry-After": str(wait)})

    def succeeded(self, user: str, address: str) -> None:
        """It was the right one: this try does not count."""
        if not self._limit:
            return
        for key in self._limits(user, address):
            self._add(key, -1)
        pair = _key("pair", f"{user} {address}")
        self._known.pop(pair, None)
        self._known[pair] = None
        if len(self._known) > _KNOWN:
            self._known.popitem(last=False)

    def _limits(self, user: str, address: str) -> dict[str, int]:
        pair = _key("pair", f"{user} {address}")
        if pair in self._known:
            return {pair: self._limit}
        return {
            _key("account", user): self._limit,
            _key("address", address): self._limit * _ADDRESS,
        }

    def _add(self, key: str, by: int) -> int:
        window = int(self._clock()) // WINDOW
        shared = self._shared.count(f"{key}:{window}", by, 2 * WINDOW) if self._shared else None
        if shared is not None:
            return shared
        if window != self._window or len(self._own) >= _KEPT:
            self._own, self._window = {}, window
        self._own[key] = total = self._own.get(key, 0) + by
        return total


def _key(kind: str, text: str) -> str:
    """No name and no address is to be read in a cache."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"tries:{kind}:{digest[:32]}"
