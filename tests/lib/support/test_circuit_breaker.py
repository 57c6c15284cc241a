"""The circuit breaker: opens at the first failure, one probe after each pause, no flapping."""

from __future__ import annotations

import pytest

from v1registry.lib.support.circuit_breaker import CircuitBreaker


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    return CircuitBreaker(3, clock)


def ticket(breaker: CircuitBreaker) -> int:
    given = breaker.admit()
    assert given is not None
    return given


def test_all_calls_are_admitted_while_closed(breaker: CircuitBreaker) -> None:
    for _ in range(3):
        assert not breaker.succeeded(ticket(breaker))


def test_one_failure_opens_and_is_reported_once(breaker: CircuitBreaker) -> None:
    first, second = ticket(breaker), ticket(breaker)
    assert breaker.failed(first)
    assert not breaker.failed(second)
    assert breaker.admit() is None


def test_one_probe_after_each_pause(breaker: CircuitBreaker, clock: Clock) -> None:
    breaker.failed(ticket(breaker))
    for _ in range(3):
        clock.now += 2.9
        assert breaker.admit() is None
        clock.now += 0.1
        probe = ticket(breaker)
        assert breaker.admit() is None
        assert not breaker.failed(probe)


def test_a_probe_closes_and_is_reported_once(breaker: CircuitBreaker, clock: Clock) -> None:
    breaker.failed(ticket(breaker))
    clock.now += 3
    assert breaker.succeeded(ticket(breaker))
    assert not breaker.succeeded(ticket(breaker))
    assert breaker.failed(ticket(breaker))


def test_a_probe_that_never_reports_is_followed_by_another(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    breaker.failed(ticket(breaker))
    clock.now += 3
    ticket(breaker)
    clock.now += 3
    assert breaker.succeeded(ticket(breaker))


def test_results_of_earlier_calls_are_ignored(breaker: CircuitBreaker, clock: Clock) -> None:
    early, slow = ticket(breaker), ticket(breaker)
    breaker.failed(ticket(breaker))
    assert not breaker.succeeded(early)
    assert breaker.admit() is None
    clock.now += 3
    breaker.succeeded(ticket(breaker))
    assert not breaker.failed(slow)
    ticket(breaker)
