"""A switch for a helper that may fail: off after a failure, tried again after a pause."""

from __future__ import annotations

import time
from collections.abc import Callable


class Breaker:
    """Says who may call a helper that we can do without.

    After one failure nobody may for `pause` seconds; then one caller may, as a
    probe, and its result decides for all. Results of calls that began before
    the switch went off do not turn it on again: they would make it flap.
    """

    def __init__(self, pause: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._pause = pause
        self._clock = clock
        self._period = 0  # counts how often the switch went off; a call belongs to one
        self._next_probe: float | None = None  # None while it is on

    def admit(self) -> int | None:
        """A ticket to hand in with the result, or None: do without."""
        if self._next_probe is not None:
            now = self._clock()
            if now < self._next_probe:
                return None
            self._next_probe = now + self._pause  # the others wait for this one
        return self._period

    def succeeded(self, ticket: int) -> bool:
        """Tell of a success; return whether it turned the switch on."""
        if self._next_probe is None or ticket != self._period:
            return False
        self._next_probe = None
        return True

    def failed(self, ticket: int) -> bool:
        """Tell of a failure; return whether it turned the switch off."""
        if ticket != self._period:
            return False
        was_on = self._next_probe is None
        self._next_probe = self._clock() + self._pause
        if was_on:
            self._period += 1
        return was_on
