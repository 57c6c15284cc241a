"""What all processes of a server have in common: the modules, imported once, before the fork.

A process shares its pages with its master until one of the two writes to them, so a module that the
master has imported costs its memory and its time once. No application is built there: a process
does that by itself, from the configuration that holds when it begins.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
from collections.abc import Callable
from typing import Any

_M_ARENA_MAX = -8  # of malloc.h
_MALLOC_SETTINGS = ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES")


def hooks(load: Callable[[], None]) -> dict[str, Callable[[Any], None]]:
    """gunicorn's hooks that call `load`, which imports, before it forks: at the start and at a reload.

    Not sooner than the listeners are there: gevent's sockets would begin an event loop in the master.
    """

    def share(server: Any) -> None:
        _keep_one_heap()
        patch_master()
        try:
            load()
        except Exception:
            server.log.exception("Modules are not shared: importing one failed")
        import v1registry.edge.chores  # noqa: F401 - a process imports it when it begins

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
