"""Memory that a run may take at once, whatever machine it is on.

A virtual machine gives free memory back to its host within a second or two (free page reporting,
balloons), and gets each page again at its first touch, by a fault that the guest sees as CPU time
of whoever touched it: 1.1 s a GB where this was measured. A push fills the page cache with new
pages, so that would be a third of what is measured of it, and by chance more for one server than
for the other. On a machine of its own this takes half a second a run and changes nothing.
"""

from __future__ import annotations

import mmap
import os

_SPARE = 512 * 1024 * 1024  # for sockets, processes and what the file system keeps beside


def warm(new_bytes: int) -> None:
    """Touch and free as much memory as a run will use that makes `new_bytes` of page cache.

    No more than is free and leaves some: nobody shall be pushed out of memory for it.
    """
    free = os.sysconf("SC_AVPHYS_PAGES") * mmap.PAGESIZE
    size = min(new_bytes + new_bytes // 2 + _SPARE, free * 3 // 4)
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
    mmap.mmap(-1, size, flags=flags).close()
