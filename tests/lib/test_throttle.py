"""Slowing down who guesses passwords (lib.throttle)."""

from __future__ import annotations

import pytest

from v1registry.lib import throttle as module
from v1registry.lib.errors import Failure
from v1registry.lib.throttle import Throttle


class Clock:
    def __init__(self) -> None:
        self.now = 6000.0

    def __call__(self) -> float:
        return self.now


class FakeCounts:
    """Counters as Redis has them; `away` as when it is."""

    def __init__(self) -> None:
        self.totals: dict[str, int] = {}
        self.away = False

    def count(self, key: str, by: int, life: int) -> int | None:
        if self.away:
            return None
        self.totals[key] = self.totals.get(key, 0) + by
        return self.totals[key]


@pytest.fixture
def clock() -> Clock:
    return Clock()


def refused(throttle: Throttle, user: str, address: str = "a") -> bool:
    try:
        throttle.begin(user, address)
    except Failure as found:
        failure = found
    else:
        return False
    assert failure.status == 429
    assert 0 < int(failure.headers["Retry-After"]) <= module.WINDOW
    return True


def test_some_a_minute_for_an_account_from_wherever(clock: Clock) -> None:
    throttle = Throttle(3, clock=clock)
    assert [refused(throttle, "ann", f"address {n}") for n in range(5)] == [0, 0, 0, 1, 1]
    assert not refused(throttle, "bob")
    clock.now += module.WINDOW
    assert not refused(throttle, "ann")


def test_more_for_an_address_whatever_the_account(clock: Clock) -> None:
    throttle = Throttle(3, clock=clock)
    assert [refused(throttle, f"user {n}") for n in range(10)] == [0] * 9 + [1]
    assert not refused(throttle, "another", "b")


def test_who_comes_in_does_not_count(clock: Clock) -> None:
    throttle = Throttle(3, clock=clock)
    for _ in range(20):
        throttle.begin("ann", "a")
        throttle.succeeded("ann", "a")


def test_nobody_is_locked_out_where_he_has_come_in_before(clock: Clock) -> None:
    throttle = Throttle(3, clock=clock)
    throttle.begin("ann", "home")
    throttle.succeeded("ann", "home")
    assert [refused(throttle, "ann", f"bad {n}") for n in range(9)][-1]
    assert not refused(throttle, "ann", "home")
    # and whoever sits there too cannot guess more than anybody
    assert [refused(throttle, "ann", "home") for n in range(4)] == [0, 0, 1, 1]


def test_no_limit() -> None:
    throttle = Throttle(0)
    assert not any(refused(throttle, "ann") for _ in range(1000))


def test_many_at_once_are_not_more_than_one_after_the_other(clock: Clock) -> None:
    throttle = Throttle(5, clock=clock)
    assert sum(not refused(throttle, "ann") for _ in range(50)) == 5  # none has an end yet


def test_nodes_count_together_and_each_alone_without_redis(clock: Clock) -> None:
    counts = FakeCounts()
    one, other = (Throttle(2, counts, clock) for _ in range(2))
    assert not refused(one, "ann")
    assert not refused(other, "ann")
    assert refused(one, "ann")
    assert not any("ann" in key for key in counts.totals)
    counts.away = True
    assert [refused(one, "ann") for _ in range(3)] == [0, 0, 1]
