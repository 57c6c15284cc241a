"""Redis as the cache that nodes share.

The registry can do without it at any moment: a call is bounded in time, the
first failure switches it off for a while, then one call tries again. Each
change is logged once, not each failure.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from v1registry.config.redis import Redis
from v1registry.lib.support.circuit_breaker import Breaker

PAUSE = 3.0  # seconds until Redis is tried again
PATIENCE = 0.25  # seconds that a call may take, with look-up and connection
QUEUEING = 0.1  # seconds to wait for a free connection
# One answers some ten thousand calls a second. Fewer than gevent's threads (10): a name server that
# hangs would otherwise take all of them, and fsync needs some.
_CONNECTIONS = 6
_DIGITS = 20  # of a counter, at most

_log = logging.getLogger(__name__)

Within = Callable[[float, Callable[[], Any]], Any]


class RedisCache:
    """Implements `lib.cache.Level`. `life` of a key in seconds, `limit` of a value in bytes.

    `within(seconds, function)` bounds the whole time of a call where it can.
    """

    name = "redis"

    def __init__(self, at: Redis, prefix: str, *, life: int, limit: int, within: Within) -> None:
        self._address = at.address
        self._prefix = prefix
        self._life = life
        self._limit = limit
        self._within = within
        self._client: Any = _client(at)  # its calls have no types
        self._slots = threading.BoundedSemaphore(_CONNECTIONS)
        self._calls = Breaker(PAUSE)
        self._writes = Breaker(PAUSE)  # it may answer, and yet take nothing: full, or a replica
        self._counts = Breaker(PAUSE)  # likewise, for counters
        _log.info("Redis at %s is the shared cache, under %s*", self._address, prefix)

    def get(self, key: str) -> bytes | None:
        """The value, or None; what is larger than we write is none of ours."""
        ticket = self._calls.admit()
        if ticket is None:
            return None
        try:
            # not GET: under our key may lie a gigabyte of somebody else's
            found = self._call("GETRANGE", self._prefix + key, 0, self._limit)
        except redis.ResponseError as error:
            if str(error).startswith("WRONGTYPE"):
                self._answered(ticket)
            else:
                self._failed(ticket, error)
            return None
        except Exception as error:  # whatever it is: nobody's request fails for a cache
            self._failed(ticket, error)
            return None
        if found is None:
            return None
        self._answered(ticket)
        return found if isinstance(found, bytes) and 0 < len(found) <= self._limit else None

    def put(self, key: str, value: bytes) -> None:
        """Keep a value for its life; not if it is too large, or Redis takes nothing now."""
        if len(value) > self._limit:
            return
        writing = self._writes.admit()
        ticket = self._calls.admit() if writing is not None else None
        if writing is None or ticket is None:
            return
        try:
            done = self._call("SET", self._prefix + key, value, "EX", self._life)
        except redis.ResponseError as error:
            self._answered(ticket)
            if self._writes.failed(writing):
                _log.warning("Redis at %s takes nothing: %s", self._address, reason(error))
            return
        except Exception as error:
            self._failed(ticket, error)
            return
        if done is not None:
            self._answered(ticket)
            if self._writes.succeeded(writing):
                _log.warning("Redis at %s takes values again", self._address)

    def add(self, changes: Mapping[str, int], life: int) -> dict[str, int] | None:
        """Implement `lib.counts.Counts`."""
        counting = self._counts.admit()
        ticket = self._calls.admit() if counting is not None else None
        if counting is None or ticket is None:
            return None
        try:
            found = self._bounded(lambda: self._add(changes, life))
            totals = None if found is None else [int(text or 0) for text in found]
        except (redis.ResponseError, ValueError):
            self._answered(ticket)
            self._counts.failed(counting)  # else reads would show too little while writes fail
            return None
        except Exception as error:
            self._failed(ticket, error)
            return None
        if totals is None:
            return None
        self._answered(ticket)
        self._counts.succeeded(counting)
        return dict(zip(changes, totals, strict=True))

    def _add(self, changes: Mapping[str, int], life: int) -> list[Any]:
        with self._client.pipeline(transaction=any(changes.values())) as batch:
            for key, by in changes.items():
                if by:
                    batch.incrby(self._prefix + key, by)
                else:  # see `get`
                    batch.getrange(self._prefix + key, 0, _DIGITS)
            for key in filter(changes.get, changes):
                batch.expire(self._prefix + key, life)
            found: list[Any] = batch.execute()
        return found[: len(changes)]

    def check(self) -> str | None:
        """Ask it now, also while it is switched off."""
        try:
            return None if self._call("PING") else "no free connection"
        except Exception as error:
            return reason(error)

    def _call(self, *command: Any) -> Any:
        return self._bounded(lambda: self._client.execute_command(*command))

    def _bounded(self, work: Callable[[], Any]) -> Any:
        """The answer; None if all connections are taken, which says nothing about Redis."""
        if not self._slots.acquire(timeout=QUEUEING):
            return None
        try:
            return self._within(PATIENCE, work)
        finally:
            self._slots.release()

    def _answered(self, ticket: int) -> None:
        if self._calls.succeeded(ticket):
            _log.warning("Redis at %s is used again", self._address)

    def _failed(self, ticket: int, error: Exception) -> None:
        if self._calls.failed(ticket):
            text = "Redis at %s is not used for now, the registry serves on: %s"
            _log.warning(text, self._address, reason(error))
        # What was open is open to nothing now, or will answer an older question.
        self._client.connection_pool.disconnect(inuse_connections=False)


def reason(error: BaseException) -> str:
    """Why, in words that tell no addresses and no passwords: anybody may ask for the status."""
    if isinstance(error, redis.AuthenticationError):
        return "it wants another password, or none"
    if isinstance(error, redis.BusyLoadingError):
        return "it is loading its data"
    if isinstance(error, redis.TimeoutError | TimeoutError):
        return f"no answer within {PATIENCE:g} s"
    if isinstance(error, redis.ResponseError):
        return str(error)[:120]
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return f"the connection failed ({type(error).__name__})"


def _client(at: Redis) -> redis.Redis:
    """A client that connects at its first call, and never tries anything twice."""
    place: dict[str, Any] = {"host": at.host, "port": at.port}
    if at.socket is not None:
        place = {"unix_socket_path": at.socket}
    elif at.tls:
        place |= {"ssl": True, "ssl_ca_certs": at.ca}
    return redis.Redis(
        **place,
        db=at.db,
        username=at.username,
        password=at.password,
        socket_timeout=PATIENCE,
        socket_connect_timeout=PATIENCE,
        max_connections=_CONNECTIONS,
        retry=Retry(NoBackoff(), 0),
        protocol=2,  # servers before 6 know no other
        driver_info=None,  # and this would be two more questions
    )
