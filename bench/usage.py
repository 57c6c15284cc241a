"""CPU seconds and memory of a server's processes, read from /proc."""

from __future__ import annotations

import os
import threading
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def tree(root: int) -> list[int]:
    """Return the ids of `root` and of all its running descendants."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := _stat(int(entry))):
            children.setdefault(int(fields[1]), []).append(int(entry))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def cpu(root: int) -> float:
    """Return the CPU seconds of `root` and its descendants since their start, with ended ones."""
    ticks = 0
    for pid in tree(root):
        if fields := _stat(pid):
            # utime, stime, and those of ended child processes
            ticks += sum(int(number) for number in fields[11:15])
    return ticks / _TICK


def memory(pids: list[int]) -> float:
    """Return the proportional set size of the processes together, in MB (10^6 bytes)."""
    total = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        for line in text.splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total * 1024 / 1e6


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on; empty if the process has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    # The command name before them, in parentheses, may contain spaces.
    return text.rpartition(")")[2].split()


class Peak:
    """Samples the memory of process trees while the `with` block runs; `mb` is the maximum."""

    def __init__(self, roots: list[int], every: float = 0.2) -> None:
        self.mb = 0.0
        self._pids = [pid for root in roots for pid in tree(root)]
        self._every = every
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._ended.wait(self._every):
            self.mb = max(self.mb, memory(self._pids))

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        # Memory that is still allocated after a short run counts too.
        self.mb = max(self.mb, memory(self._pids))
