"""The single-flight cache: answers are kept for a short time and computed once."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

import pytest

from tests.waiting import wait_for
from v1registry.lib.support.single_flight import SingleFlightCache


class BrokenOff(BaseException):
    """Raised like the end of a greenlet or a timeout."""


class Source:
    """Counts the computations."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.asked = 0

    def __call__(self) -> object:
        self.asked += 1
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer


def until(condition: Callable[[], bool]) -> None:
    wait_for(condition, 10)


def test_a_positive_answer_is_cached_for_its_lifetime() -> None:
    now, source = [0.0], Source("a", "b")
    asked: SingleFlightCache[object] = SingleFlightCache(5, clock=lambda: now[0])
    assert [asked.get("key", source) for _ in range(3)] == ["a"] * 3
    now[0] = 5.0
    assert asked.get("key", source) == "b"
    assert source.asked == 2


def test_a_negative_answer_is_cached_only_if_requested() -> None:
    asked: SingleFlightCache[object] = SingleFlightCache(5)
    assert [asked.get("key", Source(value)) for value in (False, True, False)] == [0, 1, 1]
    assert [asked.get("no", Source(v), lambda _: True) for v in (False, True)] == [False, False]


def test_dropped_and_replaced_answers() -> None:
    asked: SingleFlightCache[object] = SingleFlightCache(5, limit=2)
    for key in ("a", "b", "c"):
        asked.get(key, Source(key))
    assert asked.get("a", Source("new")) == "new"  # the oldest went
    asked.forget("a")
    assert asked.get("a", Source("newer")) == "newer"
    assert asked.get("c", Source("x")) == "c"


def test_an_error_reaches_all_waiting_callers_and_is_not_cached() -> None:
    asked: SingleFlightCache[object] = SingleFlightCache(5)
    with pytest.raises(ValueError, match="no"):
        asked.get("key", Source(ValueError("no")))
    assert asked.get("key", Source("yes")) == "yes"


@pytest.mark.parametrize("failing", [False, True])
def test_concurrent_calls_share_one_computation(failing: bool) -> None:
    asked: SingleFlightCache[object] = SingleFlightCache(
        0
    )  # nothing is cached: they can only share a running computation
    begun, go_on, results, count = threading.Event(), threading.Event(), [], []

    def ask() -> object:
        count.append(1)
        begun.set()
        assert go_on.wait(10)
        if failing:
            raise ValueError("no")
        return "answer"

    def want() -> None:
        try:
            results.append(asked.get("key", ask))
        except ValueError as error:
            results.append(error)

    first = threading.Thread(target=want)
    first.start()
    assert begun.wait(10)
    others = [threading.Thread(target=want) for _ in range(5)]
    for thread in others:
        thread.start()
    assert asked.get("another", Source("x")) == "x"  # a request for another key does not wait
    waiting = asked._computations["key"].done._cond._waiters  # type: ignore[attr-defined]
    until(lambda: len(waiting) == 5)
    go_on.set()
    for thread in (first, *others):
        thread.join(10)
    assert len(results) == 6
    assert all(isinstance(result, ValueError) == failing for result in results)
    assert count == [1]


def test_callers_of_a_killed_computation_compute_themselves() -> None:
    asked: SingleFlightCache[object] = SingleFlightCache(5)
    begun, go_on, results = threading.Event(), threading.Event(), []

    def broken_off() -> object:
        begun.set()
        assert go_on.wait(10)
        raise BrokenOff

    def want(source: object) -> None:
        with contextlib.suppress(BrokenOff):
            results.append(asked.get("key", source))

    first = threading.Thread(target=want, args=(broken_off,))
    first.start()
    assert begun.wait(10)
    second = threading.Thread(target=want, args=(Source("mine"),))
    second.start()
    go_on.set()
    first.join(10)
    second.join(10)
    assert results == ["mine"]
