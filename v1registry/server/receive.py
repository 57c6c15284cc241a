"""The body of a request, received in large pieces and in constant memory.

Under our worker a body comes straight from its socket (`server.receive_direct`). Over TLS, under
another server and in the test client it is read from `wsgi.input`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from v1registry.lib.errors import BODY_CUT, BODY_TOO_LARGE, Failure
from v1registry.server.buffer_pool import BufferPool
from v1registry.server.deadline import within

MALFORMED = (400, "The request's body is malformed")
_LENGTH_INVALID = (400, "Invalid Content-Length")
_CODING_UNKNOWN = (501, "The only known Transfer-Encoding is chunked")
_STALLED = (408, "The request's body stopped coming")
_TOO_SLOW = (408, "The request's body took longer than this registry allows")


def pieces(environ: dict[str, Any], limit: int | None) -> Iterator[bytes | memoryview]:
    """Yield the request body in pieces of at most 2 MiB; each is valid only until the next step.

    `environ` is the WSGI environment, `limit` the largest body in bytes (None: no limit).
    The caller must be the only reader of `wsgi.input`. Bytes that follow the body on the
    connection stay for the next request. If the generator is not exhausted, the connection is
    closed after the answer. `environ["v1registry.received"]` gets the number of bytes received,
    for the access log.

    :raises Failure: 413 the body is larger than `limit`; 400 the framing is malformed, or the
        client closed the connection before the end; 408 the client sent nothing until the timeout.
    """
    length = _content_length(environ)
    if limit is not None and length is not None and length > limit:
        raise Failure(*BODY_TOO_LARGE)
    pool: BufferPool = environ.get("v1registry.buffers") or BufferPool()
    size = pool.reserve()
    received = 0
    try:
        source, guard = _source(environ, length, size, pool)
        with guard:
            for piece in source:
                received += len(piece)
                if limit is not None and received > limit:
                    raise Failure(*BODY_TOO_LARGE)
                yield piece
            if length is not None and received < length:
                raise Failure(*BODY_CUT)
    except ValueError as error:
        raise Failure(*MALFORMED) from error
    except TimeoutError as error:
        raise Failure(*_STALLED) from error
    except OSError as error:  # also gunicorn's NoMoreData
        raise Failure(*BODY_CUT) from error
    finally:
        pool.release(size)
        environ["v1registry.received"] = received


def whole(environ: dict[str, Any], limit: int, seconds: float) -> bytes:
    """Return a small request body: at most `limit` bytes, received within `seconds`.

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


def _source(
    environ: dict[str, Any], length: int | None, size: int, pool: BufferPool
) -> tuple[Iterator[bytes | memoryview], AbstractContextManager[None]]:
    """Return where the pieces come from, and the context in which they must be read."""
    if "gunicorn.http.body" not in sys.modules:  # another server: gunicorn need not be installed
        return _from_wsgi_input(environ, length, size), nullcontext()
    from v1registry.server import receive_direct

    direct = receive_direct.pieces(environ, size, pool)
    source = _from_wsgi_input(environ, length, size) if direct is None else direct
    return source, receive_direct.unfinished(environ.get("wsgi.input"))


def _from_wsgi_input(environ: dict[str, Any], length: int | None, size: int) -> Iterator[bytes]:
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
