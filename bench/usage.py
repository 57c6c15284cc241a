"""What a server's processes use: CPU seconds and memory, read from /proc."""

from __future__ import annotations

import os
import threading
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def tree(root: int) -> list[int]:
    """The process ids of `root` and of all that descend from it, alive now."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := _stat(int(entry))):
            children.setdefault(int(fields[1]), []).append(int(entry))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def cpu(root: int) -> float:
    """CPU seconds of `root` and its descendants since they began, ended ones included."""
    ticks = 0
    for pid in tree(root):
        if fields := _stat(pid):
            # utime, stime, and those of children that were waited for
            ticks += sum(int(number) for number in fields[11:15])
    return ticks / _TICK


def memory(pids: list[int]) -> float:
    """Proportional set size of these processes together, in MB (10^6 bytes)."""
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
    """The fields of /proc/PID/stat from the state on; empty if the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    # The command's name before them, in parentheses, may hold blanks.
    return text.rpartition(")")[2].split()


class Peak:
    """Samples the memory of process trees while the `with` block runs; `mb` is the highest."""

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
        # What a short run left allocated counts, too.
        self.mb = max(self.mb, memory(self._pids))
