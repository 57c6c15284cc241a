"""The worker process: gunicorn's gevent worker, changed for a registry.

It differs from gunicorn's own gevent worker as follows:

- It closes TLS probes on a plain port at once. Otherwise a pull by a Docker engine takes 2 to 6 s more.
- Every wait has a timeout.
- It sends files with os.sendfile.
- A client that is answered before it has sent its whole request can still read the answer.
- On a stop it closes idle connections at once, instead of waiting for their keep-alive timeout.
"""

from __future__ import annotations

import itertools
import os
import signal
import ssl
import sys
import time
from datetime import datetime
from functools import partial
from typing import Any

import gevent
from gevent import socket as gsocket
from gevent.event import Event
from gevent.pool import Pool
from gunicorn import http  # type: ignore[import-untyped]
from gunicorn.workers.ggevent import GeventWorker  # type: ignore[import-untyped]

from v1registry.server.answer import DRAIN, Answer, unread
from v1registry.server.buffer_pool import BufferPool
from v1registry.server.connection import (
    BUSY,
    FRESH_GRACE,
    GONE,
    HEAD,
    IDLE,
    LINGER_IDLE,
    NEW,
    TLS_HANDSHAKE,
    Connection,
    Server,
    Stopped,
    accept_waiting,
    host,
    pending,
)
from v1registry.server.connection_limits import ConnectionLimits, refuse, refuse_request
from v1registry.server.environ import Environs
from v1registry.server.log import client_address, is_request_id
from v1registry.server.master import HELD_WHILE_STARTING
from v1registry.server.preload import patch_process
from v1registry.server.redact import forget_text, path_of
from v1registry.server.send import Truncated
from v1registry.server.settings import address_connections, stall_timeout
from v1registry.server.sockets import abort, peek, tls_context


class Worker(GeventWorker):  # type: ignore[misc]
    """gunicorn's `worker_class`. GUNICORN_STALL_TIMEOUT is the timeout for a stalled client."""

    alive: bool
    sockets: list[Any]

    def init_process(self) -> None:
        """Create the state of this worker, then serve until it is told to stop."""
        # A request takes the interpreter lock about ten times. While a thread of the pool computes,
        # each of these waits takes up to this many seconds.
        sys.setswitchinterval(0.001)
        self.stall: float = stall_timeout(os.environ)
        self.connections: set[Connection] = set()
        self.limits = ConnectionLimits(
            address_connections(os.environ, self.worker_connections), self.log
        )
        self.stopping = Event()
        prefix = os.urandom(6).hex()  # unique ids without a system call per request
        self.request_ids = (f"{prefix}{number:08x}" for number in itertools.count())
        self.buffers = BufferPool()
        self.tls: ssl.SSLContext | None = None
        # gunicorn looks up settings by a chain of calls, dozens of times per request: 8 of 150 µs.
        # They do not change any more: a reload starts new workers.
        self.cfg.__dict__.update({name: found.get() for name, found in self.cfg.settings.items()})
        super().init_process()

    def patch(self) -> None:
        """Apply gevent's patches, and make the listeners gevent sockets. Called first."""
        patch_process()
        self.sockets = [
            gsocket.socket(one.FAMILY, gsocket.SOCK_STREAM, fileno=one.sock.detach())
            for one in self.sockets
        ]

    def init_signals(self) -> None:
        """Install the signal handlers, which then get the signals received since the fork."""
        super().init_signals()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_WHILE_STARTING)

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Finish the running requests and accept no new ones (SIGTERM)."""
        super().handle_exit(sig, frame)
        self.stopping.set()

    # The main loop

    def run(self) -> None:
        """Serve until the worker must stop, then finish the running requests."""
        if self.cfg.is_ssl:
            self.tls = tls_context(self.cfg, self.log)
        servers = [self._start(listener) for listener in self.sockets]
        while self.alive:
            self.notify()
            self.stopping.wait(1.0)
        try:
            self._finish(servers)
        except Exception:
            self.log.exception("Stopping failed")

    def _start(self, listener: Any) -> Server:
        listener.setblocking(1)
        handle = partial(self.handle, Environs(self.cfg, listener.getsockname()))
        server = Server(listener, handle, Pool(self.worker_connections))
        if self.cfg.workers > 1:
            # Accept one at a time, so that other workers get connections too.
            server.max_accept = 1
        server.start()
        return server

    def _finish(self, servers: list[Server]) -> None:
        for server in servers:
            accept_waiting(server)
            server.close()
        ends = time.monotonic() + self.cfg.graceful_timeout
        new_until = time.monotonic() + FRESH_GRACE
        pools = [server.connections for server in servers]
        hub = gevent.get_hub()
        while any(len(pool) for pool in pools) and time.monotonic() < ends:
            self.notify()
            states = (IDLE,) if time.monotonic() < new_until else (IDLE, NEW)
            for connection in self.connections:
                if connection.state in states:
                    hub.loop.run_callback(connection.stop_waiting, states)
            gevent.sleep(0.1)
        if any(len(pool) for pool in pools):
            self.log.warning("Worker graceful timeout (pid:%s)", self.pid)
            for pool in pools:
                pool.kill(timeout=1)

    # One connection

    def handle(self, environs: Environs, client: Any, addr: Any) -> None:
        """Serve all requests of one connection, then close it. Raises nothing."""
        client.settimeout(self.stall)
        connection = Connection(client)
        self.connections.add(connection)
        request = None
        try:
            if isinstance(addr, tuple) and not self.limits.add(connection, addr[0]):
                if self.tls is None:
                    refuse(connection.sock)
            elif self._opened(connection, addr):
                for request in self._requests(connection, addr):
                    if not self._answer(environs, request, connection, addr):
                        break
        except (Stopped, gevent.GreenletExit):
            pass
        except http.errors.NoMoreData:
            # Not the error itself, which contains what the client sent.
            self.log.debug("Client gone: %s", host(addr))
        except TimeoutError:
            self.log.info("Client stalled for %g s, closed: %s", self.stall, host(addr))
            connection.linger = False
            abort(connection.sock)
        except OSError as error:
            if error.errno not in GONE and not isinstance(error, ssl.SSLError):
                self.log.exception("Error serving %s", host(addr))
            else:
                self.log.debug("Client gone: %s", error)
            connection.linger = False
        except Exception as error:
            connection.linger = True
            self.handle_error(request, connection.sock, addr, error)
        finally:
            self.connections.discard(connection)
            try:
                connection.close()
            finally:
                self.limits.remove(connection)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """As gunicorn's, but neither log nor send a malformed line, which may contain a password."""
        if isinstance(exc, http.errors.ParseException):
            forget_text(exc)
        if hasattr(req, "uri"):
            req.uri = path_of(req.uri)
        super().handle_error(req, client, addr, exc)

    def _opened(self, connection: Connection, addr: Any) -> bool:
        """Wait for the first byte, and do the TLS handshake; return whether a request can be read."""
        first = connection.wait(self.stall)
        if first is None:
            first = peek(connection.sock)
        if self.tls is None:
            if first == TLS_HANDSHAKE:
                self.log.debug("TLS on the plain port, closed: %s", host(addr))
                # Reading the bytes first makes the close a normal one, not a reset.
                connection.sock._sock.recv(65536)
                return False
            return bool(first)
        try:
            if first:
                connection.start_tls(self.tls, self.stall)
        except ssl.SSLError as error:
            self.log.debug("TLS handshake failed: %s: %s", host(addr), error)
            return False
        return bool(first)

    def _requests(self, connection: Connection, addr: Any) -> Any:
        """Yield the requests of a connection, until it must be closed or the client closes it."""
        parser = http.RequestParser(self.cfg, connection.sock, addr)
        while True:
            try:
                with gevent.Timeout(self.stall, TimeoutError("request head")):
                    request = next(parser)
            except StopIteration:
                return
            yield request
            connection.state = HEAD
            if request.should_close() or not self.cfg.keepalive or not self.alive:
                return
            rest = unread(request)
            if rest and not (
                rest <= DRAIN and parser.finish_body(time.monotonic() + LINGER_IDLE, DRAIN + 1)
            ):
                connection.linger = True
                return
            connection.linger = False
            if parser.unreader.buf.tell() or pending(connection.sock):
                continue
            connection.state = IDLE
            try:
                connection.wait(self.cfg.keepalive)
            except TimeoutError:
                return

    # One request

    def _answer(self, environs: Environs, request: Any, connection: Connection, addr: Any) -> bool:
        """Answer one request; return whether the connection stays open."""
        sock = connection.sock
        started = datetime.now()  # noqa: DTZ005 - gunicorn's logger expects a timedelta
        answer, environ = environs.create(request, sock, addr)
        connection.state = BUSY
        client = self._identify(answer, environ)
        environ.update(
            {"v1registry.waiting": connection.waiting, "v1registry.buffers": self.buffers}
        )
        admitted = client == "-" or self.limits.add(connection, client)
        self.nr += 1
        if self.nr >= self.max_requests and self.alive:
            self.log.info("Autorestarting worker after current request.")
            self.alive = False
            self.stopping.set()
        if not self.alive or not self.cfg.keepalive or not admitted:
            answer.force_close()
        body: Any = None
        try:
            body = (self.wsgi if admitted else refuse_request)(environ, answer.start_response)
            answer.send(body)
        except Truncated as error:
            self.log.error("%s %s: %s", request.method, path_of(request.uri), error)
            return False
        except OSError:
            raise
        except Exception:
            if not answer.headers_sent:
                raise
            # The answer has begun, so the client can learn of the error only from its early end.
            self.log.exception("Error handling %s %s", request.method, path_of(request.uri))
            return False
        finally:
            if answer.status:
                self.log.access(answer, request, environ, datetime.now() - started)  # noqa: DTZ005
            if hasattr(body, "close"):
                body.close()
        connection.linger = bool(unread(request))
        return not answer.should_close()

    def _identify(self, answer: Answer, environ: dict[str, Any]) -> str:
        """Put the request id and the client address behind trusted proxies into `environ`.

        Return that address, or "-" if there is none.
        """
        address, trusted = client_address(environ, self.cfg)
        environ["v1registry.client"] = address
        environ["v1registry.trusted"] = trusted
        given = environ.get("HTTP_X_REQUEST_ID") if trusted else None
        identity = given if given and is_request_id(given) else next(self.request_ids)
        environ["v1registry.request_id"] = answer.request_id = identity
        return address
