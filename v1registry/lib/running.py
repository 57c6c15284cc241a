"""Running long computations without blocking other clients."""

from __future__ import annotations

import contextlib
import gc
import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

#: Calls a function with arguments and returns its result.
Run = Callable[..., Any]

#: Calls a function, and raises TimeoutError if it takes longer than a number of seconds.
Within = Callable[[float, Callable[[], Any]], Any]

T = TypeVar("T")
R = TypeVar("R")

_SORTED_AT_ONCE = 10_000
_SMALL = 64 * 1024  # bytes that are parsed or written in a few milliseconds


def in_place(function: Callable[..., Any], *args: Any) -> Any:
    """Call the function in this thread, for commands and tests, which serve no clients."""
    return function(*args)


def for_size(run: Run, size: int) -> Run:
    """Return `run` for large data, `in_place` for data so small that another thread costs more."""
    return run if size > _SMALL else in_place


@contextlib.contextmanager
def collector_off() -> Iterator[None]:
    """Switch Python's garbage collector off while hundreds of thousands of values are created.

    The collector would stop all threads to check these values again and again, without any result. If
    uses overlap in several threads, it may be switched on early, which does no harm.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def sorted_in_steps(values: Sequence[T], key: Callable[[T], Any] | None = None) -> list[T]:
    """Sort very many values in steps, so that other threads can run in between."""
    steps = [
        sorted(values[at : at + _SORTED_AT_ONCE], key=key)  # type: ignore[type-var,arg-type]
        for at in range(0, len(values), _SORTED_AT_ONCE)
    ]
    return list(heapq.merge(*steps, key=key))  # type: ignore[arg-type]


def in_pool(
    pool: ThreadPoolExecutor, work: Callable[[T], R], items: Iterable[T], most: int
) -> Iterator[tuple[T, R]]:
    """Yield each item with the result of `work`, in the order of completion.

    At most `most` items are submitted at a time, so that few are in memory. Raise what `work` raises.
    """
    running: dict[Future[R], T] = {}

    def finished() -> Iterator[tuple[T, R]]:
        for done in wait(running, return_when=FIRST_COMPLETED).done:
            yield running.pop(done), done.result()

    try:
        for item in items:
            running[pool.submit(work, item)] = item
            if len(running) >= most:
                yield from finished()
        while running:
            yield from finished()
    finally:
        for left in running:
            left.cancel()
