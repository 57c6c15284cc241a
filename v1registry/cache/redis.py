"""Redis as the shared cache of all nodes.

The registry works without it at any moment. Every call has a timeout. The first failure opens a
circuit breaker for some seconds; then one call tries again. Only changes of this state are logged.
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
from v1registry.lib.running import Within
from v1registry.lib.support.circuit_breaker import CircuitBreaker

PAUSE = 3.0  # seconds until the next attempt after a failure
TIMEOUT = 0.25  # seconds for a call, with name look-up and connection
QUEUEING = 0.1  # seconds to wait for a free connection
# One connection handles about ten thousand calls per second. There must be fewer than gevent's threads
# (10): a name server that does not answer would otherwise block all of them, and fsync needs some.
_CONNECTIONS = 6
_DIGITS = 20  # longest counter

_log = logging.getLogger(__name__)


class RedisCache:
    """Implements `SharedCache`. `life` of a key is in seconds, `limit` of a value in bytes.

    `within(seconds, function)` is the timeout for a whole call, see `server.deadline`.
    """

    name = "redis"

    def __init__(self, at: Redis, prefix: str, *, life: int, limit: int, within: Within) -> None:
        self._address = at.address
        self._prefix = prefix
        self._life = life
        self._limit = limit
        self._within = within
        self._client: Any = _client(at)  # its methods have no types
        self._slots = threading.BoundedSemaphore(_CONNECTIONS)
        self._calls = CircuitBreaker(PAUSE)
        # Redis may answer reads and refuse writes: it is full, or a replica.
        self._writes = CircuitBreaker(PAUSE)
        self._counts = CircuitBreaker(PAUSE)
        _log.info("Redis at %s is the shared cache, under %s*", self._address, prefix)

    def get(self, key: str) -> bytes | None:
        """Return the value, or None. A value over the limit is not one of ours."""
        # Not GET: another program may have stored a gigabyte under our key.
        found = self._answer(lambda: self._call("GETRANGE", self._prefix + key, 0, self._limit))
        return found if isinstance(found, bytes) and 0 < len(found) <= self._limit else None

    def put(self, key: str, value: bytes) -> None:
        """Store a value, unless it is too large or Redis refuses writes."""
        if len(value) <= self._limit:
            command = "SET", self._prefix + key, value, "EX", self._life
            self._answer(lambda: self._call(*command), self._writes)

    def add(self, changes: Mapping[str, int], life: int) -> dict[str, int] | None:
        """Add `changes` to counters, and return their totals; see `lib.support.counts.Counts`."""
        # While writes fail, reads would return too low totals. So both use one circuit breaker.
        totals = self._answer(lambda: self._bounded(lambda: self._add(changes, life)), self._counts)
        return None if totals is None else dict(zip(changes, totals, strict=True))

    def _add(self, changes: Mapping[str, int], life: int) -> list[int]:
        with self._client.pipeline(transaction=any(changes.values())) as batch:
            for key, by in changes.items():
                if by:
                    batch.incrby(self._prefix + key, by)
                else:  # see `get`
                    batch.getrange(self._prefix + key, 0, _DIGITS)
            for key in filter(changes.get, changes):
                batch.expire(self._prefix + key, life)
            found: list[Any] = batch.execute()
        return [int(text or 0) for text in found[: len(changes)]]

    def _answer(self, work: Callable[[], Any], refusable: CircuitBreaker | None = None) -> Any:
        """Return the answer of Redis; None if it gives none, or while a circuit breaker is open.

        `refusable`: the circuit breaker of a kind of command that Redis may refuse while it answers
        others. No error leaves this method: the cache must not make a request fail.
        """
        kind = refusable.admit() if refusable is not None else 0
        ticket = self._calls.admit() if kind is not None else None
        if kind is None or ticket is None:
            return None
        try:
            found = work()
        except Exception as error:
            if not _is_refusal(error, refusable is not None):
                self._failed(ticket, error)
                return None
            self._answered(ticket)
            if refusable is not None and refusable.failed(kind) and refusable is self._writes:
                _log.warning("Redis at %s refuses values: %s", self._address, reason(error))
            return None
        if found is not None:
            self._answered(ticket)
            if refusable is not None and refusable.succeeded(kind) and refusable is self._writes:
                _log.warning("Redis at %s accepts values again", self._address)
        return found

    def check(self) -> str | None:
        """Send a PING, even while the circuit breaker is open; return the reason of a failure."""
        try:
            return None if self._call("PING") else "no free connection"
        except Exception as error:
            return reason(error)

    def _call(self, *command: Any) -> Any:
        return self._bounded(lambda: self._client.execute_command(*command))

    def _bounded(self, work: Callable[[], Any]) -> Any:
        """Return the answer; None if all connections are in use, which is no failure of Redis."""
        if not self._slots.acquire(timeout=QUEUEING):
            return None
        try:
            return self._within(TIMEOUT, work)
        finally:
            self._slots.release()

    def _answered(self, ticket: int) -> None:
        if self._calls.succeeded(ticket):
            _log.warning("Redis at %s is used again", self._address)

    def _failed(self, ticket: int, error: Exception) -> None:
        if self._calls.failed(ticket):
            text = "Redis at %s is not used for now, the registry works without it: %s"
            _log.warning(text, self._address, reason(error))
        # Open connections are broken, or would return the answer to an earlier call.
        self._client.connection_pool.disconnect(inuse_connections=False)


def _is_refusal(error: Exception, is_write: bool) -> bool:
    """Return whether Redis answers, but not this command: a write, or a key of another type."""
    if is_write:
        return isinstance(error, redis.ResponseError | ValueError)  # ValueError: no counter
    return isinstance(error, redis.ResponseError) and str(error).startswith("WRONGTYPE")


def reason(error: BaseException) -> str:
    """Return the reason of `error` without addresses and passwords: the status page is public."""
    if isinstance(error, redis.AuthenticationError):
        return "the password is wrong, or Redis requires none"
    if isinstance(error, redis.BusyLoadingError):
        return "it is loading its data"
    if isinstance(error, redis.TimeoutError | TimeoutError):
        return f"no answer within {TIMEOUT:g} s"
    if isinstance(error, redis.ResponseError):
        return str(error)[:120]
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return f"the connection failed ({type(error).__name__})"


def _client(at: Redis) -> redis.Redis:
    """Return a client that connects at its first call and never retries."""
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
        socket_timeout=TIMEOUT,
        socket_connect_timeout=TIMEOUT,
        max_connections=_CONNECTIONS,
        retry=Retry(NoBackoff(), 0),
        protocol=2,  # Redis before 6 supports no other
        driver_info=None,  # would send two more commands per connection
    )
