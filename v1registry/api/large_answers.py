"""The limit of large answers that wait in memory until their clients have read them.

A handler builds most answers in memory. A client that reads slowly keeps its answer there, so many
such clients could use up the memory. Files and layers are not counted: they are sent in pieces.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

from flask import Response, request
from werkzeug.wsgi import ClosingIterator

from v1registry.api import answers
from v1registry.lib import errors
from v1registry.lib.errors import Failure
from v1registry.lib.support.throttle import network
from v1registry.server.send import disconnect

SMALL = 64 * 1024  # bytes of an answer that is not counted
TOTAL = 64 * 1024 * 1024  # bytes that a process holds
SHARE = TOTAL // 2  # bytes for one client address; a larger answer counts as this many
PATIENCE = 30.0  # seconds after which another client may take the place of one that still reads

_RETRY_AFTER = "5"  # seconds


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    size: int
    address: str
    since: float
    environ: dict[str, Any]


class LargeAnswers:
    """Counts the large answers of this process that are being sent."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[_Held, None] = {}  # oldest first

    def admit(self, response: Response) -> Response:
        """Return `response`, or 503 if it is large and there is no memory for it.

        If the memory is used up, clients that have been reading for longer than PATIENCE are
        disconnected to make room.
        """
        size = _size(response)
        if size <= SMALL or request.method == "HEAD":
            return response
        address = network(request.environ.get("v1registry.client") or request.remote_addr or "")
        held = _Held(min(size, SHARE), address, time.monotonic(), request.environ)
        with self._lock:
            has_room = self._make_room(held)
            if has_room:
                self._held[held] = None
        if not has_room:
            response.close()
            return answers.failed(Failure(*errors.ANSWERS_BUSY, {"Retry-After": _RETRY_AFTER}))
        # Not `call_on_close`: werkzeug does not call it for a response with `direct_passthrough`.
        body: Any = response.response
        response.response = ClosingIterator(body, partial(self._release, held))
        return response

    def _make_room(self, new: _Held) -> bool:
        """Return whether `new` fits, after disconnecting slow clients if necessary."""
        own = [held for held in self._held if held.address == new.address]
        every = list(self._held)
        return self._fits(own, SHARE - new.size) and self._fits(every, TOTAL - new.size)

    def _fits(self, held: list[_Held], room: int) -> bool:
        """Return whether these answers take at most `room` bytes; disconnect the oldest until they do."""
        excess = sum(one.size for one in held if one in self._held) - room
        slow: list[_Held] = []
        for one in held:
            if excess <= 0 or time.monotonic() - one.since < PATIENCE:
                break
            if one in self._held:
                slow.append(one)
                excess -= one.size
        if excess > 0:
            return False
        for one in slow:
            del self._held[one]
            disconnect(one.environ)
        return True

    def _release(self, held: _Held) -> None:
        with self._lock:
            self._held.pop(held, None)


def _size(response: Response) -> int:
    """Return the bytes that an answer keeps in memory until it is sent."""
    if isinstance(response, answers.StreamedResponse):
        return response.held
    body = response.response
    return sum(map(len, body)) if isinstance(body, list) else 0
