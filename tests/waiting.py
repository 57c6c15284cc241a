"""Waiting for a condition, instead of sleeping for a time that a busy machine exceeds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(
    condition: Callable[[], T], seconds: float = 60, explain: Callable[[], object] | None = None
) -> T:
    """Poll until `condition()` is true, and return its value; AssertionError after `seconds`.

    `explain()` is the text of that error, such as a server's log.
    """
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, explain() if explain else f"not within {seconds} s"
        time.sleep(0.01)
    return value
