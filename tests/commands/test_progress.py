"""The progress lines of commands that count things."""

from __future__ import annotations

import io

import pytest

from v1registry.commands import progress as module
from v1registry.commands.progress import CommandProgress
from v1registry.lib.units import duration, human


class Clock:
    """A fake clock that the test advances."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_plain_lines_every_ten_seconds(clock: Clock) -> None:
    out = io.StringIO()
    progress = CommandProgress(out)
    for second in range(31):
        clock.now = 100.0 + second
        progress("layers", second * 10, 400, second * 2_000_000)
    progress.end()
    lines = out.getvalue().splitlines()
    assert lines == [
        "100 of 400 layers, 20.0 MB, 2.0 MB/s, 30s left",
        "200 of 400 layers, 40.0 MB, 2.0 MB/s, 20s left",
        "300 of 400 layers, 60.0 MB, 2.0 MB/s, 10s left",
    ]


def test_a_line_on_a_terminal_is_overwritten(clock: Clock) -> None:
    out = Terminal()
    progress = CommandProgress(out)
    progress("tags", 1, None)
    clock.now += 0.1
    progress("tags", 2, None)
    assert out.getvalue() == ""
    clock.now += 0.2
    progress("tags", 3, None)
    clock.now += 0.1
    progress("tags", 4, None)
    assert out.getvalue() == "\r\033[K3 tags"
    progress.end()
    progress.end()
    assert out.getvalue() == "\r\033[K3 tags\r\033[K"


def test_the_speed_ignores_work_done_before_the_start(clock: Clock) -> None:
    out = io.StringIO()
    progress = CommandProgress(out)
    progress("layers", 1000, 2000)
    clock.now += 10
    progress("layers", 1100, 2000)
    assert out.getvalue() == "1,100 of 2,000 layers, 1m30s left\n"


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2_500_000, "2.5 MB"), (10**17, "100000.0 TB")],
)
def test_human(size: int, text: str) -> None:
    assert human(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0s"), (59, "59s"), (200, "3m20s"), (3900, "1h05m")]
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text
