"""A bound on the whole time of something that waits: look-up, connection and answer together."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def within(seconds: float, function: Callable[[], T]) -> T:
    """Call `function`; raise TimeoutError if it has not returned after so long.

    It is broken off wherever it waits in a greenlet of a gevent-patched process.
    Anywhere else nothing can break it off: it must bound its waits itself.
    """
    # Looked up, not imported: see offload.
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None or not monkey.is_module_patched("socket"):
        return function()
    hub = sys.modules["gevent._hub_local"].get_hub_if_exists()
    if hub is None or sys.modules["gevent"].getcurrent() is hub:
        return function()
    timeout_type = sys.modules["gevent"].Timeout
    # Not an Exception while it flies: libraries catch those and try the next address.
    timeout = timeout_type(seconds)
    try:
        with timeout:
            return function()
    except timeout_type as raised:
        if raised is not timeout:
            raise
        raise TimeoutError(f"no answer within {seconds:g} s") from None
