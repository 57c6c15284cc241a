"""The limit of connections per client address.

Without it, one client that opens many connections and sends almost nothing would use up all
connections of a worker, and no other client would be served.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from v1registry.lib.errors import TOO_MANY_CONNECTIONS
from v1registry.lib.support.throttle import network
from v1registry.server.connection import BUSY, IDLE, Connection

_RETRY_AFTER = "5"  # seconds
_LOG_INTERVAL = 60.0  # seconds between two warnings in the log


class ConnectionLimits:
    """Counts the connections of each client address: at most `limit` each.

    A new connection over the limit replaces one of the same address that waits for its client, so
    that other clients behind the same address are still served. If all are busy, it is refused.
    """

    def __init__(self, limit: int, log: Any) -> None:
        self._limit = limit
        self._log = log
        self._held: dict[str, dict[Connection, None]] = {}  # oldest first
        self._next_warning = 0.0

    def add(self, connection: Connection, address: str) -> bool:
        """Count `connection` for `address` from now on; return False if it must be refused."""
        if connection.address == address:
            return True
        self.remove(connection)
        client = network(address)
        held = self._held.setdefault(client, {})
        if len(held) >= self._limit and not self._replace_one(client, held):
            return False
        self._held.setdefault(client, held)[connection] = None
        connection.address = address
        return True

    def remove(self, connection: Connection) -> None:
        """Stop counting `connection`."""
        if connection.address is None:
            return
        client = network(connection.address)
        connection.address = None
        held = self._held[client]
        del held[connection]
        if not held:
            del self._held[client]

    def _replace_one(self, client: str, held: dict[Connection, None]) -> bool:
        waiting = [other for other in held if other.state != BUSY]
        idle = [other for other in waiting if other.state == IDLE]
        if time.monotonic() >= self._next_warning:
            self._next_warning = time.monotonic() + _LOG_INTERVAL
            self._log.warning(
                "%s holds %d connections of this worker, the limit for one address"
                " (GUNICORN_ADDRESS_CONNECTIONS): %s",
                client,
                len(held),
                "a new one replaces one that waits for its client"
                if waiting
                else "all are busy, a new one is answered with 429",
            )
        for replaced in (idle or waiting)[:1]:
            self.remove(replaced)
            replaced.end_input()
        return bool(waiting)


# The answer to a connection over the limit, with or without a request

_STATUS = f"{TOO_MANY_CONNECTIONS[0]} Too Many Requests"
_BODY = json.dumps({"error": TOO_MANY_CONNECTIONS[1]}).encode()
_HEADERS = [
    ("Content-Type", "application/json"),
    ("Content-Length", str(len(_BODY))),
    ("Retry-After", _RETRY_AFTER),
    ("Connection", "close"),
]


def refuse(sock: Any) -> None:
    """Answer a plain connection without reading its request. Never blocks."""
    head = "".join(f"{name}: {value}\r\n" for name, value in _HEADERS)
    try:
        sock._sock.send(f"HTTP/1.1 {_STATUS}\r\n{head}\r\n".encode() + _BODY)
        # With unread bytes, close would reset the connection and drop the answer.
        sock._sock.recv(65536)
    except OSError:
        pass


def refuse_request(_environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """WSGI application that refuses a request over the limit."""
    start_response(_STATUS, _HEADERS)
    return [_BODY]
