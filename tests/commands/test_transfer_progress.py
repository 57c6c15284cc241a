"""The progress of transfers: a bar on a real terminal, plain lines elsewhere."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from tests.backends.v2registry import V2Registry
from tests.live_server import ROOT
from tests.needs import require
from tests.transfer.made import MadeStore
from tests.transfer.slow import Slow
from v1registry.commands import progress


def on_a_terminal(command: list[str], env: dict[str, str], columns: int) -> tuple[int, str]:
    """Return the exit status, and the output of the command on a terminal as standard error."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 25, columns, 0, 0))
    process = subprocess.Popen(
        command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs
    )
    os.close(theirs)
    seen, end = b"", time.monotonic() + 60
    while time.monotonic() < end:
        if select.select([ours], [], [], 0.5)[0]:
            try:
                seen += os.read(ours, 65536)
            except OSError:
                break  # the last writer has closed it
    os.close(ours)
    process.communicate(timeout=30)
    return process.returncode, seen.decode()


@pytest.mark.parametrize(
    "columns", [120, 0]
)  # 0: a serial line or `docker run -t` reports no width
def test_a_bar_on_a_terminal(tmp_path: Path, columns: int) -> None:
    """The bar shows bytes, speed, layers, images and time left; finished images scroll above it."""
    require("v2-registry")
    made = MadeStore(tmp_path / "store")
    for number in range(3):
        made.tag("team/app", f"v{number}", made.image(None, 300_000))
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "SETTINGS_FLAVOR": "local"}
    env |= {"STORAGE_PATH": str(made.folder)}
    with V2Registry(tmp_path / "go") as target, Slow(target.port) as proxy:
        proxy.rate = 200_000
        command = [sys.executable, "-m", "v1registry", "migrate", "--to", proxy.url, "--no-journal"]
        status, text = on_a_terminal([*command, "--jobs", "1"], env, columns)
    assert status == 0, text
    looks = [line for line in re.split(r"[\r\n]", text) if "layers" in line]
    assert re.search(r"\d+%\|.*\| \d+k/\d+k \[\d\d:\d\d<\d\d:\d\d, +[\d.]+kB/s", "\n".join(looks))
    assert "layers 0, images 0/3" in looks[0]
    assert "layers 3, images 3/3" in looks[-1]
    for number in range(3):
        assert f"moved team/app:v{number}" in text
    assert "[1/3]" not in text  # only plain lines show this


class Clock:
    """A fake clock that the test advances."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


def test_plain_lines_every_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, out = Clock(), io.StringIO()
    monkeypatch.setattr(progress, "time", clock)
    lines = progress.transfer_progress(2, out=out)
    lines.expect(10_000_000)
    for _ in range(25):
        clock.now += 1.0
        lines.bytes(200_000)
    lines.layer()
    lines.note("PUT /v2/x: timed out; tried again")
    lines.image("moved team/app:1")
    lines.close()
    assert out.getvalue().splitlines() == [
        "2.2 MB of 10.0 MB, 200.0 kB/s, layers 0, images 0/2, 39s left",
        "4.4 MB of 10.0 MB, 200.0 kB/s, layers 0, images 0/2, 28s left",
        "PUT /v2/x: timed out; tried again",
        "[1/2] moved team/app:1",
    ]


def test_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    silent = progress.transfer_progress(1, quiet=True)
    silent.expect(1)
    silent.bytes(1)
    silent.layer()
    silent.note("x")
    silent.image("x")
    silent.close()
    assert capsys.readouterr() == ("", "")
