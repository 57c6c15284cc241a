"""Answers that stay true for a moment: kept shortly, and asked for once by all who want them now."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

V = TypeVar("V")


class _Question(Generic[V]):
    """One that is being asked just now; the others wait for `done`. Broken off, it has neither."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.answer: list[V] = []
        self.error: Exception | None = None


class SingleFlightCache(Generic[V]):
    """Keeps answers for `life` seconds, at most `limit` of them, the oldest going first.

    Equal questions at the same time are asked once. An exception goes to all who wait for it, and
    is not kept.
    """

    def __init__(
        self, life: float, limit: int = 10_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._life = life
        self._limit = limit
        self._clock = clock
        self._lock = threading.Lock()
        self._answers: OrderedDict[str, tuple[V, float]] = OrderedDict()
        self._running: dict[str, _Question[V]] = {}

    def get(self, key: str, ask: Callable[[], V], keep: Callable[[V], bool] = bool) -> V:
        """The kept answer, or what `ask()` returns now; kept if `keep` says so of it.

        By default only what is true is kept: a "no" may become a "yes" by what the asker does next.
        """
        while True:
            with self._lock:
                found = self._answers.get(key)
                if found is not None and self._clock() < found[1]:
                    return found[0]
                question = self._running.get(key)
                if question is None:
                    ours = self._running[key] = _Question()
                    break
            question.done.wait()
            if question.error is not None:
                raise question.error
            if question.answer:
                return question.answer[0]
        return self._ask(key, ours, ask, keep)

    def forget(self, key: str) -> None:
        """Ask anew next time."""
        with self._lock:
            self._answers.pop(key, None)

    def _ask(
        self, key: str, question: _Question[V], ask: Callable[[], V], keep: Callable[[V], bool]
    ) -> V:
        asked = self._clock()  # an answer is as old as its question
        try:
            answer = ask()
            question.answer.append(answer)
            if keep(answer):
                self._keep(key, answer, asked)
            return answer
        except Exception as error:
            question.error = error
            raise
        finally:
            with self._lock:
                self._running.pop(key, None)
            question.done.set()

    def _keep(self, key: str, answer: V, asked: float) -> None:
        with self._lock:
            self._answers.pop(key, None)
            self._answers[key] = (answer, asked + self._life)
            while len(self._answers) > self._limit:
                self._answers.popitem(last=False)
