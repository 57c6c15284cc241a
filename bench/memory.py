"""Makes free memory available before a run, also on a virtual machine.

A virtual machine returns free memory to its host within seconds (free page reporting, balloons). It
gets each page back at its first use. The guest counts that as CPU time of the process that uses it:
1.1 s per GB in a measurement. A push fills the page cache with new pages, so this would be a third of
its cost, and differ by chance between servers. On a physical machine this takes half a second per run.
"""

from __future__ import annotations

import mmap
import os

_SPARE = 512 * 1024 * 1024  # for sockets, processes and the file system


def warm(new_bytes: int) -> None:
    """Use and free as much memory as a run needs that adds `new_bytes` to the page cache.

    Use only a part of the free memory, so that no other process is affected.
    """
    free = os.sysconf("SC_AVPHYS_PAGES") * mmap.PAGESIZE
    size = min(new_bytes + new_bytes // 2 + _SPARE, free * 3 // 4)
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
    mmap.mmap(-1, size, flags=flags).close()
