"""The scan queue: scans do not slow pushes down."""

from __future__ import annotations

from v1registry.lib.names import ImageId
from v1registry.lib.oci.scan_queue import ScanQueue

A, B, C = (ImageId(letter * 64) for letter in "abc")


class Time:
    """A fake of time: sleeping moves it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def line(time: Time, rest: float = 5, limit: int = 10) -> ScanQueue:
    return ScanQueue(rest, limit, clock=lambda: time.now, sleep=time.sleep)


def test_in_order_and_only_while_no_push_runs() -> None:
    time = Time()
    pushed = line(time)
    pushed.add(A)
    time.now += 2
    pushed.add(B)
    assert pushed.next() == A
    assert time.slept == [5]
    assert pushed.next() == B
    assert time.slept == [5]


def test_another_push_prolongs_the_wait() -> None:
    time = Time()
    pushed = line(time)

    def sleep(seconds: float) -> None:
        time.sleep(seconds / 2 if len(time.slept) < 2 else seconds)
        if len(time.slept) == 2:
            pushed.add(C)

    pushed._sleep = sleep
    pushed.add(A)
    assert pushed.next() == A
    assert time.now == 100 + 2.5 + 1.25 + 5


def test_a_full_queue_drops_images() -> None:
    pushed = line(Time(), rest=0, limit=2)
    for id in (A, B, C):
        pushed.add(id)
    assert [pushed.next(), pushed.next()] == [A, B]
