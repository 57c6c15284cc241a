"""How far a transfer is: a bar on a terminal, plain lines from time to time elsewhere."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Any, TextIO

from v1registry.lib.units import duration, human
from v1registry.transfer.progress import NoProgress, TransferProgress

_EVERY = 10.0  # seconds between plain lines
_WIDTH = 80  # of a terminal that does not tell its own


class _Counts:
    """What both kinds count."""

    def __init__(self, images: int) -> None:
        self.images, self.all_images = 0, images
        self.layers = 0
        self.done = self.total = 0
        self.lock = threading.Lock()

    def postfix(self) -> str:
        return f"layers {self.layers}, images {self.images}/{self.all_images}"


class Bar:
    """One line with bytes, speed and the time left; what is finished scrolls by above it."""

    def __init__(self, images: int, out: TextIO) -> None:
        from tqdm import tqdm  # for terminals only

        self._counts = _Counts(images)
        self._write = tqdm.write
        self._out = out
        known = os.get_terminal_size(out.fileno()).columns > 0  # a serial line has no width
        width: dict[str, Any] = {"dynamic_ncols": True} if known else {"ncols": _WIDTH}
        self._bar: Any = tqdm(total=0, file=out, unit="B", unit_scale=True, **width)
        self._bar.set_postfix_str(self._counts.postfix())

    def expect(self, count: int) -> None:
        with self._counts.lock:
            self._bar.total += count
            self._bar.refresh()

    def bytes(self, count: int) -> None:
        with self._counts.lock:
            self._bar.update(count)

    def layer(self) -> None:
        with self._counts.lock:
            self._counts.layers += 1
            self._bar.set_postfix_str(self._counts.postfix())

    def image(self, text: str) -> None:
        with self._counts.lock:
            self._counts.images += 1
            self._write(text, file=self._out)
            self._bar.set_postfix_str(self._counts.postfix())

    def note(self, text: str) -> None:
        with self._counts.lock:
            self._write(text, file=self._out)

    def close(self) -> None:
        self._bar.close()


class Lines:
    """A line for each image, and now and then one that says how far it is."""

    def __init__(self, images: int, out: TextIO) -> None:
        self._counts = _Counts(images)
        self._out = out
        self._begun = self._told = time.monotonic()

    def expect(self, count: int) -> None:
        with self._counts.lock:
            self._counts.total += count

    def bytes(self, count: int) -> None:
        with self._counts.lock:
            self._counts.done += count
            if time.monotonic() - self._told > _EVERY:
                self._told = time.monotonic()
                self._tell()

    def layer(self) -> None:
        with self._counts.lock:
            self._counts.layers += 1

    def image(self, text: str) -> None:
        with self._counts.lock:
            self._counts.images += 1
            number = f"[{self._counts.images}/{self._counts.all_images}]"
            print(f"{number} {text}", file=self._out, flush=True)

    def note(self, text: str) -> None:
        with self._counts.lock:
            print(text, file=self._out, flush=True)

    def close(self) -> None:
        self._out.flush()

    def _tell(self) -> None:
        counts = self._counts
        seconds = self._told - self._begun
        speed = counts.done / seconds if seconds else 0.0
        left = f", {duration((counts.total - counts.done) / speed)} left" if speed else ""
        print(
            f"{human(counts.done)} of {human(counts.total)}, {human(int(speed))}/s,"
            f" {counts.postfix()}{left}",
            file=self._out,
            flush=True,
        )


def start(images: int, *, quiet: bool = False, out: TextIO | None = None) -> TransferProgress:
    """The kind that fits where `out` (standard error) leads to."""
    out = out or sys.stderr
    if quiet:
        return NoProgress()
    return Bar(images, out) if out.isatty() else Lines(images, out)
