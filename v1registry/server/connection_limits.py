"""The share of a process's connections that one client address may hold.

Slow clients need no bandwidth: without a limit, one address that opens connections and sends nearly
nothing takes all of them, and no other client is served.
"""

from __future__ import annotations

import ipaddress
import json
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from v1registry.lib.errors import TOO_MANY_CONNECTIONS
from v1registry.server.connection import BUSY, IDLE, Connection

_RETRY_AFTER = "5"  # seconds
_SILENCE = 60.0  # seconds between two lines about it in the log


class ConnectionLimits:
    """Counts the connections of each client address, at most `most` each.

    A new connection over the limit takes the place of one of the same address that waits for its
    client: so a client behind the same address is still served. It is refused if all are busy.
    """

    def __init__(self, most: int, log: Any) -> None:
        self._most = most
        self._log = log
        self._held: dict[str, dict[Connection, None]] = {}  # in the order in which they came
        self._next_line = 0.0

    def enter(self, connection: Connection, address: str) -> bool:
        """Count `connection` for `address` from now on; False if it must be refused."""
        if connection.address == address:
            return True
        self.leave(connection)
        client = _network(address)
        held = self._held.setdefault(client, {})
        if len(held) >= self._most and not self._make_room(client, held):
            return False
        self._held.setdefault(client, held)[connection] = None
        connection.address = address
        return True

    def leave(self, connection: Connection) -> None:
        """Count `connection` for no address."""
        if connection.address is None:
            return
        client = _network(connection.address)
        connection.address = None
        held = self._held[client]
        del held[connection]
        if not held:
            del self._held[client]

    def _make_room(self, client: str, held: dict[Connection, None]) -> bool:
        waiting = [one for one in held if one.state != BUSY]
        idle = [one for one in waiting if one.state == IDLE]
        if time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + _SILENCE
            self._log.warning(
                "%s holds %d connections of this process, as many as one address may"
                " (GUNICORN_ADDRESS_CONNECTIONS): %s",
                client,
                len(held),
                "new ones replace those that wait for their client"
                if waiting
                else "all are busy, new ones are answered with 429",
            )
        for one in (idle or waiting)[:1]:
            self.leave(one)
            one.end_input()
        return bool(waiting)


@lru_cache(maxsize=4096)
def _network(address: str) -> str:
    """An IPv4 address as it is; of an IPv6 address the /64, which one client has to itself."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return address
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((int(found) >> 64 << 64, 64)))


# The refusal, to a connection without a request and to a request

_STATUS = f"{TOO_MANY_CONNECTIONS[0]} Too Many Requests"
_BODY = json.dumps({"error": TOO_MANY_CONNECTIONS[1]}).encode()
_HEADERS = [
    ("Content-Type", "application/json"),
    ("Content-Length", str(len(_BODY))),
    ("Retry-After", _RETRY_AFTER),
    ("Connection", "close"),
]


def refuse(sock: Any) -> None:
    """Answer a plain connection without reading a request; never waits."""
    head = "".join(f"{name}: {value}\r\n" for name, value in _HEADERS)
    try:
        sock._sock.send(f"HTTP/1.1 {_STATUS}\r\n{head}\r\n".encode() + _BODY)
        sock._sock.recv(65536)  # unread bytes would make the close a reset, and lose the answer
    except OSError:
        pass


def refusing(_environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """The WSGI application that answers a request over the limit."""
    start_response(_STATUS, _HEADERS)
    return [_BODY]
