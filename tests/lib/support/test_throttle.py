"""The throttle: limits on wrong passwords."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v1registry.lib.errors import Failure
from v1registry.lib.support import throttle as module
from v1registry.lib.support.counts import MemoryCounts
from v1registry.lib.support.throttle import Throttle


class Clock:
    def __init__(self) -> None:
        self.now = 6000.0

    def __call__(self) -> float:
        return self.now


class FakeCounts:
    """Counters like those in Redis; `away` simulates an unreachable Redis."""

    def __init__(self) -> None:
        self.totals: dict[str, int] = {}
        self.away = False

    def add(self, changes: Mapping[str, int], life: int) -> dict[str, int] | None:
        if self.away:
            return None
        for key, by in changes.items():
            self.totals[key] = self.totals.get(key, 0) + by
        return {key: self.totals[key] for key in changes}


@pytest.fixture
def clock() -> Clock:
    return Clock()


def refused(throttle: Throttle, user: str, address: str = "a") -> bool:
    """Try a wrong password."""
    try:
        with throttle.attempt(user, address):
            pass
    except Failure as found:
        failure = found
    else:
        return False
    assert failure.status == 429
    assert 0 < int(failure.headers["Retry-After"]) <= 2 * module.WINDOW
    return True


def wait(throttle: Throttle, user: str, address: str = "a") -> int:
    with pytest.raises(Failure) as found:
        throttle.check(user, address)
    return int(found.value.headers["Retry-After"])


def come_in(throttle: Throttle, user: str, address: str = "a") -> None:
    """Try the right password."""
    with throttle.attempt(user, address) as attempt:
        attempt.right = True


def test_the_limit_for_an_account_holds_for_all_addresses(clock: Clock) -> None:
    throttle = Throttle(3, clock=clock)
    assert [refused(throttle, "ann", f"address {n}") for n in range(5)] == [0, 0, 0, 1, 1]
    assert not refused(throttle, "bob")
    clock.now += 2 * module.WINDOW
    assert not refused(throttle, "ann")


def test_a_new_minute_of_the_clock_does_not_reset_the_limit(clock: Clock) -> None:
    throttle = Throttle(10, clock=clock)
    clock.now += module.WINDOW - 0.5
    assert [refused(throttle, "ann") for _ in range(12)] == [0] * 10 + [1] * 2
    clock.now += 1
    assert refused(throttle, "ann")
    clock.now += module.WINDOW / 2
    assert [refused(throttle, "ann") for _ in range(7)] == [0] * 5 + [1] * 2


@pytest.mark.parametrize("limit", [1, 2, 3, 10])
@pytest.mark.parametrize("second", [0, 1, 30, 59.9])
def test_an_attempt_after_retry_after_is_allowed(clock: Clock, limit: int, second: float) -> None:
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
def test_the_limit_holds_for_any_pace(gaps: list[float], limit: int) -> None:
    """Like a bucket that is filled evenly: the limit at once, and the limit per minute afterwards."""
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


def test_other_spellings_are_the_same_account(clock: Clock) -> None:
    throttle = Throttle(2, clock=clock)
    spellings = ["ann", "ANN", "aNn", " ann", "ann ", "\uff41nn"]
    found = [refused(throttle, name, f"10.0.{n}.1") for n, name in enumerate(spellings)]
    assert found == [0, 0, 1, 1, 1, 1]


def test_many_addresses_do_not_make_it_forget_an_account(clock: Clock) -> None:
    throttle = Throttle(2, own=MemoryCounts(sets=64, clock=clock), clock=clock)
    found = [refused(throttle, "ann", f"10.0.{n}.1") for n in range(200)]
    assert found == [0, 0] + [1] * 198
    assert refused(throttle, "ann", "10.0.0.1")


def test_refused_attempts_do_not_make_it_forget_an_account(clock: Clock) -> None:
    """One address cannot replace counters by inventing names."""
    throttle = Throttle(2, own=MemoryCounts(sets=64, clock=clock), clock=clock)
    assert [refused(throttle, "ann", f"10.0.{n}.1") for n in range(3)] == [0, 0, 1]
    assert sum(refused(throttle, f"user {n}", "10.1.0.1") for n in range(2000)) == 2000 - 6
    assert refused(throttle, "ann", "10.2.0.1")


def test_the_limit_for_an_address_is_higher(clock: Clock) -> None:
    throttle = Throttle(3, clock=clock)
    assert [refused(throttle, f"user {n}") for n in range(10)] == [0] * 9 + [1]
    assert not refused(throttle, "another", "b")


def test_right_passwords_do_not_count(clock: Clock) -> None:
    throttle = Throttle(3, clock=clock)
    for _ in range(20):
        come_in(throttle, "ann")
    for n in range(2, 20):  # from other addresses
        come_in(throttle, "ann", f"10.0.{n}.1")


def test_a_user_is_not_locked_out_at_a_known_address(clock: Clock) -> None:
    throttle = Throttle(3, clock=clock)
    come_in(throttle, "ann", "home")
    assert [refused(throttle, "ann", f"bad {n}") for n in range(9)][-1]
    assert not refused(throttle, "ann", "home")
    # another user of that address cannot guess more often than elsewhere
    assert [refused(throttle, "ann", "home") for n in range(4)] == [0, 0, 1, 1]


def test_no_limit() -> None:
    throttle = Throttle(0)
    assert not any(refused(throttle, "ann") for _ in range(1000))


def at_once(throttle: Throttle, number: int, *, right: bool) -> list[bool]:
    """Run this many attempts at the same time; return for each whether it was refused."""

    def one(n: int) -> bool:
        try:
            with throttle.attempt("ann", f"10.0.{n}.1") as attempt:
                time.sleep(0.05)
                attempt.right = right
        except Failure:
            return True
        return False

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(one, range(number)))


def test_parallel_attempts_do_not_exceed_the_limit(clock: Clock) -> None:
    assert at_once(Throttle(5, clock=clock), 30, right=False).count(False) == 5


def test_right_passwords_at_once_do_not_refuse_each_other(clock: Clock) -> None:
    throttle = Throttle(2, clock=clock)
    assert at_once(throttle, 12, right=True) == [False] * 12
    assert not refused(throttle, "ann")


def test_attempts_without_a_result_are_not_awaited_forever(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.2)
    throttle = Throttle(1, clock=clock)
    with throttle.attempt("ann", "a"):
        assert refused(throttle, "ann")
    lost = Throttle(1, own=throttle._own, clock=clock)
    lost._start("bob", "a")  # as by a process that is killed meanwhile
    assert refused(throttle, "bob")
    clock.now += 20
    assert not refused(throttle, "bob")


def test_a_password_that_was_not_compared_does_not_count(clock: Clock) -> None:
    """While a directory or a database is down, retries must not lock out the user."""
    throttle = Throttle(2, clock=clock)
    for _ in range(9):
        with pytest.raises(Failure), throttle.attempt("ann", "a"):
            raise Failure(503, "no answer")
    for n in range(3):
        with pytest.raises(Failure) as found, throttle.attempt("ann", "a"):
            raise Failure(403, "disabled")
        assert found.value.status == (403 if n < 2 else 429)


@pytest.mark.parametrize("first", ["right", "wrong"])
def test_a_login_at_the_end_of_a_minute_gives_no_more_attempts(clock: Clock, first: str) -> None:
    """The result counts for the minute in which the attempt began."""
    throttle = Throttle(1, clock=clock)
    clock.now += module.WINDOW - 1
    for n in range(3):
        with throttle.attempt(f"mine {n}", "a") as attempt:
            clock.now += 2
            attempt.right = first == "right"
        clock.now -= 2
    clock.now += 2
    wrong = [refused(throttle, f"other {n}") for n in range(4)]
    assert wrong == ([0, 0, 0, 1] if first == "right" else [1] * 4)


def test_nodes_count_together_and_each_alone_without_redis(clock: Clock) -> None:
    counts = FakeCounts()
    one, other = (Throttle(2, counts, clock=clock) for _ in range(2))
    assert not refused(one, "ann")
    assert not refused(other, "ann")
    assert refused(one, "ann")
    assert not any("ann" in key for key in counts.totals)
    counts.away = True
    assert [refused(one, "ann") for _ in range(3)] == [0, 0, 1]
