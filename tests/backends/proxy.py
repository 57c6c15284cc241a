"""A proxy between a registry and its store that cuts, delays, changes, swallows or refuses.

with Proxy(ceph.port) as proxy:
    proxy.cut_after = 1000   # each answer ends after so many bytes ...
    proxy.cuts = 2           # ... so many times
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable
from types import TracebackType

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset


def _ended(sink: socket.socket) -> None:
    """Close our side and wait for the other: a reset would drop bytes that are still on the way."""
    sink.shutdown(socket.SHUT_WR)
    sink.settimeout(1)
    while sink.recv(65536):
        pass


class Proxy:
    """`port` listens on the loopback. Attributes may be changed at any time.

    `cut_after`: end a connection once so many bytes came back on it, `cuts` times.
    `delay`: seconds before the bytes of an answer go on. `silent`: nothing comes back.
    `refusing`: connections are reset at once. `change`: what each piece of an answer becomes, and
    `change_there` of a request; of the same length.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self.cut_after = 0
        self.cuts = 0
        self.delay = 0.0
        self.silent = False
        self.refusing = False
        self.change: Callable[[bytes], bytes] | None = None
        self.change_there: Callable[[bytes], bytes] | None = None
        self.connections = 0
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop()
        self._thread.join(10)

    def drop(self) -> None:
        """Reset all connections."""
        for one in list(self._open):
            self._reset(one)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            if self.refusing:
                self._reset(client)
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._target), timeout=10)
            except OSError:
                self._reset(client)
                continue
            server.settimeout(None)
            self._open |= {client, server}
            for source, sink, back in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._pump, args=(source, sink, back), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, back: bool) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if back:
                    while self.silent:
                        time.sleep(0.02)
                    time.sleep(self.delay)
                    passed += len(data)
                    if self._cut_now(passed):
                        sink.sendall(data[: max(0, len(data) - (passed - self.cut_after))])
                        _ended(sink)
                        break
                change = self.change if back else self.change_there
                sink.sendall(change(data) if change else data)
        for one in (source, sink):
            self._reset(one)

    def _cut_now(self, passed: int) -> bool:
        with self._lock:
            if not self.cuts or passed < self.cut_after:
                return False
            self.cuts -= 1
            return True

    def _reset(self, one: socket.socket) -> None:
        self._open.discard(one)
        with contextlib.suppress(OSError):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()
