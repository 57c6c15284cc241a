"""Slowing down who guesses passwords (lib.throttle)."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    assert 0 < int(failure.headers["Retry-After"]) <= 2 * module.WINDOW
    return True


def wait(throttle: Throttle, user: str, address: str = "a") -> int:
    with pytest.raises(Failure) as found:
        throttle.begin(user, address)
    return int(found.value.headers["Retry-After"])


def test_some_a_minute_for_an_account_from_wherever(clock: Clock) -> None:
    throttle = Throttle(3, clock=clock)
    assert [refused(throttle, "ann", f"address {n}") for n in range(5)] == [0, 0, 0, 1, 1]
    assert not refused(throttle, "bob")
    clock.now += 2 * module.WINDOW
    assert not refused(throttle, "ann")


def test_a_minute_of_the_clock_is_no_border(clock: Clock) -> None:
    throttle = Throttle(10, clock=clock)
    clock.now += module.WINDOW - 0.5
    assert [refused(throttle, "ann") for _ in range(12)] == [0] * 10 + [1] * 2
    clock.now += 1
    assert refused(throttle, "ann")
    clock.now += module.WINDOW / 2
    assert [refused(throttle, "ann") for _ in range(7)] == [0] * 5 + [1] * 2


@pytest.mark.parametrize("limit", [1, 2, 3, 10])
@pytest.mark.parametrize("second", [0, 1, 30, 59.9])
def test_who_waits_as_long_as_he_is_told_may_try(clock: Clock, limit: int, second: float) -> None:
    throttle = Throttle(limit, clock=clock)
    clock.now += second
    for n in range(limit):
        assert not refused(throttle, "ann", f"address {n}")
        clock.now += 0.3
    for _ in range(3 * limit):
        for _ in range(5):  # refused ones make it no longer
            assert refused(throttle, "ann")
        told = wait(throttle, "ann")
        clock.now += told - 2 if told > 2 else 0
        assert refused(throttle, "ann") or told <= 2
        clock.now += 2 if told > 2 else told
        assert not refused(throttle, "ann")


@given(gaps=st.lists(st.floats(0, 40), max_size=80), limit=st.integers(1, 6))
def test_whatever_the_pace_there_are_never_more(gaps: list[float], limit: int) -> None:
    """As from a bucket that is filled evenly: so many, and so many a minute more."""
    clock = Clock()
    throttle = Throttle(limit, clock=clock)
    passed: list[float] = []
    for gap in gaps:
        clock.now += gap
        if not refused(throttle, "ann"):
            passed.append(clock.now)
    for first, begin in enumerate(passed):
        for last, end in enumerate(passed[first:], 1):
            assert last <= limit + math.ceil(limit * (end - begin) / module.WINDOW)


def test_a_network_of_ipv6_is_one_address(clock: Clock) -> None:
    throttle = Throttle(1, clock=clock)
    near = [f"2001:db8:0:1::{n:x}" for n in range(1, 6)]
    found = [refused(throttle, f"user {n}", address) for n, address in enumerate(near)]
    assert found == [0, 0, 0, 1, 1]
    assert not refused(throttle, "another", "2001:db8:0:2::1")
    assert [refused(throttle, f"four {n}", f"::ffff:192.0.2.{n}") for n in range(4)] == [0] * 4
    mapped = ["::ffff:192.0.2.9", "192.0.2.9"] * 2
    assert [refused(throttle, f"m {n}", a) for n, a in enumerate(mapped)] == [0, 0, 0, 1]


def test_other_spellings_are_no_other_account(clock: Clock) -> None:
    throttle = Throttle(2, clock=clock)
    spellings = ["ann", "ANN", "aNn", " ann", "ann ", "\uff41nn"]
    found = [refused(throttle, name, f"10.0.{n}.1") for n, name in enumerate(spellings)]
    assert found == [0, 0, 1, 1, 1, 1]


def test_many_addresses_do_not_make_it_forget_an_account(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_KEPT", 50)
    throttle = Throttle(2, clock=clock)
    found = [refused(throttle, "ann", f"10.0.{n}.1") for n in range(200)]
    assert found == [0, 0] + [1] * 198
    assert len(throttle._own) <= 50


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
