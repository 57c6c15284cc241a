"""A proxy in front of a registry that is slow or stalls."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from types import TracebackType


class Slow:
    """`url`; carries bytes between clients and the registry on port `target`.

    `rate`: bytes a second that each connection takes from its client, None for all that come.
    `stall_at`: so many bytes of a connection go through, then it stands still and stays open;
    `stalls`: how many connections do so, each counted in `stalled`. `late`: seconds before an
    answer's bytes go on. `hold`: nothing is carried at all, while it is set.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self.rate: int | None = None
        self.late = 0.0
        self.stall_at: int | None = None
        self.stalls = 1_000_000
        self.stalled = 0
        self.hold = threading.Event()
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        # small buffers, so that the sender soon notices a stall
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = f"http://{self.host}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Slow:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                client.close()
                continue
            for source, sink, up in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._copy, args=(source, sink, up), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket, up: bool) -> None:
        carried = 0
        with contextlib.suppress(OSError):
            while piece := source.recv(4096):
                carried += len(piece)
                if up and self.rate:
                    time.sleep(len(piece) / self.rate)
                elif not up and self.late:
                    time.sleep(self.late)
                if self.hold.is_set() or (up and self._stalls(carried)):
                    self._closing.wait()
                    break
                sink.sendall(piece)
        for side in (source, sink):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
            side.close()

    def _stalls(self, carried: int) -> bool:
        with self._lock:
            if self.stall_at is None or carried <= self.stall_at or self.stalled >= self.stalls:
                return False
            self.stalled += 1
            return True
