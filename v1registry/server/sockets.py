"""The sockets that the worker serves: fair to the others, and never waiting for ever.

gevent's own `sendfile` copies through 8 KiB reads (several times the CPU of `os.sendfile`),
its `sendall` holds one time-out over the whole call (a slow but living client would be cut), and a
peer that is faster than we are never lets it switch to another greenlet. These classes change
just that.
"""

from __future__ import annotations

import fcntl
import os
import socket as stdlib
import ssl
import struct
import sys
import termios
from typing import Any

import gevent
from gevent import socket as gsocket
from gevent import ssl as gssl
from gunicorn.arbiter import Arbiter  # type: ignore[import-untyped]
from gunicorn.sock import ssl_context  # type: ignore[import-untyped]

SEND_STEP = 2 * 1024 * 1024
"""Bytes asked from the kernel in one `os.sendfile`; also what a cold disk may hold us up for."""

BURST = 2 * 1024 * 1024
"""Bytes that one connection may move before the others get their turn."""


class _Patient:
    """Tells a slow client from a stalled one while waiting to send.

    The kernel calls a socket writable when a third of its buffer is free, which may be more than
    a MiB: a client on a thin line needs longer for that than any sensible time-out.
    """

    __slots__ = ()

    _write_event: Any

    def _wait(self, watcher: Any, timeout_exc: Any = None) -> None:
        if watcher is not self._write_event:
            super()._wait(watcher, timeout_exc)  # type: ignore[misc]
            return
        queued = _unsent(self)
        while True:
            try:
                super()._wait(watcher, timeout_exc)  # type: ignore[misc]
                return
            except TimeoutError:
                before, queued = queued, _unsent(self)
                if queued >= before:
                    raise


def _unsent(sock: Any) -> int:
    """Bytes in the kernel's send buffer that the peer has not acknowledged."""
    count = bytearray(4)
    fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, count)
    return int.from_bytes(count, sys.byteorder)


class EdgeSocket(_Patient, gsocket.socket):
    """A plain TCP or Unix connection; `timeout` bounds every single wait, not a whole transfer.

    A wait that lasts longer than `timeout` seconds raises TimeoutError.
    """

    __slots__ = ("_credit", "file_bytes")

    # gevent's own, which its stubs leave out.
    _sock: Any
    _read_event: Any
    _write_event: Any

    def __init__(
        self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None
    ) -> None:
        super().__init__(family, type, proto, fileno)
        self._credit = BURST
        self.file_bytes = 0
        """Bytes sent by `sendfile` so far, for the access log."""

    def receive_now(self, buffer: memoryview) -> int | None:
        """Receive what is there into `buffer`; the number of bytes, 0 at the end, None for nothing.

        Lets nobody else run: see `is_greedy`.

        :raises OSError: the client is gone.
        """
        try:
            count: int = self._sock.recv_into(buffer)
        except BlockingIOError:
            return None
        self._credit -= count
        return count

    def await_bytes(self) -> None:
        """Let others run until something has come.

        :raises TimeoutError: nothing came for `timeout` seconds.
        """
        self._wait(self._read_event)
        self._credit = BURST

    def has_ended(self) -> bool:
        """Whether the client has ended the connection, and nothing from it lies unread."""
        return peek(self) == b""

    def is_greedy(self) -> bool:
        """Whether this connection has moved so much that it is the others' turn."""
        return self._credit < 0

    def rest(self) -> None:
        """Let others run."""
        self._credit = BURST
        gevent.sleep(0)

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """Send `count` bytes of `file` from `offset` (to its end when None) by os.sendfile.

        Returns the bytes sent, fewer than `count` only where the file ends early.
        The file's position is neither used nor moved.

        :raises TimeoutError: the client took nothing for `timeout` seconds; OSError: it is gone.
        """
        source = file.fileno()
        sent = 0
        while count is None or sent < count:
            step = SEND_STEP if count is None else min(SEND_STEP, count - sent)
            try:
                done = os.sendfile(self._sock.fileno(), source, offset + sent, step)
            except BlockingIOError:
                self._wait(self._write_event)
                self._credit = BURST
                continue
            if done == 0:
                break
            sent += done
            self.file_bytes += done
            if done < step and sent != count:
                self._wait(self._write_event)  # full: asking again would only be told so
                self._credit = BURST
            else:
                self._spend(done)
        return sent

    def cork(self, on: bool) -> None:
        """Whether the kernel waits until a packet is full (nginx: tcp_nopush).

        Between head and end of a file: one packet less, and a seventh less CPU.
        """
        if self._sock.family != stdlib.AF_UNIX:
            self._sock.setsockopt(stdlib.IPPROTO_TCP, stdlib.TCP_CORK, on)

    def sendall(self, data: Any, flags: int = 0) -> None:
        """As socket.sendall, but the time-out starts anew with every byte that gets through."""
        try:
            # Headers and small answers nearly always fit the kernel's buffer at once.
            done = self._sock.send(data, flags)
        except BlockingIOError:
            done = 0
        self._spend(done)
        view = memoryview(data).cast("B")
        while done < len(view):  # a client that reads as fast must not keep the others waiting
            sent = self.send(view[done : done + BURST], flags)
            done += sent
            self._spend(sent)

    def _spend(self, count: int) -> None:
        self._credit -= count
        if self._credit < 0:
            self.rest()


class EdgeTLSSocket(_Patient, gssl.SSLSocket):
    """A TLS connection with the same time-out per wait."""

    def sendall(self, data: Any, flags: int = 0) -> None:
        """As ssl.SSLSocket.sendall, but the time-out starts anew with every byte sent."""
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view):
            done += self.send(view[done : done + BURST], flags)
        if len(view) >= BURST:
            gevent.sleep(0)


def tls_context(cfg: Any, log: Any) -> ssl.SSLContext:
    """The context of gunicorn's `cfg`, with the files as this process's user reads them.

    A worker that cannot load them ends as one that cannot start.
    """
    try:
        context: ssl.SSLContext = ssl_context(cfg)
    except OSError as error:  # SSLError is one
        files = f"{cfg.certfile}, {cfg.keyfile}"
        log.error("The certificate and key cannot be loaded: %s (%s)", error, files)
        sys.exit(Arbiter.WORKER_BOOT_ERROR)
    context.sslsocket_class = EdgeTLSSocket
    return context


def peek(sock: Any) -> bytes | None:
    """The first byte that lies unread in `sock`: empty at its end, None when nothing lies there."""
    try:
        first: bytes = sock._sock.recv(1, stdlib.MSG_PEEK)
        return first
    except BlockingIOError:
        return None
    except OSError:
        return b""


def abort(sock: Any) -> None:
    """Make the coming close drop what is unsent: a stalled client shall not hold memory on."""
    try:
        if _unsent(sock):
            sock.setsockopt(stdlib.SOL_SOCKET, stdlib.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        pass
