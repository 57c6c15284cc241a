"""A proxy in front of a registry that resets connections after a number of bytes."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
from types import TracebackType

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset


class Cutting:
    """`url`, `host`. `cut`: None, or how many bytes of requests a connection may carry; with
    `dice` (0 to 1) only so many of them are cut, and `most` at most. `cuts` counts.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self.cut: int | None = None
        self.dice = 1.0
        self.most = 1_000_000
        self.cuts = 0
        self._random = random.Random(7)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = f"http://{self.host}"
        self._closing = False
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Cutting:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while not self._closing:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                client.close()
                continue
            limit = self.cut if self._random.random() < self.dice else None
            threading.Thread(target=self._copy, args=(client, server, limit), daemon=True).start()
            threading.Thread(target=self._copy, args=(server, client, None), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket, limit: int | None) -> None:
        carried = 0
        with contextlib.suppress(OSError):
            while piece := source.recv(16384):
                if limit is not None and carried + len(piece) > limit and self.cuts < self.most:
                    sink.sendall(piece[: limit - carried])
                    self.cuts += 1
                    source.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    break
                carried += len(piece)
                sink.sendall(piece)
        for side in (source, sink):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
            side.close()
