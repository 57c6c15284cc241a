"""gunicorn's Response with a request id and sendfile; it detects answers that are too short."""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from gunicorn import util  # type: ignore[import-untyped]
from gunicorn.http.body import ChunkedReader, LengthReader  # type: ignore[import-untyped]
from gunicorn.http.message import TOKEN_RE  # type: ignore[import-untyped]
from gunicorn.http.wsgi import HEADER_VALUE_RE, Response  # type: ignore[import-untyped]

from v1registry.lib.units import http_date
from v1registry.server.send import FileRange, Truncated
from v1registry.server.sockets import ClientSocket

DRAIN = 64 * 1024
"""Largest unread rest of a body, in bytes, that is read to keep the connection open."""

TOGETHER = 16 * 1024
"""Largest first piece of a body, in bytes, that is sent in one call with the head."""


class Answer(Response):  # type: ignore[misc]
    """The answer to one request on one connection. See gunicorn.http.wsgi.Response."""

    request_id = "-"
    sock: Any

    def default_headers(self) -> list[str]:
        """Return the head's first lines; decide whether the connection is kept open."""
        if unread(self.req) > DRAIN:
            # The rest of the body is not read, so the connection must be closed after the answer.
            self.force_close()
        kept = "close" if self.should_close() else "keep-alive"
        major, minor = self.req.version
        headers = [
            f"HTTP/{major}.{minor} {self.status}\r\nServer: {self.version}\r\n"
            f"Date: {http_date(int(time.time()))}\r\nConnection: {kept}\r\n"
            f"X-Request-Id: {self.request_id}\r\n"
        ]
        if self.chunked:
            headers.append("Transfer-Encoding: chunked\r\n")
        return headers

    def process_headers(self, headers: Iterable[tuple[str, str]]) -> None:
        """As gunicorn's, but check each header name only once for all answers."""
        for header in headers:
            name, value = header
            if _is_end_to_end(name) and HEADER_VALUE_RE.fullmatch(value):
                self.headers.append((name, value.strip(" \t")))
            else:
                super().process_headers([header])

    def write(self, arg: Any) -> None:
        """As gunicorn's, but send a small answer with its head in one call."""
        if self.headers_sent or len(arg) > TOGETHER:
            super().write(arg)
            return
        sock, self.sock = self.sock, _PartCollector()
        try:
            super().write(arg)
        finally:
            collector, self.sock = self.sock, sock
        sock.sendall(b"".join(collector.parts))

    def send(self, body: Iterable[bytes]) -> None:
        """Send the headers and what the application returned.

        :raises Truncated: the body was shorter than its Content-Length.
        """
        if isinstance(body, FileRange):
            self.send_range(body)
        else:
            for item in body:
                self.write(item)
        self.close()
        if self.response_length is not None and not self._omits_body:
            missing = self.response_length - self.sent
            if missing > 0:
                raise Truncated(missing)

    def send_range(self, body: FileRange) -> None:
        """Send a FileRange, with os.sendfile if the connection is a plain one."""
        if self._omits_body or not body.length:
            self.send_headers()
        elif isinstance(self.sock, ClientSocket) and self.response_length == body.length:
            before = self.sock.file_bytes
            self.sock.cork(True)  # not undone after a failure: the close sends the rest
            self.send_headers()
            try:
                self.sock.sendfile(body.file, body.start, body.length)
            finally:
                self.sent += self.sock.file_bytes - before
            self.sock.cork(False)
        else:
            for piece in body:
                self.write(piece)


@lru_cache(maxsize=256)
def _is_end_to_end(name: str) -> bool:
    """Return whether a header of this name is sent unchanged and has no meaning for gunicorn."""
    return bool(
        TOKEN_RE.fullmatch(name) and not util.is_hoppish(name) and name.lower() != "content-length"
    )


class _PartCollector:
    """Replaces a connection while the parts of one packet are collected."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def sendall(self, data: bytes) -> None:
        self.parts.append(data)


def unread(request: Any) -> int:
    """Return the number of unread bytes of the request's body; a huge number if it is unknown."""
    body = request.body
    if body.failed:
        return 1 << 62
    reader = body.reader
    if type(reader) is LengthReader:
        return int(reader.length)
    if type(reader) is ChunkedReader and reader.parser is None:
        return 0
    return 1 << 62
