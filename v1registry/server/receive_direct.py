"""Request bodies received from the socket of a gunicorn connection, past gunicorn's `wsgi.input`.

gunicorn's `wsgi.input` makes two recv calls for each chunk and copies every byte several times.
Here the body is received into one large buffer. `server.chunks` removes the framing in place.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any, Protocol

from gunicorn.http.body import Body, ChunkedReader, LengthReader  # type: ignore[import-untyped]
from gunicorn.http.errors import NoMoreData, ParseException  # type: ignore[import-untyped]

from v1registry.lib.errors import Failure
from v1registry.server.buffer_pool import PIECE, BufferPool, ReceiveBuffer
from v1registry.server.chunks import Chunks
from v1registry.server.receive import MALFORMED

PIECE_SECONDS = 10.0
"""Seconds after which a piece is yielded although it is not full: the consumer of a slow upload must
get control to check its own timeout."""


class _Socket(Protocol):
    def receive_now(self, buffer: memoryview) -> int | None: ...
    def wait_for_bytes(self) -> None: ...
    def must_yield(self) -> bool: ...
    def yield_loop(self) -> None: ...


def pieces(environ: dict[str, Any], size: int, pool: BufferPool) -> Iterator[memoryview] | None:
    """Return the pieces of the request body, or None if they must be read from `wsgi.input`.

    `size` is the size of the body's own buffer. None is returned unless the connection is a plain
    one of our worker, and nothing of the body has been read.
    """
    sock: Any = environ.get("gunicorn.socket")
    body: Any = environ.get("wsgi.input")
    if not hasattr(sock, "receive_now") or type(body) is not Body:
        return None
    if body.failed or body.buf.tell():
        return None
    reader = body.reader
    if type(reader) is LengthReader and reader.unreader.sock is sock:
        return _by_length(reader, sock, size)
    if type(reader) is ChunkedReader and _is_unread(reader) and reader.req.unreader.sock is sock:
        return _by_chunks(reader, sock, size, pool)
    return None


@contextmanager
def unfinished(body: Any) -> Iterator[None]:
    """Mark `body` as failed unless the block ends normally: gunicorn then closes the connection.

    Until the end of the body is read, the start of the next request is unknown.

    :raises Failure: 400 for the ParseException of a malformed body.
    """
    is_gunicorns = isinstance(body, Body)
    if is_gunicorns:
        failed_before, body.failed = body.failed, True
    try:
        yield
    except ParseException as error:
        raise Failure(*MALFORMED) from error
    if is_gunicorns:
        body.failed = failed_before


def _is_unread(reader: Any) -> bool:
    return (
        reader.parser is not None
        and not reader.buf.tell()
        and inspect.getgeneratorstate(reader.parser) == inspect.GEN_CREATED
    )


def _by_length(reader: Any, sock: _Socket, size: int) -> Iterator[memoryview]:
    left: int = reader.length
    ahead = reader.unreader.take_buffered()
    reader.unreader.unread(ahead[left:])
    first = memoryview(ahead)[:left]
    left -= len(first)
    if first:
        yield first
    if left:
        buffer = ReceiveBuffer(min(size, left))
        try:
            while left:
                buffer.end = 0
                since = monotonic()
                # Full pieces make fewer writes.
                while buffer.end < min(buffer.size, left) and monotonic() - since < PIECE_SECONDS:
                    view = buffer.view[buffer.end : min(buffer.size, left)]
                    buffer.end += _receive(sock, view)
                left -= buffer.end
                yield buffer.data
        finally:
            buffer.release()
    reader.length = 0


def _receive(sock: _Socket, view: memoryview) -> int:
    while (count := sock.receive_now(view)) is None:
        sock.wait_for_bytes()
    if not count:
        raise NoMoreData()
    if sock.must_yield():
        sock.yield_loop()
    return count


def _by_chunks(reader: Any, sock: _Socket, size: int, pool: BufferPool) -> Iterator[memoryview]:
    yield from _ChunkedBody(reader, sock, size, pool).pieces()


class _ChunkedBody:
    """The state of one chunked body while it is received.

    The body uses the shared buffer of the pool while it receives, and its own smaller buffer while
    it waits for its client, so that other bodies can use the shared one.
    """

    def __init__(self, reader: Any, sock: _Socket, size: int, pool: BufferPool) -> None:
        self._sock = sock
        self._pool = pool
        self._chunks = Chunks(reader)
        self._ahead = self._chunks.ahead()  # received by gunicorn, not yet in a buffer
        self._own = ReceiveBuffer(size)
        self._buffer = self._own
        self._since = monotonic()  # when the last piece was yielded

    def pieces(self) -> Iterator[memoryview]:
        """Yield the body without its framing.

        :raises ParseException: the framing is malformed; NoMoreData; OSError; TimeoutError.
        """
        try:
            while True:
                self._enter_shared()
                buffer = self._buffer
                if not self._chunks.unwrap(buffer):
                    if buffer.has_data:
                        yield buffer.data
                    if not self._hand_over():
                        return
                elif buffer.has_data and (buffer.is_full or self._is_overdue()):
                    yield buffer.data
                    self._drop_data()
                    if self._sock.must_yield():
                        self._leave_shared()
                        self._sock.yield_loop()
                elif buffer.is_full:  # of framing only
                    buffer.drop_data()
                elif not self._fill():
                    if buffer is not self._own and buffer.used > self._own.size:
                        yield buffer.data
                        self._drop_data()
                    self._leave_shared()
                    self._sock.wait_for_bytes()
        finally:
            if self._buffer is not self._own:
                self._pool.return_shared()
            self._own.release()

    def _is_overdue(self) -> bool:
        return monotonic() - self._since > PIECE_SECONDS

    def _drop_data(self) -> None:
        self._buffer.drop_data()
        self._since = monotonic()

    def _fill(self) -> bool:
        """Put received bytes into the buffer; return False if there are none now."""
        buffer = self._buffer
        if self._ahead:
            self._ahead = self._ahead[buffer.add(self._ahead) :]
            return True
        count = self._sock.receive_now(buffer.view[buffer.filled :])
        if count is None:
            return False
        if not count:
            raise NoMoreData()
        buffer.filled += count
        return True

    def _hand_over(self) -> bool:
        """Let gunicorn's parser read on; return False at the end of the body."""
        framed = bytes(self._buffer.framed)
        self._buffer.clear()
        self._leave_shared()
        if not self._chunks.hand_over(framed, self._ahead):
            return False
        self._ahead = self._chunks.ahead()
        return True

    def _enter_shared(self) -> None:
        """Move to the shared buffer if the own one is small, and no other body uses the shared one."""
        own = self._own
        if self._buffer is not own or own.size == PIECE or own.has_data:
            return
        shared = self._pool.borrow_shared()
        if shared is not None:
            shared.take_from(own)
            self._buffer = shared

    def _leave_shared(self) -> None:
        """Move to the own buffer, which must be large enough for what is in the shared one."""
        if self._buffer is not self._own:
            self._own.take_from(self._buffer)
            self._buffer = self._own
            self._pool.return_shared()
