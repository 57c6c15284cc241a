"""Slowing down who guesses passwords: a number of tries a minute, for an account and an address."""

from __future__ import annotations

import hashlib
import ipaddress
import math
import time
import unicodedata
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from v1registry.lib import errors
from v1registry.lib.errors import Failure

WINDOW = 60  # seconds

_ADDRESS = 3  # times as many for an address: several people may share one
_KNOWN = 10_000  # accounts with addresses from which they have come
_KEPT = 100_000  # counters in a process; who tries more addresses than that has others to lose
_NETWORK = 64  # bits of an IPv6 address that are a customer's: the others he chooses


class Counts(Protocol):
    """Counters that nodes share; one that is not used for `life` seconds is gone."""

    def count(self, key: str, by: int, life: int) -> int | None:
        """Add to a counter, 0 at first, and return it; None if that is not possible now."""


class Throttle:
    """Lets `limit` wrong passwords a minute pass, 0: any number.

    A minute is the one before now, not one of the clock's, at whose end a guesser would get twice
    as many: tries are counted by the clock's minutes, and those of the one before count as far as
    it reaches into ours, as if they had come evenly.

    A try counts when it begins, so that many at once are not more than one after the other; one
    that is refused does not. Where an account has come in before, others cannot lock it out: only
    tries with that name from that address count there.
    """

    def __init__(
        self, limit: int, shared: Counts | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._limit = limit
        self._shared = shared
        self._clock = clock
        self._own: OrderedDict[str, int] = OrderedDict()
        self._known: OrderedDict[str, None] = OrderedDict()

    def begin(self, user: str, address: str) -> None:
        """Before a password is looked at. Raise Failure 429 for one too many."""
        if not self._limit:
            return
        now = self._clock()
        limits = self._limits(user, address)
        wait = max([self._wait(key, limit, now) for key, limit in limits.items()])
        if wait > 0:
            for key in limits:
                self._add(key, -1, int(now) // WINDOW)
            raise Failure(*errors.TOO_MANY_TRIES, {"Retry-After": str(math.ceil(wait))})

    def succeeded(self, user: str, address: str) -> None:
        """It was the right one: this try does not count."""
        if not self._limit:
            return
        for key in self._limits(user, address):
            self._add(key, -1, int(self._clock()) // WINDOW)
        pair = _pair(user, address)
        self._known.pop(pair, None)
        self._known[pair] = None
        if len(self._known) > _KNOWN:
            self._known.popitem(last=False)

    def _limits(self, user: str, address: str) -> dict[str, int]:
        pair = _pair(user, address)
        if pair in self._known:
            return {pair: self._limit}
        return {
            _key("account", _account(user)): self._limit,
            _key("address", _network(address)): self._limit * _ADDRESS,
        }

    def _wait(self, key: str, limit: int, now: float) -> float:
        """Count a try; seconds until it would not be one too many, 0 if it is not."""
        minute, passed = int(now) // WINDOW, now % WINDOW
        tries = self._add(key, 1, minute)
        before = max(0, self._add(key, 0, minute - 1))
        if tries + before * (1 - passed / WINDOW) <= limit:
            return 0
        rest = WINDOW - passed
        if tries <= limit:
            return rest - WINDOW * (limit - tries) / before
        others = tries - 1  # these are "before" when this minute is over
        return rest + WINDOW * (1 - (limit - 1) / others)

    def _add(self, key: str, by: int, minute: int) -> int:
        key = f"{key}:{minute}"
        shared = self._shared.count(key, by, 2 * WINDOW) if self._shared else None
        if shared is not None:
            return shared
        self._own[key] = total = self._own.pop(key, 0) + by
        if len(self._own) > _KEPT:
            self._own.popitem(last=False)  # not used for longer than any other
        return total


def _pair(user: str, address: str) -> str:
    return _key("pair", f"{_account(user)} {_network(address)}")


def _account(user: str) -> str:
    """Whose name it is in any spelling: to a directory, `Ann ` is `ann`."""
    return " ".join(unicodedata.normalize("NFKC", user).casefold().split())


def _network(address: str) -> str:
    """Whose address it is: an IPv4 address, or the network of an IPv6 one."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address  # a socket's, say
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, _NETWORK), strict=False))


def _key(kind: str, text: str) -> str:
    """No name and no address is to be read in a cache."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"tries:{kind}:{digest[:32]}"
