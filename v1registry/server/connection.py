"""Connections as the worker sees them: accepting, waiting for requests, and ending gently."""

from __future__ import annotations

import errno
import socket as stdlib
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gevent
from gevent.pool import Pool
from gevent.server import StreamServer

from v1registry.server.sockets import EdgeSocket, peek

TLS_HANDSHAKE = b"\x16"

LINGER_SECONDS = 30.0
"""How long an early answered client may go on writing before the connection is cut."""
LINGER_IDLE = 5.0
LINGER_BYTES = 16 * 1024**3

FRESH_GRACE = 2.0
"""On stop, the seconds that a connection without a request yet has to send it."""

GONE = frozenset(
    (
        errno.EPIPE,
        errno.ECONNRESET,
        errno.ECONNABORTED,
        errno.ENOTCONN,
        errno.ETIMEDOUT,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.EBADF,
    )
)
"""What sends and receives report when the client or the way to it is gone."""

NEW, IDLE, HEAD, BODY, ENDING, BUSY = "new", "idle", "head", "body", "ending", "busy"
"""What a connection does. Except when busy (with a layer, its answer, or our own work), it waits for
its client: for a first byte, for a next request, for the rest of a head or of a small body, or until
the client stops writing after its answer."""


class Stopped(BaseException):
    """Thrown into a greenlet that waits for a request when the worker stops."""


class Connection:
    """One client's connection: its socket, the greenlet serving it, and what it is waiting for."""

    __slots__ = ("address", "greenlet", "linger", "sock", "state")

    def __init__(self, sock: Any) -> None:
        self.sock = sock
        self.greenlet = gevent.getcurrent()
        self.state = NEW
        self.linger = False
        """Whether the client may still be writing when we close."""
        self.address: str | None = None
        """The client address that for which it is counted; see ConnectionLimits."""

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """While the client sends a small body: the connection may be ended for a new one."""
        self.state = BODY
        try:
            yield
        finally:
            self.state = BUSY

    def end_input(self) -> None:
        """Let the wait for the client end now, as if the client had closed its side."""
        try:
            self.sock._sock.shutdown(stdlib.SHUT_RD)
        except OSError:
            pass


class Server(StreamServer):
    """Accepts connections as EdgeSocket and calls `handle(sock, address)` for each in `pool`."""

    def __init__(self, listener: Any, handle: Callable[..., None], connections: Pool) -> None:
        super().__init__(listener, handle=handle, spawn=connections)
        self.connections = connections

    def do_read(self) -> Any:
        """Accept one connection as (socket, address); None when none is waiting."""
        listener: Any = self.socket
        try:
            descriptor, address = listener._accept()
        except BlockingIOError:
            return None
        sock = EdgeSocket(listener.family, listener.type, listener.proto, fileno=descriptor)
        return sock, address


def linger(sock: Any) -> None:
    """Take what the client still writes, unread, so that it gets to read its answer.

    Engines write the whole body before they look at the answer; a plain close would make the
    kernel reset the connection and drop the answer with it. Bounded in time and bytes.
    """
    sock.shutdown(stdlib.SHUT_WR)
    ends = time.monotonic() + LINGER_SECONDS
    sink = bytearray(256 * 1024)
    taken = 0
    while taken < LINGER_BYTES and (left := ends - time.monotonic()) > 0:
        sock.settimeout(min(left, LINGER_IDLE))
        count = sock.recv_into(sink)
        if not count:
            return
        taken += count
        gevent.sleep(0)


def throw_if_waiting(connection: Connection, states: tuple[str, ...]) -> None:
    """End a connection that is in one of `states` and has sent nothing; called by the hub."""
    # While the state says so, the greenlet is inside `Worker._wait`.
    if connection.state in states and peek(connection.sock) is None:
        connection.greenlet.throw(Stopped)


def accept_waiting(server: Server) -> None:
    """Take what the kernel has accepted for us: closing the listener would reset it."""
    while not server.full():
        accepted = server.do_read()
        if accepted is None:
            return
        server.do_handle(*accepted)


def pending(sock: Any) -> bool:
    """Whether a TLS connection holds bytes that it has decrypted and nobody has read."""
    return isinstance(sock, ssl.SSLSocket) and sock.pending() > 0


def host(addr: Any) -> str:
    """The peer's address for the error log."""
    return str(addr[0]) if isinstance(addr, tuple) else "local socket"
