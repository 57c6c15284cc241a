"""Small file systems for tests, and other things that need root. Guard such tests with `tests.needs`."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from tests.needs import tool

T = TypeVar("T")

_PR_CAPBSET_DROP = 24
_DAC_OVERRIDE, _DAC_READ_SEARCH = 1, 2


def run(*command: str | Path) -> None:
    """Run a system command. An error contains its output."""
    done = subprocess.run(
        [tool(str(command[0])), *map(str, command[1:])], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


@contextlib.contextmanager
def tmpfs(folder: Path, options: str) -> Iterator[Path]:
    """Mount a tmpfs on `folder`, with options such as `size=1m,nr_inodes=50`."""
    folder.mkdir(parents=True, exist_ok=True)
    run("mount", "-t", "tmpfs", "-o", options, "none", folder)
    try:
        yield folder
    finally:
        unmount(folder)


def unmount(folder: Path) -> None:
    """Unmount a folder; retry while killed processes still close their files."""
    for attempt in range(100):
        try:
            run("umount", folder)
            return
        except AssertionError:
            if attempt == 99:
                raise
            time.sleep(0.1)


class Disk:
    """An XFS in a file, which can simulate a power loss."""

    def __init__(self, folder: Path) -> None:
        self._image = folder / "disk"
        self.mount_point = folder / "mounted"
        self.mount_point.mkdir()
        self._mounted = False
        with self._image.open("wb") as file:
            file.truncate(512 * 1024 * 1024)  # sparse; mkfs.xfs refuses less than 300 MiB
        run("mkfs.xfs", "-q", self._image)

    def mount(self) -> None:
        run("mount", "-o", "loop", self._image, self.mount_point)
        self._mounted = True

    def lose_power(self) -> None:
        """Lose the power: no data and no log reaches the disk any more, and all access fails."""
        run("xfs_io", "-x", "-c", "shutdown", self.mount_point)

    def unmount(self) -> None:
        if self._mounted:
            unmount(self.mount_point)
            self._mounted = False


def obeying_modes(act: Callable[[], T]) -> T:
    """Call `act`. File modes also apply to its child processes that run as root."""
    values: list[T] = []
    errors: list[BaseException] = []

    def in_thread() -> None:
        try:
            if os.geteuid() == 0:
                # Each thread has its own capabilities. Child processes inherit them, other threads do not.
                libc = ctypes.CDLL(None, use_errno=True)
                for capability in (_DAC_OVERRIDE, _DAC_READ_SEARCH):
                    if libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0):
                        raise OSError(ctypes.get_errno(), "prctl")
            values.append(act())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return values[0]
