"""Periodic tasks of a serving process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PeriodicTask:
    """Runs `run` every `interval` seconds, first within `delay` seconds.

    With `at_end`, it runs once more before the process ends. Its result is logged unless it is None,
    and so is an exception.
    """

    name: str
    interval: float
    run: Callable[[], str | None]
    delay: float = 60.0
    at_end: bool = False
