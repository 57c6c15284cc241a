"""The body of a request, in large pieces and in constant memory.

gunicorn's `wsgi.input` makes two recv calls a chunk and copies every byte several times. Under our
worker the body is received into one large buffer instead, and the framing is taken out there, in
place (`edge.chunks`).
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import nullcontext
from time import monotonic
from typing import Any, Protocol, cast

from gunicorn.http.body import Body, ChunkedReader, LengthReader  # type: ignore[import-untyped]
from gunicorn.http.errors import NoMoreData, ParseException  # type: ignore[import-untyped]

from v1registry.lib.errors import BODY_CUT, BODY_TOO_LARGE, Failure
from v1registry.server.buffer_pool import PIECE, BufferPool, ReceiveBuffer
from v1registry.server.chunks import Chunks
from v1registry.server.deadline import within

PATIENCE = 10.0
"""Seconds after which a piece is handed on though it is not full: a client that drips must not
keep its reader from looking at the clock."""

_MALFORMED = (400, "The request's body is malformed")
_LENGTH_INVALID = (400, "Invalid Content-Length")
_CODING_UNKNOWN = (501, "The only known Transfer-Encoding is chunked")
_STALLED = (408, "The request's body stopped coming")
_TOO_SLOW = (408, "The request's body took longer than this registry allows")


class _Socket(Protocol):
    def receive_now(self, buffer: memoryview) -> int | None: ...
    def await_bytes(self) -> None: ...
    def is_greedy(self) -> bool: ...
    def rest(self) -> None: ...


def pieces(environ: dict[str, Any], limit: int | None) -> Iterator[bytes | memoryview]:
    """The request body in pieces of at most 2 MiB; each is valid only until the next step.

    `environ` is the WSGI environment, `limit` the largest body in bytes (None: no limit).
    Nobody else may have read from `wsgi.input`. What follows the body on the connection stays for
    the next request. A generator left before its end closes the connection after the answer.
    The bytes received are left in `environ["v1registry.received"]` for the access log.

    :raises Failure: 413 over `limit`; 400 malformed framing, or the client gone before the end;
        408 nothing came for the time that the worker waits.
    """
    length = _content_length(environ)
    if limit is not None and length is not None and length > limit:
        raise Failure(*BODY_TOO_LARGE)
    body = environ.get("wsgi.input")
    rooms: BufferPool = environ.get("v1registry.rooms") or BufferPool()
    size = rooms.take()
    fast = _fast(environ, size, rooms)
    source = _plain(environ, length, size) if fast is None else fast
    total = 0
    failed_before = isinstance(body, Body) and body.failed
    if isinstance(body, Body):
        # Until the end is seen, nobody knows where the next request starts: should this generator
        # be left, or outlive its request, the connection is closed after the answer.
        body.failed = True
    try:
        for piece in source:
            total += len(piece)
            if limit is not None and total > limit:
                raise Failure(*BODY_TOO_LARGE)
            yield piece
        if length is not None and total < length:
            raise Failure(*BODY_CUT)
        if isinstance(body, Body):
            body.failed = failed_before
    except (ParseException, ValueError) as error:
        raise Failure(*_MALFORMED) from error
    except TimeoutError as error:
        raise Failure(*_STALLED) from error
    except OSError as error:
        # gunicorn's NoMoreData is an OSError, too.
        raise Failure(*BODY_CUT) from error
    finally:
        rooms.give(size)
        environ["v1registry.received"] = total


def whole(environ: dict[str, Any], limit: int, seconds: float) -> bytes:
    """The request body, which is small: at most `limit` bytes, received within `seconds`.

    :raises Failure: as `pieces`; 408 after `seconds`.
    """
    try:
        with environ.get("v1registry.waiting", nullcontext)():
            return within(seconds, lambda: b"".join(bytes(part) for part in pieces(environ, limit)))
    except TimeoutError as error:
        raise Failure(*_TOO_SLOW) from error


def _content_length(environ: dict[str, Any]) -> int | None:
    coding = environ.get("HTTP_TRANSFER_ENCODING")
    if coding is not None:
        if coding.strip().lower() != "chunked":
            raise Failure(*_CODING_UNKNOWN)  # RFC 9112 section 6.1: the bytes are not the layer's
        return None
    text = environ.get("CONTENT_LENGTH") or ""
    if not text:
        return None
    if not (text.isascii() and text.isdigit()):
        raise Failure(*_LENGTH_INVALID)
    return int(text)


def _plain(environ: dict[str, Any], length: int | None, size: int) -> Iterator[bytes]:
    """The body through `wsgi.input`: TLS, another server, the test client."""
    read = environ["wsgi.input"].read
    if length is None and not environ.get("wsgi.input_terminated"):
        return
    left = length
    while left is None or left > 0:
        piece = read(size if left is None else min(size, left))
        if not piece:
            return
        if left is not None:
            left -= len(piece)
        yield piece


def _fast(environ: dict[str, Any], size: int, rooms: BufferPool) -> Iterator[memoryview] | None:
    """The body straight from the socket, or None wherever that is not surely right."""
    sock: Any = environ.get("gunicorn.socket")
    body: Any = environ.get("wsgi.input")
    if not hasattr(sock, "receive_now") or type(body) is not Body:
        return None
    if body.failed or body.buf.tell():
        return None
    reader = body.reader
    if type(reader) is LengthReader and reader.unreader.sock is sock:
        return _by_length(reader, cast(_Socket, sock), size)
    if type(reader) is ChunkedReader and _untouched(reader) and reader.req.unreader.sock is sock:
        return _by_chunks(reader, cast(_Socket, sock), size, rooms)
    return None


def _untouched(reader: Any) -> bool:
    return (
        reader.parser is not None
        and not reader.buf.tell()
        and inspect.getgeneratorstate(reader.parser) == inspect.GEN_CREATED
    )


def _by_length(reader: Any, sock: _Socket, size: int) -> Iterator[memoryview]:
    left: int = reader.length
    ahead = reader.unreader.take_buffered()
    reader.unreader.unread(ahead[left:])
    mine = memoryview(ahead)[:left]
    left -= len(mine)
    if mine:
        yield mine
    if left:
        room = ReceiveBuffer(min(size, left))
        try:
            while left:
                room.end = 0
                since = monotonic()
                while room.end < min(room.size, left) and monotonic() - since < PATIENCE:
                    # A piece as full as it gets makes fewer writes of it.
                    room.end += _receive(sock, room.view[room.end : min(room.size, left)])
                left -= room.end
                yield room.data
        finally:
            room.release()
    reader.length = 0


def _receive(sock: _Socket, view: memoryview) -> int:
    while (count := sock.receive_now(view)) is None:
        sock.await_bytes()
    if not count:
        raise NoMoreData()
    if sock.is_greedy():
        sock.rest()
    return count


def _by_chunks(reader: Any, sock: _Socket, size: int, rooms: BufferPool) -> Iterator[memoryview]:
    chunks = Chunks(reader)
    ahead = chunks.ahead()
    room = own = ReceiveBuffer(size)
    since = monotonic()
    try:
        while True:
            if room is own and own.size < PIECE and own.end == own.start:
                room = _enter(rooms, own)
            if not chunks.unwrap(room):
                if room.end > room.start:
                    yield room.data
                rest = bytes(room.framed)
                room.clear()
                room = _leave(rooms, room, own)
                if not chunks.hand_over(rest, ahead):
                    return
                ahead = chunks.ahead()
            elif room.end > room.start and (
                room.filled == room.size or monotonic() - since > PATIENCE
            ):
                yield room.data
                room.handed_on()
                since = monotonic()
                if sock.is_greedy():
                    room = _leave(rooms, room, own)
                    sock.rest()
            elif room.filled == room.size:
                room.handed_on()
            elif ahead:
                ahead = ahead[room.add(ahead) :]
            elif (count := sock.receive_now(room.view[room.filled :])) is not None:
                if not count:
                    raise NoMoreData()
                room.filled += count
            else:
                if room is not own and room.held > own.size:
                    yield room.data
                    room.handed_on()
                    since = monotonic()
                room = _leave(rooms, room, own)
                sock.await_bytes()
    finally:
        if room is not own:
            rooms.give_back()
        own.release()


def _enter(rooms: BufferPool, own: ReceiveBuffer) -> ReceiveBuffer:
    """The shared room with what was in the body's own; that one if somebody is in the other."""
    shared = rooms.borrow()
    if shared is None:
        return own
    shared.take_over(own)
    return shared


def _leave(rooms: BufferPool, room: ReceiveBuffer, own: ReceiveBuffer) -> ReceiveBuffer:
    """The body's own room with what it had in this one, which others may use now."""
    if room is not own:
        own.take_over(room)
        rooms.give_back()
    return own
