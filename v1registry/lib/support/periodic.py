"""Work that a serving process does from time to time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PeriodicTask:
    """`run` every `interval` seconds, first after `delay` at most, and with `at_end` once more
    before the process ends.

    What it returns is logged, if anything; so is what it raises.
    """

    name: str
    interval: float
    run: Callable[[], str | None]
    delay: float = 60.0
    at_end: bool = False
