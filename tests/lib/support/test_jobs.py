"""Computations that outlive their request."""

from __future__ import annotations

import threading

import pytest

from v1registry.lib.errors import Failure
from v1registry.lib.support.jobs import Jobs, StillRunning

LONG = 30.0


def test_a_result_in_time():
    jobs: Jobs[int] = Jobs(1, 100_000, lambda _: 1)
    assert jobs.get("a", lambda: 1, LONG) == 1
    assert jobs.get("a", lambda: pytest.fail("computed again"), LONG) == 1


def test_a_long_computation_continues_and_is_shared():
    jobs: Jobs[int] = Jobs(1, 100_000, lambda _: 1)
    go, calls = threading.Event(), []

    def compute() -> int:
        calls.append(1)
        assert go.wait(LONG)
        return 2

    for _ in range(3):
        with pytest.raises(StillRunning):
            jobs.get("a", compute, 0)
    go.set()
    assert jobs.get("a", compute, LONG) == 2
    assert len(calls) == 1


def test_an_error_is_raised_once():
    jobs: Jobs[int] = Jobs(1, 100_000, lambda _: 1)

    def fail() -> int:
        raise Failure(400, "no")

    with pytest.raises(Failure, match="no"):
        jobs.get("a", fail, LONG)
    assert jobs.get("a", lambda: 3, LONG) == 3


def test_too_many_computations_are_refused():
    jobs: Jobs[int] = Jobs(1, 100_000, lambda _: 1)
    go = threading.Event()

    def wait() -> int:
        assert go.wait(LONG)
        return 4

    with pytest.raises(StillRunning):
        jobs.get("a", wait, 0)
    with pytest.raises(Failure) as refused:
        jobs.get("b", lambda: 5, LONG)
    assert refused.value.status == 503
    go.set()
    assert jobs.get("a", wait, LONG) == 4
    assert jobs.get("b", lambda: 5, LONG) == 5


def test_results_are_bounded():
    jobs: Jobs[str] = Jobs(1, 10_000, len)
    assert jobs.get("a", lambda: "x" * 5000, LONG) == "x" * 5000
    assert jobs.get("b", lambda: "y" * 5000, LONG) == "y" * 5000
    assert jobs.get("a", lambda: "again", LONG) == "again"
