"""Long computations that outlive the request that started them, each in a thread of its own."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from v1registry.lib import errors
from v1registry.lib.errors import Failure
from v1registry.lib.support.cache import Cache

V = TypeVar("V")

_OVERHEAD = 1000  # bytes of a kept result besides its value
_LIFE = 60.0  # seconds


class StillRunning(Exception):
    """The result is not there yet: ask for it again later."""


class Jobs(Generic[V]):
    """Runs at most `most` computations at once, and keeps their results for a minute.

    `limit` is that of all kept results in bytes, far above the size of one; `size` returns it. Concurrent
    requests with the same key share one computation.
    """

    def __init__(self, most: int, limit: int, size: Callable[[V], int]) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._running: dict[str, threading.Event] = {}
        self._results: Cache[tuple[V | None, Exception | None]] = Cache(
            limit, _LIFE, lambda kept: _OVERHEAD + (size(kept[0]) if kept[0] is not None else 0)
        )

    def get(self, key: str, compute: Callable[[], V], seconds: float) -> V:
        """Return the result of `compute()`, or raise its error.

        Raise StillRunning if it takes longer than `seconds`; the computation continues. Raise
        Failure 503 if too many computations are running.
        """
        done = None
        with self._lock:
            if (found := self._results.get(key)) is None:
                done = self._running.get(key) or self._start(key, compute)
        if done is not None:
            done.wait(seconds)
            found = self._results.get(key)
        if found is None:
            raise StillRunning
        value, error = found
        if error is not None:
            self._results.forget(key)  # the next request tries again
            raise error
        return value  # type: ignore[return-value]

    def _start(self, key: str, compute: Callable[[], V]) -> threading.Event:
        if len(self._running) >= self._most:
            raise Failure(*errors.TOO_MANY_LISTINGS)
        done = self._running[key] = threading.Event()
        context = contextvars.copy_context()  # for example with the caller's token for the store
        run = threading.Thread(target=context.run, args=(self._run, key, compute), daemon=True)
        run.start()
        return done

    def _run(self, key: str, compute: Callable[[], V]) -> None:
        try:
            self._results.put(key, (compute(), None))
        except Exception as error:  # raised again in `get`
            self._results.put(key, (None, error))
        finally:
            with self._lock:
                done = self._running.pop(key)
            done.set()
