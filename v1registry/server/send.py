"""A byte range of an open file as the body of an answer.

A Flask handler returns it like this, with the length in the headers::

    body = FileRange(file, start, length)
    answer = Response(body, status, headers, direct_passthrough=True)
    answer.headers["Content-Length"] = str(length)

Our worker sends the range with `os.sendfile`. Over TLS, under another server, or if a middleware has
wrapped the iterable, it is read in pieces of 1 MiB.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from typing import Any, BinaryIO

PIECE = 1024 * 1024
"""Bytes of one read where os.sendfile cannot be used."""


class Truncated(OSError):
    """Raised if the file ends before the announced length; the connection must then be closed."""

    def __init__(self, missing: int) -> None:
        super().__init__(f"the file is {missing} bytes shorter than announced")
        self.missing = missing


class FileRange:
    """`length` bytes of `file` from offset `start`: an iterable of bytes which owns the file.

    `file` is a regular file, open for reading, with a file descriptor. Its position is neither used
    nor moved, so several ranges may share one open file. WSGI servers call `close` at the end of
    every answer, even for HEAD and after a broken connection.

    Iterating raises Truncated if the file ends early.
    """

    def __init__(self, file: BinaryIO, start: int, length: int) -> None:
        if start < 0 or length < 0:
            raise ValueError("a range begins at 0 or later and has no negative length")
        self.file = file
        self.start = start
        self.length = length

    def __iter__(self) -> Iterator[bytes]:
        descriptor = self.file.fileno()
        at, end = self.start, self.start + self.length
        while at < end:
            piece = os.pread(descriptor, min(PIECE, end - at), at)
            if not piece:
                raise Truncated(end - at)
            at += len(piece)
            yield piece

    def close(self) -> None:
        """Close the file. May be called more than once."""
        self.file.close()


def disconnect(environ: dict[str, Any]) -> None:
    """Close the connection of a request whose answer is being sent. The sender gets an OSError."""
    sock: Any = environ.get("gunicorn.socket")
    with contextlib.suppress(OSError, AttributeError):
        sock._sock.shutdown(socket.SHUT_RDWR)


def is_client_gone(environ: dict[str, Any]) -> bool:
    """Return whether the client of this request has closed its connection.

    Always False over TLS and under another server, where this cannot be detected.
    """
    sock: Any = environ.get("gunicorn.socket")
    return hasattr(sock, "has_ended") and bool(sock.has_ended())
