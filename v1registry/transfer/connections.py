"""Connections to a registry, with a timeout for sending and a way to close all of them at once.

requests itself uses the connect timeout for each piece that it sends. And a thread that waits for an
answer does not notice that the transfer is being stopped.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import weakref
from typing import Any

import requests.adapters
from urllib3 import connectionpool
from urllib3.connection import HTTPConnection, HTTPSConnection


class Connections:
    """The connections of all threads to one registry. Setting `stop` closes them.

    `still`: the longest time in seconds for sending one piece.
    """

    def __init__(self, still: float, stop: threading.Event) -> None:
        self._still = still
        self._stop = stop
        self._open: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._watching = False

    def adapter(self) -> requests.adapters.HTTPAdapter:
        """Return an adapter for a session of requests."""
        return _Adapter(self)

    def opened(self, connection: socket.socket) -> None:
        """Watch a connection that was just opened."""
        with self._lock:
            self._open.add(connection)
            if not self._watching:
                self._watching = True
                threading.Thread(target=self._watch, name="stop", daemon=True).start()
        if self._stop.is_set():
            _end(connection)

    def sending(self, connection: socket.socket) -> None:
        """Set the timeout of a connection before a body is sent on it."""
        connection.settimeout(self._still)

    def _watch(self) -> None:
        self._stop.wait()
        with self._lock:
            for connection in list(self._open):
                _end(connection)


class _Adapter(requests.adapters.HTTPAdapter):
    def __init__(self, connections: Connections) -> None:
        class PlainPool(connectionpool.HTTPConnectionPool):
            ConnectionCls = _watched(HTTPConnection, connections)

        class SecurePool(connectionpool.HTTPSConnectionPool):
            ConnectionCls = _watched(HTTPSConnection, connections)

        self._pools = {"http": PlainPool, "https": SecurePool}
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, *arguments: Any, **options: Any) -> Any:
        manager = super().proxy_manager_for(*arguments, **options)
        manager.pool_classes_by_scheme = self._pools
        return manager


def _watched(kind: Any, connections: Connections) -> Any:
    class Watched(kind):  # type: ignore[misc]
        def connect(self) -> None:
            super().connect()
            connections.opened(self.sock)

        def endheaders(self, *arguments: Any, **options: Any) -> None:
            super().endheaders(*arguments, **options)
            connections.sending(
                self.sock
            )  # a body follows; requests sets the timeout of the answer later

    return Watched


def _end(connection: socket.socket) -> None:
    """Shut a connection down, so that a thread that reads or writes it gets an error."""
    with contextlib.suppress(OSError):
        # SSLSocket.shutdown would drop the TLS session while another thread uses it
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
