"""A cache of answers that stay true for a moment. Concurrent requests for one share one computation."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

V = TypeVar("V")


class _Computation(Generic[V]):
    """A running computation; other callers wait for `done`. If it was killed, it has no result."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.answer: list[V] = []
        self.error: Exception | None = None


class SingleFlightCache(Generic[V]):
    """Keeps at most `limit` answers for `life` seconds, 0 for none, and drops the oldest first.

    Concurrent calls with the same key share one computation. All of them receive its exception, which
    is not cached.
    """

    def __init__(
        self, life: float, limit: int = 10_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._life = life
        self._limit = limit
        self._clock = clock
        self._lock = threading.Lock()
        self._answers: OrderedDict[str, tuple[V, float]] = OrderedDict()
        self._computations: dict[str, _Computation[V]] = {}

    def get(self, key: str, compute: Callable[[], V], keep: Callable[[V], bool] = bool) -> V:
        """Return the cached answer or the result of `compute()`, cached if `keep` returns true.

        By default only true answers are cached: a caller's next request may turn false into true.
        """
        while True:
            with self._lock:
                found = self._answers.get(key)
                if found is not None and self._clock() < found[1]:
                    return found[0]
                running = self._computations.get(key)
                if running is None:
                    ours = self._computations[key] = _Computation()
                    break
            running.done.wait()
            if running.error is not None:
                raise running.error
            if running.answer:
                return running.answer[0]
        return self._compute(key, ours, compute, keep)

    def forget(self, key: str) -> None:
        """Drop the cached answer."""
        with self._lock:
            self._answers.pop(key, None)

    def _compute(
        self,
        key: str,
        running: _Computation[V],
        compute: Callable[[], V],
        keep: Callable[[V], bool],
    ) -> V:
        started = self._clock()  # an answer is as old as the start of its computation
        try:
            answer = compute()
            running.answer.append(answer)
            if self._life and keep(answer):
                self._keep(key, answer, started)
            return answer
        except Exception as error:
            running.error = error
            raise
        finally:
            with self._lock:
                self._computations.pop(key, None)
            running.done.set()

    def _keep(self, key: str, answer: V, started: float) -> None:
        with self._lock:
            self._answers.pop(key, None)
            self._answers[key] = (answer, started + self._life)
            while len(self._answers) > self._limit:
                self._answers.popitem(last=False)
