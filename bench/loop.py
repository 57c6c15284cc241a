"""The loop of the load generator: many HTTP clients in one process, with epoll, using little CPU.

A client is a generator. It yields (connection, mask) to wait for a socket, and raises `Wrong` or
OSError for an unexpected answer. The loop counts these errors. Bodies are sent with sendfile and
received with MSG_TRUNC, so that the kernel does not copy them to or from this process.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

READ, WRITE = select.EPOLLIN, select.EPOLLOUT

DISCARD = 4 * 1024 * 1024
"""Most bytes that one call discards, so that no connection blocks the others."""

SEND = 1024 * 1024
"""Most bytes of one sendfile call."""

_HEAD = 64 * 1024
_sink = bytearray(DISCARD)  # passed to the kernel, but never written: MSG_TRUNC

Waits = Generator[tuple["Connection", int], None, Any]


class Wrong(Exception):
    """Raised for an unexpected answer."""


class Connection:
    """A non-blocking TCP connection; `mask` is its event mask in epoll."""

    __slots__ = ("data", "fd", "mask", "sock")

    def __init__(self, address: tuple[str, int]) -> None:
        self.sock = socket.socket()
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.fd = self.sock.fileno()
        self.mask = 0
        self.data = b""
        self.sock.connect_ex(address)

    def close(self) -> None:
        self.sock.close()


@dataclass(frozen=True, slots=True)
class Answer:
    """The head of an answer; header names in lower case."""

    status: int
    headers: dict[str, str]


@dataclass(slots=True)
class Outcome:
    """The result of a run. `ended` has the seconds from the start to the end of each client."""

    seconds: float = 0.0
    answers: int = 0
    bytes: int = 0
    errors: int = 0
    messages: Counter[str] = field(default_factory=Counter)
    ended: dict[str, list[float]] = field(default_factory=dict)


def opened(address: tuple[str, int]) -> Waits:
    """Connect; return the connection when it is established."""
    connection = Connection(address)
    yield connection, WRITE
    if error := connection.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        connection.close()
        raise OSError(error, os.strerror(error))
    return connection


def send(connection: Connection, data: bytes) -> Waits:
    view = memoryview(data)
    while view:
        try:
            view = view[connection.sock.send(view) :]
        except BlockingIOError:
            yield connection, WRITE


def send_file(connection: Connection, file: int, length: int) -> Waits:
    """Send the first `length` bytes of the file with this descriptor."""
    start = 0
    while start < length:
        try:
            start += os.sendfile(connection.fd, file, start, min(SEND, length - start))
        except BlockingIOError:
            pass
        yield connection, WRITE


def head(connection: Connection) -> Waits:
    """Return the head of the next answer; the bytes after it stay in `connection.data`."""
    data = connection.data
    while (end := data.find(b"\r\n\r\n")) < 0:
        if len(data) > _HEAD:
            raise Wrong("endless head")
        yield connection, READ
        more = connection.sock.recv(4096)
        if not more:
            raise Wrong("closed before the answer")
        data += more
    lines = data[:end].decode("latin-1").split("\r\n")
    connection.data = data[end + 4 :]
    fields = (line.partition(":") for line in lines[1:])
    return Answer(int(lines[0].split()[1]), {f[0].lower(): f[2].strip() for f in fields})


def discard(connection: Connection, length: int) -> Waits:
    """Receive and discard a body of `length` bytes."""
    left = length - len(connection.data)
    if left < 0:
        raise Wrong("more bytes than announced")
    connection.data = b""
    receive = connection.sock.recv_into
    while left:
        yield connection, READ
        count = receive(_sink, min(left, DISCARD), socket.MSG_TRUNC)
        if not count:
            raise Wrong("body cut short")
        left -= count


def exchange(
    connection: Connection,
    request: bytes,
    status: int | tuple[int, ...],
    *,
    length: int | None = None,
    file: tuple[int, int] | None = None,
    tail: bytes = b"",
    bodiless: bool = False,
) -> Waits:
    """Send one request, receive its answer, and return the head. Raise Wrong if it is not as expected.

    `status` is the expected one, or all of those. `file` is a descriptor and how many of its bytes follow the request's head, `tail` what follows
    that. `length` is the length that the body must have; `bodiless` says that it was a HEAD.
    """
    yield from send(connection, request)
    if file is not None:
        yield from send_file(connection, *file)
    if tail:
        yield from send(connection, tail)
    answer: Answer = yield from head(connection)
    what = request.split(b" ", 1)[0].decode()
    if answer.status not in (status if isinstance(status, tuple) else (status,)):
        raise Wrong(f"{what}: {answer.status} instead of {status}")
    if bodiless or status == 204:
        return answer
    if "content-length" not in answer.headers:
        raise Wrong(f"{what}: no Content-Length")
    announced = int(answer.headers["content-length"])
    if length is not None and announced != length:
        raise Wrong(f"{what}: {announced} bytes instead of {length}")
    yield from discard(connection, announced)
    return answer


class _Task:
    """A running client, and the descriptor that it waits for."""

    __slots__ = ("client", "fd", "kind")

    def __init__(self, kind: str, client: Waits) -> None:
        self.kind = kind
        self.client = client
        self.fd = -1


class Loop:
    """Runs clients to their end."""

    def __init__(self) -> None:
        self.outcome = Outcome()
        self._epoll = select.epoll()
        self._waiting: dict[int, _Task] = {}
        self._started = 0.0

    def run(self, clients: list[tuple[str, Waits]], limit: float) -> Outcome:
        """Run (kind, client) pairs for at most `limit` seconds; a client that is not done then is an error."""
        self._started = time.perf_counter()
        for kind, client in clients:
            self._step(_Task(kind, client))
        while self._waiting and (left := self._started + limit - time.perf_counter()) > 0:
            for fd, _ in self._epoll.poll(left, 256):
                self._step(self._waiting[fd])
        for task in self._waiting.values():
            self._failed(f"{task.kind}: not done after {limit:g} s")
        self.outcome.seconds = time.perf_counter() - self._started
        return self.outcome

    def _step(self, task: _Task) -> None:
        try:
            connection, mask = next(task.client)
        except StopIteration:
            ended = self.outcome.ended.setdefault(task.kind, [])
            ended.append(time.perf_counter() - self._started)
        except (OSError, Wrong) as error:
            self._failed(f"{task.kind}: {error}")
        else:
            if connection.mask != mask:
                self._watch(connection, mask, task)
            return
        self._waiting.pop(task.fd, None)

    def _watch(self, connection: Connection, mask: int, task: _Task) -> None:
        if connection.mask:
            self._epoll.modify(connection.fd, mask)
        else:
            # The previous connection of the client is closed, and epoll has removed it.
            self._waiting.pop(task.fd, None)
            self._epoll.register(connection.fd, mask)
            self._waiting[connection.fd] = task
            task.fd = connection.fd
        connection.mask = mask

    def _failed(self, message: str) -> None:
        self.outcome.errors += 1
        self.outcome.messages[message] += 1
