"""What all processes of a server have in common: the modules, imported once, before the fork.

A process shares its pages with its master until one of the two writes to them, so a module that the
master has imported costs its memory and its time once. No application is built there: a process
does that by itself, from the configuration that holds when it begins.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import hashlib
import mmap
import os
from collections.abc import Callable
from typing import Any, ClassVar

from v1registry.lib.support import counts

_PAGE = 4096  # bytes
_M_ARENA_MAX = -8  # of malloc.h
_MALLOC_SETTINGS = ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES")


class StoreIds:
    """The id of the store that this server's processes serve, in memory that they share.

    So a process that begins while the disk is not mounted does not take the empty mount point for a
    new store. It lasts as long as the master, also over a reload.
    """

    #: made by the master before it forks; None in commands and under other servers
    of_server: ClassVar[StoreIds | None] = None

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, _PAGE)  # shared with all processes forked from now on

    def get(self, place: str) -> str | None:
        name = _place_name(place)
        for line in self._page[:].rstrip(b"\0").splitlines():
            found, _, store_id = line.partition(b" ")
            if found == name and store_id:
                return store_id.decode("ascii")
        return None

    def set(self, place: str, store_id: str) -> None:
        """Remember the last place alone: a reload may name another one."""
        line = b"%s %s\n" % (_place_name(place), store_id.encode("ascii"))
        self._page[: len(line)] = line


def hooks(load: Callable[[], None]) -> dict[str, Callable[[Any], None]]:
    """gunicorn's hooks that call `load`, which imports, before it forks: at the start and at a reload.

    Not sooner than the listeners are there: gevent's sockets would begin an event loop in the master.
    """

    def share(server: Any) -> None:
        StoreIds.of_server = StoreIds.of_server or StoreIds()
        _keep_one_heap()
        patch_master()
        counts.of_node()
        try:
            load()
        except Exception:
            server.log.exception("Modules are not shared: importing one failed")
        import v1registry.server.chores  # noqa: F401 - a process imports it when it begins

        # What is there now stays: looking it over for garbage would copy all of its pages.
        gc.collect()
        gc.freeze()

    return {"when_ready": share, "on_reload": share}


def patch_master() -> None:
    """Let gevent replace what waits, before modules take hold of it.

    But for forks and signals, by which the master minds its processes: there they stay Python's.
    """
    from gevent import monkey

    if not monkey.is_module_patched("socket"):
        monkey.patch_all(os=False, signal=False)


def patch_process() -> None:
    """The rest of it, in a process of its own; all of it, if there was no such master."""
    from gevent import monkey

    if monkey.is_module_patched("socket"):
        monkey.patch_os()
        monkey.patch_signal()
    else:
        monkey.patch_all()


def _keep_one_heap() -> None:
    """Have glibc's malloc serve all threads from one heap, unless the environment says otherwise.

    Python runs one thread at a time, and heaps of their own are never given back.
    """
    if any(name in os.environ for name in _MALLOC_SETTINGS):
        return
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def _place_name(place: str) -> bytes:
    return hashlib.sha256(place.encode()).hexdigest().encode("ascii")
