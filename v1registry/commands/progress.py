"""How far a long command is: a line that moves on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from typing import TextIO

from v1registry.lib.units import duration, human

_OFTEN = 0.2  # seconds between two looks on a terminal
_SELDOM = 10.0  # and between two lines elsewhere
_WARM = 2.0  # seconds before speed and time left mean anything


class CommandProgress:
    """Call it with how far the work is; it writes as seldom as people want to read. Not for threads."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._moves = out.isatty()
        self._what = ""
        self._began = 0.0
        self._next = 0.0
        self._done = 0
        self._size = 0

    def __call__(self, what: str, done: int, total: int | None, size: int = 0) -> None:
        """`done` of `total` things called `what`, and `size` bytes in all so far."""
        now = time.monotonic()
        if what != self._what:
            self.end()
            self._what, self._began, self._next = what, now, now + _OFTEN
            self._done, self._size = done, size
        if now < self._next:
            return
        self._next = now + (_OFTEN if self._moves else _SELDOM)
        self._write(self._line(now - self._began, done, total, size))

    def end(self) -> None:
        """Leave the line on which we write."""
        if self._moves and self._what:
            self._out.write("\r\033[K")
            self._out.flush()
        self._what = ""

    def _line(self, seconds: float, done: int, total: int | None, size: int) -> str:
        parts = [f"{done:,} of {total:,} {self._what}" if total else f"{done:,} {self._what}"]
        moved, bytes_moved = done - self._done, size - self._size
        if size:
            parts.append(human(size))
        if seconds > _WARM and bytes_moved:
            parts.append(f"{human(int(bytes_moved / seconds))}/s")
        if seconds > _WARM and total and moved:
            parts.append(f"{duration((total - done) * seconds / moved)} left")
        return ", ".join(parts)

    def _write(self, line: str) -> None:
        self._out.write(f"\r\033[K{line}" if self._moves else f"{line}\n")
        self._out.flush()
