"""Blocking work off the worker's only thread.

fsync, decompression, TarSum, password hashes and walks of the store would hold up every other
connection of the worker; `run_in_thread` runs them in the hub's thread pool.
"""

from __future__ import annotations

import contextlib
import contextvars
import os
import sys
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

_NICE = 10  # of 19: a tenth of the time of others that want the processor too

P = ParamSpec("P")
T = TypeVar("T")


def run_in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `function` and return what it returns, or raise what it raises.

    In a greenlet of a gevent-patched process it runs in the hub's thread pool while other
    greenlets go on; anywhere else (command line, tests, a thread of the pool itself) it runs in
    place. The function must not use anything of gevent.
    """
    # Looked up, not imported: the command line has no use for gevent's memory and start-up time.
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None or not monkey.is_module_patched("threading"):
        return function(*args, **kwargs)
    hub = sys.modules["gevent._hub_local"].get_hub_if_exists()
    # Threads of the pool have no hub, and the hub itself must never wait.
    if hub is None or sys.modules["gevent"].getcurrent() is hub:
        return function(*args, **kwargs)
    # The pool would print every exception with its traceback, so it gets to see none.
    context = contextvars.copy_context()  # for example with the caller's token for the store
    value, error = hub.threadpool.apply(context.run, (_caught, function, args, kwargs))
    if error is not None:
        raise error
    result: T = value
    return result


class BackgroundThread:
    """Like `run_in_thread`, for work that nobody waits for: one thread of its own, that yields to all.

    Only for greenlets of a gevent-patched process.
    """

    def __init__(self) -> None:
        from gevent.threadpool import ThreadPool

        self._pool = ThreadPool(1)

    def __call__(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `function` and return what it returns, or raise what it raises."""
        answer: tuple[Any, BaseException | None] = self._pool.apply(
            _yielding, (function, args, kwargs)
        )
        if answer[1] is not None:
            raise answer[1]
        result: T = answer[0]
        return result


def _yielding(
    function: Callable[..., T], args: tuple[object, ...], kwargs: dict[str, object]
) -> tuple[T | None, BaseException | None]:
    # On Linux a thread has a niceness of its own, and this is its id.
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
    return _caught(function, args, kwargs)


def _caught(
    function: Callable[..., T], args: tuple[object, ...], kwargs: dict[str, object]
) -> tuple[T | None, BaseException | None]:
    try:
        return function(*args, **kwargs), None
    except BaseException as error:
        return None, error
