"""A timeout for a whole call: name look-up, connection and answer together."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

from v1registry.server.thread_pool import hub_of_greenlet

T = TypeVar("T")


def within(seconds: float, function: Callable[[], T]) -> T:
    """Call `function`; raise TimeoutError if it has not returned after `seconds`.

    The timeout works in greenlets of a gevent-patched process, where it ends any wait. Anywhere else
    `function` cannot be interrupted and must have timeouts of its own.
    """
    if hub_of_greenlet() is None:
        return function()
    timeout_type = sys.modules["gevent"].Timeout
    # gevent's Timeout is no Exception: libraries would catch one and try the next address.
    timeout = timeout_type(seconds)
    try:
        with timeout:
            return function()
    except timeout_type as raised:
        if raised is not timeout:
            raise
        raise TimeoutError(f"no answer within {seconds:g} s") from None
