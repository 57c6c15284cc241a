"""Counters in memory that processes share."""

from __future__ import annotations

import os
import signal
import time

from hypothesis import given
from hypothesis import strategies as st

from v1registry.lib.support import counts as module
from v1registry.lib.support.counts import MemoryCounts


class Clock:
    def __init__(self) -> None:
        self.now = 6000.0

    def __call__(self) -> float:
        return self.now


def total(counts: MemoryCounts, key: str) -> int:
    return counts.add({key: 0}, 60)[key]


@given(
    changes=st.lists(
        st.dictionaries(st.sampled_from("abcdef"), st.integers(-3, 3), max_size=6), max_size=30
    )
)
def test_totals(changes: list[dict[str, int]]) -> None:
    counts = MemoryCounts(sets=64)
    expected: dict[str, int] = {}
    for change in changes:
        for key, by in change.items():
            expected[key] = max(0, expected.get(key, 0) + by)
        assert counts.add(change, 60) == {key: expected[key] for key in change}


def test_a_counter_expires() -> None:
    clock = Clock()
    counts = MemoryCounts(clock=clock)
    assert counts.add({"a": 2, "b": 1}, 60) == {"a": 2, "b": 1}
    clock.now += 59
    counts.add({"a": 1, "b": 0}, 60)  # reading "b" does not prolong its life
    clock.now += 1
    assert counts.add({"a": 0, "b": 0}, 60) == {"a": 3, "b": 0}
    clock.now += 60
    assert counts.add({"a": 1}, 60) == {"a": 1}


def test_memory_is_bounded_and_the_oldest_counters_are_lost_first() -> None:
    clock = Clock()
    counts = MemoryCounts(sets=1, clock=clock)
    size = len(counts._memory)
    for number in range(100):
        counts.add({str(number): 1}, 60)
        clock.now += 0.5
    kept = [number for number in range(100) if total(counts, str(number))]
    assert kept == list(range(96, 100))
    assert len(counts._memory) == size


def test_short_lives_never_replace_long_ones() -> None:
    counts = MemoryCounts(sets=2)
    counts.add({"known": 1}, 30 * 24 * 3600)
    for number in range(1000):
        counts.add({f"guess {number}": 1}, 120)
    assert total(counts, "known") == 1
    for number in range(1000):
        counts.add({f"known {number}": 1}, 30 * 24 * 3600)
    assert total(counts, "guess 999") == 1


def test_a_client_cannot_know_which_keys_share_a_set() -> None:
    """In two tables of equal size, the same keys replace different counters."""
    lost = []
    for _ in range(2):
        counts = MemoryCounts(sets=64)
        kept = [f"kept {number}" for number in range(200)]
        for key in [*kept, *(f"flood {number}" for number in range(40))]:
            counts.add({key: 1}, 60)
        lost.append([key for key in kept if not total(counts, key)])
    assert lost[0] != lost[1]


def forked(work: object) -> int:
    """The process in which `work` runs."""
    pid = os.fork()
    if pid == 0:
        try:
            work()  # type: ignore[operator]
        finally:
            os._exit(0)
    return pid


def test_processes_count_together() -> None:
    counts = MemoryCounts()

    def work() -> None:
        for number in range(2000):
            counts.add({"all": 1, f"own {number}": 1}, 60)

    for pid in [forked(work) for _ in range(4)]:
        assert os.waitpid(pid, 0)[1] == 0
    assert total(counts, "all") == 8000


def test_a_killed_process_blocks_no_other() -> None:
    counts = MemoryCounts()

    def work() -> None:
        while True:
            counts.add({"a": 1}, 60)

    for _ in range(20):
        pid = forked(work)
        time.sleep(0.01)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        counts.add({"b": 1}, 60)
    assert total(counts, "b") == 20


def test_one_table_for_a_process_and_its_children() -> None:
    module.of_node().add({"forked": 5}, 60)
    pid = forked(lambda: module.of_node().add({"forked": 1}, 60))
    os.waitpid(pid, 0)
    assert total(module.of_node(), "forked") == 6
