"""Connections to a registry: how long one may stand still, and an end to all of them at once.

Left to itself, requests gives each piece that is sent as long as the opening of a connection; and
whoever waits for an answer hears of nothing else.
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
    """Those of one registry, in every thread. Once `stop` is set, whoever waits for one is let go.

    `still`: seconds in which a piece of what is sent must have been taken.
    """

    def __init__(self, still: float, stop: threading.Event) -> None:
        self._still = still
        self._stop = stop
        self._open: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._watching = False

    def adapter(self) -> requests.adapters.HTTPAdapter:
        """For a session of requests."""
        return _Adapter(self)

    def opened(self, connection: socket.socket) -> None:
        """A connection that has just been opened."""
        with self._lock:
            self._open.add(connection)
            if not self._watching:
                self._watching = True
                threading.Thread(target=self._watch, name="stop", daemon=True).start()
        if self._stop.is_set():
            _end(connection)

    def sending(self, connection: socket.socket) -> None:
        """A connection on which something is going to be sent."""
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
            connections.sending(self.sock)  # a body follows; the time for an answer is set later

    return Watched


def _end(connection: socket.socket) -> None:
    """Whoever reads or writes it in another thread is told that it is closed."""
    with contextlib.suppress(OSError):
        # not SSLSocket's own, which would forget the session under the other thread's hands
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
