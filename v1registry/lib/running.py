"""Where computing runs that would keep other clients waiting."""

from __future__ import annotations

import contextlib
import gc
import heapq
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

#: Calls a function with arguments, and returns what it returns.
Run = Callable[..., Any]

T = TypeVar("T")

_SORTED_AT_ONCE = 10_000
_SMALL = 64 * 1024  # bytes that are parsed or written in a moment


def in_place(function: Callable[..., Any], *args: Any) -> Any:
    """Call the function here and now: for commands and tests, which serve no clients."""
    return function(*args)


def for_size(run: Run, size: int) -> Run:
    """`run` for data of so many bytes, unless it is so small that handing it over costs more."""
    return run if size > _SMALL else in_place


@contextlib.contextmanager
def collector_off() -> Iterator[None]:
    """Keep Python's garbage collector off while hundreds of thousands of values are made.

    It stops all threads to look at them again and again, and finds nothing. Overlapping uses in
    several threads may switch it on early, which does no harm.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def sorted_in_steps(values: Sequence[T], key: Callable[[T], Any] | None = None) -> list[T]:
    """As `sorted`, for very many values, in steps between which other threads run."""
    steps = [
        sorted(values[at : at + _SORTED_AT_ONCE], key=key)  # type: ignore[type-var,arg-type]
        for at in range(0, len(values), _SORTED_AT_ONCE)
    ]
    return list(heapq.merge(*steps, key=key))  # type: ignore[arg-type]
