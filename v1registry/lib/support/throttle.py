"""Limits on wrong passwords per minute, for an account and for an address."""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import math
import random
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from v1registry.lib import errors
from v1registry.lib.errors import Failure
from v1registry.lib.support.counts import Counts, MemoryCounts

WINDOW = 60  # seconds
KNOWN = 30 * 24 * 3600  # seconds for which the address of a successful login is remembered

_ADDRESS = 3  # times as many for an address: several people may share one
_NETWORK = 64  # bits of an IPv6 address that belong to one customer, who chooses the others
_SLOT = 10  # seconds; an attempt counts as running for one to two slots at most
_PATIENCE = 5.0  # seconds to wait for the results of running attempts
_PAUSE = (0.02, 0.5)  # seconds between two looks at them: at first, at most
_WAITING = 100  # attempts of one process that may wait


@dataclass(slots=True)
class Attempt:
    """One look at a password; set `right` if it was the right one."""

    right: bool = False


@dataclass(frozen=True, slots=True)
class _Counted:
    """An account, an address, or both together, with its limit of wrong passwords."""

    key: str
    limit: int

    def wrong(self, now: float, before: int = 0) -> str:
        return f"{self.key}:{int(now) // WINDOW - before}"

    def running(self, now: float, before: int = 0) -> str:
        return f"{self.key}:running:{int(now) // _SLOT - before}"


class Throttle:
    """Allows `limit` wrong passwords a minute; 0 means any number.

    The minute before now counts, not the minute of the clock, at whose end a client would get
    twice as many: wrong passwords are counted by the clock's minutes, and those of the previous
    minute count in proportion to its overlap with the minute before now.

    Running attempts may turn out to be wrong. An attempt starts only if the limit holds even if
    all running ones are wrong; otherwise it waits for their results. So parallel requests with the
    right password are never refused because of each other.

    The limit for an account cannot lock out its owner: from an address from which the account has
    logged in before, only wrong passwords for that account from that address count.

    `shared` holds the counters of all nodes. While it is unreachable, `own` counts for this node.
    """

    def __init__(
        self,
        limit: int,
        shared: Counts | None = None,
        own: Counts | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._limit = limit
        self._shared = shared
        self._own = own or MemoryCounts(clock=clock)
        self._clock = clock
        self._waiting = threading.BoundedSemaphore(_WAITING)

    def check(self, user: str, address: str) -> None:
        """Raise Failure 429 if one more wrong password would be too many."""
        if self._limit:
            self._allowed(user, address)

    @contextlib.contextmanager
    def attempt(self, user: str, address: str) -> Iterator[Attempt]:
        """Count a wrong password, unless the block sets `right` or ends with status 503.

        Raise Failure 429, before the block, if one more would be too many.
        """
        attempt = Attempt()
        if not self._limit:
            yield attempt
            return
        started, limits, counts = self._start(user, address)
        is_wrong = True
        try:
            yield attempt
        except Failure as failure:
            is_wrong = failure.status != 503  # then no password was compared
            raise
        finally:
            changes = {one.running(started): -1 for one in limits}
            if is_wrong and not attempt.right:
                changes |= {one.wrong(started): 1 for one in limits}
            counts.add(changes, 2 * WINDOW)
            if attempt.right and len(limits) > 1:  # not known from here yet
                self._add({_key("known", _pair(user, address)): 1}, KNOWN)

    def _start(self, user: str, address: str) -> tuple[float, list[_Counted], Counts]:
        """Count a running attempt; return when it started, what it counts for, and where."""
        end, pause = time.monotonic() + _PATIENCE, _PAUSE[0]
        while True:
            limits = self._allowed(user, address)
            now = self._clock()
            begun = {one.running(now): 1 for one in limits}
            read = {k: 0 for one in limits for k in (*_wrong(one, now), one.running(now, 1))}
            counts, totals = self._add(begun | read, 2 * WINDOW)
            if all(_fits(one, totals, now) for one in limits):
                return now, limits, counts
            counts.add(dict.fromkeys(begun, -1), 2 * WINDOW)
            if time.monotonic() > end or not self._waiting.acquire(blocking=False):
                raise _too_many(1)
            try:
                time.sleep(pause * random.uniform(0.5, 1))
            finally:
                self._waiting.release()
            pause = min(2 * pause, _PAUSE[1])

    def _allowed(self, user: str, address: str) -> list[_Counted]:
        """Return the limits that hold here; raise Failure 429 if one of them is reached."""
        now, known = self._clock(), _key("known", _pair(user, address))
        pair = _Counted(_key("pair", _pair(user, address)), self._limit)
        others = [
            _Counted(_key("account", _account(user)), self._limit),
            _Counted(_key("address", network(address)), self._limit * _ADDRESS),
        ]
        keys = [known, *(key for one in (pair, *others) for key in _wrong(one, now))]
        _, totals = self._add(dict.fromkeys(keys, 0), 2 * WINDOW)
        limits = [pair] if totals[known] > 0 else others
        wait = max(_wait(one, totals, now) for one in limits)
        if wait > 0:
            raise _too_many(math.ceil(wait))
        return limits

    def _add(self, changes: Mapping[str, int], life: int) -> tuple[Counts, dict[str, int]]:
        if self._shared is not None and (totals := self._shared.add(changes, life)) is not None:
            return self._shared, totals
        totals = self._own.add(changes, life)
        assert totals is not None, "memory is always reachable"
        return self._own, totals


def _too_many(wait: int) -> Failure:
    return Failure(*errors.TOO_MANY_TRIES, {"Retry-After": str(wait)})


def _wrong(one: _Counted, now: float) -> tuple[str, str]:
    """Return the keys of the current minute and of the previous one."""
    return one.wrong(now), one.wrong(now, 1)


def _fits(one: _Counted, totals: Mapping[str, int], now: float) -> bool:
    """Return whether the limit holds even if all running attempts are wrong."""
    wrong, before = (max(0, totals[key]) for key in _wrong(one, now))
    running = max(1, totals[one.running(now)]) + max(0, totals[one.running(now, 1)])
    return wrong + running + before * (1 - now % WINDOW / WINDOW) <= one.limit


def _wait(one: _Counted, totals: Mapping[str, int], now: float) -> float:
    """Return the seconds until one more wrong password is allowed; 0 if it is allowed now."""
    passed = now % WINDOW
    others, before = (max(0, totals[key]) for key in _wrong(one, now))
    if others + 1 + before * (1 - passed / WINDOW) <= one.limit:
        return 0
    rest = WINDOW - passed
    if others + 1 <= one.limit:
        return rest - WINDOW * (one.limit - others - 1) / before
    return rest + WINDOW * (1 - (one.limit - 1) / others)  # they are "before" in the next minute


def _pair(user: str, address: str) -> str:
    return f"{_account(user)} {network(address)}"


def _account(user: str) -> str:
    """Return one text for all spellings of a name: to a directory, `Ann ` is `ann`."""
    return " ".join(unicodedata.normalize("NFKC", user).casefold().split())


@lru_cache(maxsize=4096)
def network(address: str) -> str:
    """Return an IPv4 address as it is, and of an IPv6 address its /64 network, which one client owns."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address  # for example of a Unix socket
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, _NETWORK), strict=False))


def _key(kind: str, text: str) -> str:
    """Return a key from which neither the name nor the address can be read."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"tries:{kind}:{digest[:32]}"
