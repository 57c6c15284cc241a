"""Where computing runs that would keep other clients waiting."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from typing import Any

#: Calls a function with arguments, and returns what it returns.
Run = Callable[..., Any]

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
