"""Connections of the worker: accepting them, waiting for requests, and closing them."""

from __future__ import annotations

import errno
import socket as stdlib
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gevent
from gevent import socket as gsocket
from gevent.pool import Pool
from gevent.server import StreamServer
from gunicorn import util  # type: ignore[import-untyped]

from v1registry.server.sockets import ClientSocket, peek

TLS_HANDSHAKE = b"\x16"

LINGER_SECONDS = 30.0
"""Seconds for which a client that was answered early may still send before the connection is cut."""
LINGER_IDLE = 5.0
LINGER_BYTES = 16 * 1024**3

FRESH_GRACE = 2.0
"""Seconds after a stop in which a new connection may still send its first request."""

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
"""Errors of send and receive calls on a broken connection."""

NEW, IDLE, HEAD, BODY, ENDING, BUSY = "new", "idle", "head", "body", "ending", "busy"
"""States of a connection. BUSY means that a layer is transferred, an answer is sent, or a handler runs.
In every other state the connection waits for its client: for a first byte (NEW), for a next request
(IDLE), for the rest of a head (HEAD) or of a small body (BODY), or until the client stops sending
after its answer (ENDING)."""


class Stopped(BaseException):
    """Thrown into a greenlet that waits for a request, when the worker stops."""


class Connection:
    """One client's connection: its socket, the greenlet that serves it, and its state."""

    __slots__ = ("address", "greenlet", "linger", "sock", "state")

    def __init__(self, sock: Any) -> None:
        self.sock = sock
        self.greenlet = gevent.getcurrent()
        self.state = NEW
        self.linger = False
        """Whether the client may still be sending when the connection is closed."""
        self.address: str | None = None
        """The client address for which ConnectionLimits counts the connection."""

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Mark the connection as waiting for a small body: a new one of its client may replace it."""
        self.state = BODY
        try:
            yield
        finally:
            self.state = BUSY

    def wait(self, seconds: float) -> bytes | None:
        """Wait until the client has sent something or closed the connection. The state is then HEAD.

        Return the next byte, b"" at the end, or None if it arrived only now.

        :raises TimeoutError: nothing arrived within `seconds`; Stopped, which is thrown only here.
        """
        first = peek(self.sock)
        if first is None:
            gsocket.wait(self.sock._read_event, seconds, TimeoutError("idle"))
        self.state = HEAD
        return first

    def start_tls(self, context: ssl.SSLContext, seconds: float) -> None:
        """Do the TLS handshake as its server.

        :raises ssl.SSLError: it failed; TimeoutError: it took longer than `seconds`.
        """
        self.sock = context.wrap_socket(self.sock, server_side=True, do_handshake_on_connect=False)
        with gevent.Timeout(seconds, TimeoutError("handshake")):
            self.sock.do_handshake()

    def stop_waiting(self, states: tuple[str, ...]) -> None:
        """End the greenlet if it waits in one of `states`, and its client has sent nothing.

        Called by the hub. In the states NEW and IDLE the greenlet is inside `wait`.
        """
        if self.state in states and peek(self.sock) is None:
            self.greenlet.throw(Stopped)

    def close(self) -> None:
        """Close the connection; before that, let the client read its answer if it may still be sending."""
        self.state = ENDING
        try:
            if self.linger:
                linger(self.sock)
        except OSError:
            pass
        finally:
            util.close(self.sock)

    def end_input(self) -> None:
        """End the wait for the client, as if the client had closed its side."""
        try:
            self.sock._sock.shutdown(stdlib.SHUT_RD)
        except OSError:
            pass


class Server(StreamServer):
    """Accepts connections as ClientSocket, and calls `handle(sock, address)` for each in `connections`."""

    def __init__(self, listener: Any, handle: Callable[..., None], connections: Pool) -> None:
        super().__init__(listener, handle=handle, spawn=connections)
        self.connections = connections

    def do_read(self) -> Any:
        """Accept one connection; return (socket, address), or None if none is waiting."""
        listener: Any = self.socket
        try:
            descriptor, address = listener._accept()
        except BlockingIOError:
            return None
        sock = ClientSocket(listener.family, listener.type, listener.proto, fileno=descriptor)
        return sock, address


def linger(sock: Any) -> None:
    """Receive and discard what the client still sends, so that it can read its answer.

    Docker engines send the whole body before they read the answer. A plain close would make the
    kernel reset the connection and drop the answer. Time and bytes are limited.
    """
    sock.shutdown(stdlib.SHUT_WR)
    end = time.monotonic() + LINGER_SECONDS
    sink = bytearray(256 * 1024)
    received = 0
    while received < LINGER_BYTES and (left := end - time.monotonic()) > 0:
        sock.settimeout(min(left, LINGER_IDLE))
        count = sock.recv_into(sink)
        if not count:
            return
        received += count
        gevent.sleep(0)


def accept_waiting(server: Server) -> None:
    """Accept the connections in the kernel's queue, which closing the listener would reset."""
    while not server.full():
        accepted = server.do_read()
        if accepted is None:
            return
        server.do_handle(*accepted)


def pending(sock: Any) -> bool:
    """Return whether a TLS connection holds decrypted bytes that are unread."""
    return isinstance(sock, ssl.SSLSocket) and sock.pending() > 0


def host(addr: Any) -> str:
    """Return the client's address for the error log."""
    return str(addr[0]) if isinstance(addr, tuple) else "local socket"
