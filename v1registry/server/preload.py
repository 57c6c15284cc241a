"""Imports in the master, before it forks, so that all workers share the memory of the modules.

A worker shares a memory page with its master until one of the two writes to it. The master builds no
application: each worker builds its own, from the configuration at its start.
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
    """The id of the store that this server serves, in memory that its processes share.

    With it, a worker that starts while the disk is not mounted does not treat the empty mount point
    as a new store. It lasts until the master ends, and survives a reload.
    """

    #: Set by the master before it forks; None in commands and under other servers.
    of_server: ClassVar[StoreIds | None] = None

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, _PAGE)  # shared with all processes that are forked later

    def get(self, place: str) -> str | None:
        name = _place_name(place)
        for line in self._page[:].rstrip(b"\0").splitlines():
            found, _, store_id = line.partition(b" ")
            if found == name and store_id:
                return store_id.decode("ascii")
        return None

    def set(self, place: str, store_id: str) -> None:
        """Store the id for `place`, and forget any other place: a reload may name another one."""
        line = b"%s %s\n" % (_place_name(place), store_id.encode("ascii"))
        self._page[: len(line)] = line


def hooks(load: Callable[[], None], page: str | None = None) -> dict[str, Callable[[Any], None]]:
    """Return gunicorn's hooks that call `load`, which imports modules, at the start and at a reload.

    `page` is the URL of the pages, for the master's log at the start.
    They run after the listeners exist: gevent's sockets would start an event loop in the master.
    """

    def share(server: Any) -> None:
        StoreIds.of_server = StoreIds.of_server or StoreIds()
        _keep_one_heap()
        patch_master()
        counts.of_node()
        try:
            load()
        except Exception:
            server.log.exception("Workers do not share modules: importing one failed")
        import v1registry.server.periodic_tasks  # noqa: F401 - every worker imports it at its start

        # Exclude all present objects from garbage collection, which would copy their pages.
        gc.collect()
        gc.freeze()

    def ready(server: Any) -> None:
        if page is not None:
            server.page = page
        share(server)

    return {"when_ready": ready, "on_reload": share}


def patch_master() -> None:
    """Apply gevent's patches, before other modules import what they replace.

    Forks and signals are not patched, because the master controls its workers with them.
    """
    from gevent import monkey

    if not monkey.is_module_patched("socket"):
        monkey.patch_all(os=False, signal=False)


def patch_process() -> None:
    """Apply the remaining patches in a worker; all patches if the master has applied none."""
    from gevent import monkey

    if monkey.is_module_patched("socket"):
        monkey.patch_os()
        monkey.patch_signal()
    else:
        monkey.patch_all()


def _keep_one_heap() -> None:
    """Make glibc's malloc use one heap for all threads, unless the environment configures malloc.

    Python runs one thread at a time, and the memory of further heaps is never returned.
    """
    if any(name in os.environ for name in _MALLOC_SETTINGS):
        return
    with contextlib.suppress(OSError, AttributeError):  # the C library is not glibc
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def _place_name(place: str) -> bytes:
    return hashlib.sha256(place.encode()).hexdigest().encode("ascii")
