"""A circuit breaker for an optional service: it opens after a failure and closes after a probe."""

from __future__ import annotations

import time
from collections.abc import Callable


class CircuitBreaker:
    """Decides whether a caller may call a service that the registry can do without.

    After a failure, no caller may for `pause` seconds. Then one caller may, as a probe, and its result
    decides for all. Results of calls that began before the breaker opened do not close it again:
    otherwise it would flap.
    """

    def __init__(self, pause: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._pause = pause
        self._clock = clock
        self._period = 0  # how often the breaker has opened; each call belongs to one period
        self._next_probe: float | None = None  # None while the breaker is closed

    def admit(self) -> int | None:
        """Return the period to report with the result, or None if the call is not allowed."""
        if self._next_probe is not None:
            now = self._clock()
            if now < self._next_probe:
                return None
            self._next_probe = now + self._pause  # other callers wait for the result of this one
        return self._period

    def succeeded(self, period: int) -> bool:
        """Report a success; return whether it closed the breaker."""
        if self._next_probe is None or period != self._period:
            return False
        self._next_probe = None
        return True

    def failed(self, period: int) -> bool:
        """Report a failure; return whether it opened the breaker."""
        if period != self._period:
            return False
        was_on = self._next_probe is None
        self._next_probe = self._clock() + self._pause
        if was_on:
            self._period += 1
        return was_on
