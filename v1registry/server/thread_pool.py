"""The thread pool for blocking work, which would stop the event loop of a worker.

fsync, decompression, TarSum, password hashes and walks of the store would block all connections of
the worker. `run_in_thread` runs them in the thread pool of gevent's hub.
"""

from __future__ import annotations

import contextlib
import contextvars
import os
import sys
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

_NICE = 10  # of 19: a tenth of the CPU time of a normal thread, while other threads are busy

P = ParamSpec("P")
T = TypeVar("T")


def run_in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `function` and return what it returns, or raise what it raises.

    In a greenlet of a gevent-patched process the call runs in the hub's thread pool, while other
    greenlets run. Anywhere else (commands, tests, a thread of the pool itself) it runs in the
    calling thread. The function must not use gevent.
    """
    hub = hub_of_greenlet()
    if hub is None:
        return function(*args, **kwargs)
    # Exceptions are returned as values, because the pool prints the traceback of every exception.
    context = contextvars.copy_context()  # for example with the caller's token for the store
    value, error = hub.threadpool.apply(context.run, (_as_value, function, args, kwargs))
    if error is not None:
        raise error
    result: T = value
    return result


def hub_of_greenlet() -> Any:
    """Return gevent's hub if it can run other greenlets while the caller waits, else None."""
    # Looked up, not imported: commands do not need gevent, which costs memory and start-up time.
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None or not monkey.is_module_patched("threading"):
        return None
    hub = sys.modules["gevent._hub_local"].get_hub_if_exists()
    # Threads of the pool have no hub, and the hub itself must never block.
    return None if hub is None or sys.modules["gevent"].getcurrent() is hub else hub


class BackgroundThread:
    """Like `run_in_thread`, for work without a waiting client: one thread with a low priority.

    Only for greenlets of a gevent-patched process.
    """

    def __init__(self) -> None:
        from gevent.threadpool import ThreadPool

        self._pool = ThreadPool(1)

    def __call__(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `function` and return what it returns, or raise what it raises."""
        answer: tuple[Any, BaseException | None] = self._pool.apply(
            _with_low_priority, (function, args, kwargs)
        )
        if answer[1] is not None:
            raise answer[1]
        result: T = answer[0]
        return result


def _with_low_priority(
    function: Callable[..., T], args: tuple[object, ...], kwargs: dict[str, object]
) -> tuple[T | None, BaseException | None]:
    # On Linux every thread has a niceness of its own.
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
    return _as_value(function, args, kwargs)


def _as_value(
    function: Callable[..., T], args: tuple[object, ...], kwargs: dict[str, object]
) -> tuple[T | None, BaseException | None]:
    try:
        return function(*args, **kwargs), None
    except BaseException as error:
        return None, error
