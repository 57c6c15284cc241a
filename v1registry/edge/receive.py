"""The body of a request, in large pieces and in constant memory.

gunicorn's `wsgi.input` makes two recv calls a chunk and copies every byte several times. Under our
worker the body is received into one large buffer instead, and the framing is taken out there, in
place. Only the plainest framing is read here (`HEX CRLF`); a size line with anything else in it,
the last chunk and the trailers go to gunicorn's own parser, so both are equally strict.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from time import monotonic
from typing import Any, Protocol, cast

from gunicorn.http.body import Body, ChunkedReader, LengthReader  # type: ignore[import-untyped]
from gunicorn.http.errors import ChunkMissingTerminator, NoMoreData, ParseException  # type: ignore[import-untyped]

from v1registry.lib.errors import BODY_CUT, BODY_TOO_LARGE, Failure

PIECE = 1024 * 1024
"""Bytes of the largest piece. Large writes cost the kernel far less a byte than small ones."""

SMALL_PIECE = 256 * 1024
"""Bytes of the largest piece where many bodies come in at once."""

LARGE_BUFFERS = 4
"""Bodies of one process that may have a buffer of PIECE bytes at the same time."""

PATIENCE = 10.0
"""Seconds after which a piece is handed on though it is not full: a client that drips must not
keep its reader from looking at the clock."""

_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})\r\n")
_LONGEST_SIZE_LINE = 17
_LAST_CHUNK = re.compile(rb"0+(?![0-9A-Fa-f])")

_MALFORMED = (400, "The request's body is malformed")
_LENGTH_INVALID = (400, "Invalid Content-Length")
_CODING_UNKNOWN = (501, "The only known Transfer-Encoding is chunked")
_STALLED = (408, "The request's body stopped coming")


class _Socket(Protocol):
    def edge_recv_into(self, buffer: memoryview) -> int: ...


class Buffers:
    """Tells each body that comes in how large a buffer it may have, so that all stay bounded.

    The worker keeps one and puts it into the environment as `v1registry.buffers`.
    """

    def __init__(self, large: int = LARGE_BUFFERS) -> None:
        self._large = large

    def take(self) -> int:
        """Bytes of the buffer that a body may have; to be given back."""
        if not self._large:
            return SMALL_PIECE
        self._large -= 1
        return PIECE

    def give(self, size: int) -> None:
        self._large += size == PIECE


def pieces(environ: dict[str, Any], limit: int | None) -> Iterator[bytes | memoryview]:
    """The request body in pieces of at most 1 MiB; each is valid only until the next step.

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
    buffers: Buffers = environ.get("v1registry.buffers") or Buffers()
    size = buffers.take()
    fast = _fast(environ, size)
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
        buffers.give(size)
        environ["v1registry.received"] = total


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


def _fast(environ: dict[str, Any], size: int = SMALL_PIECE) -> Iterator[memoryview] | None:
    """The body straight from the socket, or None wherever that is not surely right."""
    sock: Any = environ.get("gunicorn.socket")
    body: Any = environ.get("wsgi.input")
    if not hasattr(sock, "edge_recv_into") or type(body) is not Body:
        return None
    if body.failed or body.buf.tell():
        return None
    reader = body.reader
    if type(reader) is LengthReader:
        unreader = reader.unreader
        run = _by_length
    elif type(reader) is ChunkedReader and _untouched(reader):
        unreader = reader.req.unreader
        run = _by_chunks
    else:
        return None
    if getattr(unreader, "sock", None) is not sock:
        return None
    return run(reader, unreader, cast(_Socket, sock), size)


def _untouched(reader: Any) -> bool:
    return (
        reader.parser is not None
        and not reader.buf.tell()
        and inspect.getgeneratorstate(reader.parser) == inspect.GEN_CREATED
    )


def _by_length(reader: Any, unreader: Any, sock: _Socket, size: int) -> Iterator[memoryview]:
    left: int = reader.length
    ahead = unreader.take_buffered()
    unreader.unread(ahead[left:])
    mine = memoryview(ahead)[:left]
    left -= len(mine)
    if mine:
        yield mine
    if left:
        view = memoryview(bytearray(min(size, left)))
        while left:
            held = 0
            since = monotonic()
            while held < len(view) and held < left and monotonic() - since < PATIENCE:
                # A piece as full as it gets makes fewer writes of it.
                count = sock.edge_recv_into(view[held : min(len(view), left)])
                if not count:
                    raise NoMoreData()
                held += count
            left -= held
            yield view[:held]
    reader.length = 0


def _by_chunks(reader: Any, unreader: Any, sock: _Socket, size: int) -> Iterator[memoryview]:
    # buffer[start:end] is data taken out of its framing, buffer[at:filled] is still raw.
    buffer = bytearray(size)
    view = memoryview(buffer)
    ahead = memoryview(unreader.take_buffered())
    start = end = at = filled = 0
    left = 0  # of the chunk at hand
    after_data = False  # a CRLF must come first
    since = monotonic()
    while True:
        while at < filled:
            if left:
                count = min(left, filled - at)
                if end == start:
                    start = end = at
                elif end != at:
                    view[end : end + count] = view[at : at + count]
                end += count
                at += count
                left -= count
                after_data = True
            elif after_data:
                if filled - at < 2:
                    break
                if buffer[at : at + 2] != b"\r\n":
                    raise ChunkMissingTerminator(bytes(buffer[at : at + 2]))
                at += 2
                after_data = False
            elif (plain := _SIZE_LINE.match(buffer, at, filled)) and int(plain[1], 16):
                left = int(plain[1], 16)
                at = plain.end()
            else:
                stop = buffer.find(b"\r\n", at, filled)
                if stop < 0 and filled - at < _LONGEST_SIZE_LINE:
                    break
                if stop >= 0 and not _LAST_CHUNK.match(buffer, at, stop):
                    # An extension, or something malformed: gunicorn's parser decides.
                    left, _ = reader.parse_chunk_size(unreader, data=bytes(view[at : stop + 2]))
                    at = stop + 2
                    continue
                if end > start:
                    yield view[start:end]
                # The last chunk and its trailers, or a long line: all the rest is gunicorn's. At
                # the end it gives back what belongs to the next request.
                unreader.unread(bytes(ahead))
                left, rest = reader.parse_chunk_size(unreader, data=bytes(view[at:filled]))
                if not left:
                    reader.parser = None
                    return
                ahead = memoryview(rest + unreader.take_buffered())
                start = end = at = filled = 0
        if filled == size or (end > start and monotonic() - since > PATIENCE):
            if end > start:
                yield view[start:end]
            since = monotonic()
            count = filled - at
            view[:count] = view[at:filled]
            start = end = at = 0
            filled = count
        if ahead:
            count = min(len(ahead), size - filled)
            view[filled : filled + count] = ahead[:count]
            ahead = ahead[count:]
        else:
            count = sock.edge_recv_into(view[filled:])
            if not count:
                raise NoMoreData()
        filled += count
