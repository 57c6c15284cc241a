"""Progress of long commands on standard error: updated on a terminal, every 10 seconds elsewhere."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Any, TextIO

from v1registry.lib.units import duration, human
from v1registry.transfer.progress import TransferProgress

_TERMINAL_INTERVAL = 0.2  # seconds between two updates on a terminal
_LINE_INTERVAL = 10.0  # seconds between two lines elsewhere
_WARM_UP = 2.0  # seconds before the speed and the time left mean anything
_WIDTH = 80  # columns of a terminal that does not report its width


class CommandProgress:
    """Progress of a command that counts things. Not safe for threads."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._is_terminal = out.isatty()
        self._interval = _TERMINAL_INTERVAL if self._is_terminal else _LINE_INTERVAL
        self._what = ""
        self._start = 0.0
        self._next = 0.0
        self._first_done = 0
        self._first_size = 0

    def __call__(self, what: str, done: int, total: int | None, size: int = 0) -> None:
        """Show that `done` of `total` things called `what`, and `size` bytes, are finished.

        The method may be called often: it limits how often it writes.
        """
        now = time.monotonic()
        if what != self._what:
            self.end()
            self._what, self._start, self._next = what, now, now + self._interval
            self._first_done, self._first_size = done, size
        if now < self._next:
            return
        self._next = now + self._interval
        line = self._line(now - self._start, done, total, size)
        self._out.write(f"\r\033[K{line}" if self._is_terminal else f"{line}\n")
        self._out.flush()

    def end(self) -> None:
        """Clear the line on a terminal, for the output that follows."""
        if self._is_terminal and self._what:
            self._out.write("\r\033[K")
            self._out.flush()
        self._what = ""

    def _line(self, seconds: float, done: int, total: int | None, size: int) -> str:
        parts = [f"{done:,} of {total:,} {self._what}" if total else f"{done:,} {self._what}"]
        new_done, new_bytes = done - self._first_done, size - self._first_size
        if size:
            parts.append(human(size))
        if seconds > _WARM_UP and new_bytes:
            parts.append(f"{human(int(new_bytes / seconds))}/s")
        if seconds > _WARM_UP and total and new_done:
            parts.append(f"{duration((total - done) * seconds / new_done)} left")
        return ", ".join(parts)


class _TransferDisplay(TransferProgress):
    """The counts of a transfer. Safe for threads."""

    def __init__(self, images: int, out: TextIO) -> None:
        self._out = out
        self._lock = threading.Lock()
        self._images, self._all_images = 0, images
        self._layers = 0
        self._done = self._total = 0  # bytes

    def expect(self, count: int) -> None:
        with self._lock:
            self._total += count
            self._show(0)

    def bytes(self, count: int) -> None:
        with self._lock:
            self._done += count
            self._show(count)

    def layer(self) -> None:
        with self._lock:
            self._layers += 1
            self._show(0)

    def image(self, text: str) -> None:
        with self._lock:
            self._images += 1
            self._print(text, number=f"[{self._images}/{self._all_images}] ")
            self._show(0)

    def note(self, text: str) -> None:
        with self._lock:
            self._print(text)

    @property
    def _counts(self) -> str:
        return f"layers {self._layers}, images {self._images}/{self._all_images}"

    def _show(self, count: int) -> None:
        """Show the counts; `count` bytes were added since the last call."""
        raise NotImplementedError

    def _print(self, text: str, number: str = "") -> None:
        """Print a line; `number` says how many images are done."""
        raise NotImplementedError


class TransferBar(_TransferDisplay):
    """A bar on a terminal with bytes, speed and time left; finished images scroll above it."""

    def __init__(self, images: int, out: TextIO) -> None:
        from tqdm import tqdm  # for terminals only

        super().__init__(images, out)
        is_known = os.get_terminal_size(out.fileno()).columns > 0  # 0 on a serial line
        width: dict[str, Any] = {"dynamic_ncols": True} if is_known else {"ncols": _WIDTH}
        self._bar: Any = tqdm(total=0, file=out, unit="B", unit_scale=True, **width)
        self._bar.set_postfix_str(self._counts)

    def close(self) -> None:
        self._bar.close()

    def _show(self, count: int) -> None:
        self._bar.total = self._total
        self._bar.set_postfix_str(self._counts, refresh=not count)
        if count:
            self._bar.update(count)

    def _print(self, text: str, number: str = "") -> None:
        self._bar.write(text, file=self._out)


class TransferLines(_TransferDisplay):
    """A line for each image, and a line with the counts every 10 seconds."""

    def __init__(self, images: int, out: TextIO) -> None:
        super().__init__(images, out)
        self._start = self._shown = time.monotonic()

    def close(self) -> None:
        self._out.flush()

    def _show(self, count: int) -> None:
        now = time.monotonic()
        if not count or now - self._shown <= _LINE_INTERVAL:
            return
        self._shown = now
        speed = self._done / (now - self._start)
        left = f", {duration((self._total - self._done) / speed)} left" if speed else ""
        self._print(
            f"{human(self._done)} of {human(self._total)}, {human(int(speed))}/s,"
            f" {self._counts}{left}"
        )

    def _print(self, text: str, number: str = "") -> None:
        print(f"{number}{text}", file=self._out, flush=True)


def transfer_progress(
    images: int, *, quiet: bool = False, out: TextIO | None = None
) -> TransferProgress:
    """Return the display for a transfer of `images` tags that fits `out` (standard error)."""
    out = out or sys.stderr
    if quiet:
        return TransferProgress()
    return TransferBar(images, out) if out.isatty() else TransferLines(images, out)
