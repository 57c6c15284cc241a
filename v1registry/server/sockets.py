"""The sockets of the worker's connections. Every wait has a timeout, and none blocks other greenlets.

They change three things in gevent's sockets:

- gevent's `sendfile` reads and writes 8 KiB at a time, which costs several times the CPU of `os.sendfile`;
- gevent's `sendall` has one timeout for the whole call, which would cut a client that is slow but alive;
- gevent does not switch to another greenlet while a client sends or receives without a pause.
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
"""Bytes of one `os.sendfile` call, which blocks the event loop while a disk reads them."""

BURST = 2 * 1024 * 1024
"""Bytes that one connection may send or receive before other greenlets run."""


class _PatientSocket:
    """Extends the timeout of a send while the client still acknowledges bytes.

    The kernel reports a socket as writable when a third of its buffer is free. That can be more than
    a MiB, for which a client on a slow line needs longer than any sensible timeout.
    """

    __slots__ = ()

    _write_event: Any

    def _wait(self, watcher: Any, timeout_exc: Any = None) -> None:
        if watcher is not self._write_event:
            super()._wait(watcher, timeout_exc)  # type: ignore[misc]
            return
        queued = _unacknowledged(self)
        while True:
            try:
                super()._wait(watcher, timeout_exc)  # type: ignore[misc]
                return
            except TimeoutError:
                before, queued = queued, _unacknowledged(self)
                if queued >= before:
                    raise


def _unacknowledged(sock: Any) -> int:
    """Return the number of bytes in the kernel's send buffer that the client has not acknowledged."""
    count = bytearray(4)
    fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, count)
    return int.from_bytes(count, sys.byteorder)


class ClientSocket(_PatientSocket, gsocket.socket):
    """A plain TCP or Unix connection; `timeout` bounds every single wait, not a whole transfer.

    A longer wait raises TimeoutError.
    """

    __slots__ = ("_credit", "file_bytes")

    # Attributes of gevent's class that its type stubs omit.
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
        """Receive available bytes into `buffer`; return their number, 0 at the end, None if there are none.

        Does not let other greenlets run: see `must_yield`.

        :raises OSError: the connection is broken.
        """
        try:
            count: int = self._sock.recv_into(buffer)
        except BlockingIOError:
            return None
        self._credit -= count
        return count

    def wait_for_bytes(self) -> None:
        """Let other greenlets run until bytes have arrived.

        :raises TimeoutError: nothing arrived for `timeout` seconds.
        """
        self._wait(self._read_event)
        self._credit = BURST

    def has_ended(self) -> bool:
        """Return whether the client has closed the connection, and all its bytes have been read."""
        return peek(self) == b""

    def must_yield(self) -> bool:
        """Return whether this connection has moved more than BURST bytes since others last ran."""
        return self._credit < 0

    def yield_loop(self) -> None:
        """Let other greenlets run."""
        self._credit = BURST
        gevent.sleep(0)

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """Send `count` bytes of `file` from `offset` (None: to its end) with os.sendfile.

        Return the number of bytes sent, which is less than `count` only if the file ends early.
        The file's position is neither used nor moved.

        :raises TimeoutError: the client received nothing for `timeout` seconds; OSError: the
            connection is broken.
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
                self._wait(self._write_event)  # the kernel's buffer is full
                self._credit = BURST
            else:
                self._spend(done)
        return sent

    def cork(self, on: bool) -> None:
        """Set whether the kernel sends only full packets (TCP_CORK, nginx: tcp_nopush).

        Used for a head and its file: it saves one packet and a seventh of the CPU.
        """
        if self._sock.family != stdlib.AF_UNIX:
            self._sock.setsockopt(stdlib.IPPROTO_TCP, stdlib.TCP_CORK, on)

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send all of `data`; the timeout restarts with every byte sent."""
        try:
            # Headers and small answers nearly always fit into the kernel's buffer.
            done = self._sock.send(data, flags)
        except BlockingIOError:
            done = 0
        self._spend(done)
        view = memoryview(data).cast("B")
        while done < len(view):  # in steps: a fast client must not block other greenlets
            sent = self.send(view[done : done + BURST], flags)
            done += sent
            self._spend(sent)

    def _spend(self, count: int) -> None:
        self._credit -= count
        if self._credit < 0:
            self.yield_loop()


class ClientTLSSocket(_PatientSocket, gssl.SSLSocket):
    """A TLS connection; `timeout` bounds every single wait."""

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send all of `data`; the timeout restarts with every byte sent."""
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view):
            done += self.send(view[done : done + BURST], flags)
        if len(view) >= BURST:
            gevent.sleep(0)


def tls_context(cfg: Any, log: Any) -> ssl.SSLContext:
    """Return the TLS context for gunicorn's configuration `cfg`.

    Exit with WORKER_BOOT_ERROR if this process's user cannot load the certificate and key.
    """
    try:
        context: ssl.SSLContext = ssl_context(cfg)
    except OSError as error:  # SSLError is one
        files = f"{cfg.certfile}, {cfg.keyfile}"
        log.error("The certificate and key cannot be loaded: %s (%s)", error, files)
        sys.exit(Arbiter.WORKER_BOOT_ERROR)
    context.sslsocket_class = ClientTLSSocket
    return context


def peek(sock: Any) -> bytes | None:
    """Return the next unread byte of `sock` without reading it: b"" at the end, None if there is none."""
    try:
        first: bytes = sock._sock.recv(1, stdlib.MSG_PEEK)
        return first
    except BlockingIOError:
        return None
    except OSError:
        return b""


def abort(sock: Any) -> None:
    """Make the next close drop unsent bytes, so that a stalled client holds no memory of the kernel."""
    try:
        if _unacknowledged(sock):
            sock.setsockopt(stdlib.SOL_SOCKET, stdlib.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        pass
