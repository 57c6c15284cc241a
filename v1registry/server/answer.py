"""gunicorn's Response with a request id, real sendfile, and honest ends of connections."""

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
from v1registry.server.sockets import EdgeSocket

DRAIN = 64 * 1024
"""Bytes of an unread body that are worth reading to keep a connection."""

TOGETHER = 16 * 1024
"""Bytes of a body's first piece that go out in one packet with the head, if no more."""


class Answer(Response):  # type: ignore[misc]
    """The answer to one request on one connection. See gunicorn.http.wsgi.Response."""

    request_id = "-"
    sock: Any

    def default_headers(self) -> list[str]:
        """The head's first lines; whether the connection is kept is decided here, once."""
        if unread(self.req) > DRAIN:
            # The rest of the body is never read: say so now, then end the connection gently.
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
        """As gunicorn's, where a header's name is judged once for all answers."""
        for header in headers:
            name, value = header
            if _is_end_to_end(name) and HEADER_VALUE_RE.fullmatch(value):
                self.headers.append((name, value.strip(" \t")))
            else:
                super().process_headers([header])

    def write(self, arg: Any) -> None:
        """As gunicorn's; but a small answer is one call and one packet."""
        if self.headers_sent or len(arg) > TOGETHER:
            super().write(arg)
            return
        sock, self.sock = self.sock, _Gathered()
        try:
            super().write(arg)
        finally:
            gathered, self.sock = self.sock, sock
        sock.sendall(b"".join(gathered.parts))

    def send(self, body: Any, file_wrapper: type) -> None:
        """Send what the application returned, headers first, to the last announced byte.

        :raises Truncated: there was less than the announced Content-Length.
        """
        if isinstance(body, FileRange):
            self.send_range(body)
        elif isinstance(body, file_wrapper):
            self.write_file(body)
        else:
            for item in body:
                self.write(item)
        self.close()
        if self.response_length is not None and not self._omits_body:
            missing = self.response_length - self.sent
            if missing > 0:
                raise Truncated(missing)

    def send_range(self, body: FileRange) -> None:
        """Send a FileRange, by os.sendfile where the connection is a plain one."""
        if self._omits_body or not body.length:
            self.send_headers()
        elif isinstance(self.sock, EdgeSocket) and self.response_length == body.length:
            before = self.sock.file_bytes
            self.sock.cork(True)  # for good if this fails: closing the connection sends the rest
            self.send_headers()
            try:
                self.sock.sendfile(body.file, body.start, body.length)
            finally:
                self.sent += self.sock.file_bytes - before
            self.sock.cork(False)
        else:
            for piece in body:
                self.write(piece)

    def sendfile(self, respiter: Any) -> bool:
        """gunicorn's, for `wsgi.file_wrapper`, with the bytes counted."""
        if not isinstance(self.sock, EdgeSocket):
            return False
        before = self.sock.file_bytes
        try:
            return bool(super().sendfile(respiter))
        finally:
            self.sent += self.sock.file_bytes - before


@lru_cache(maxsize=256)
def _is_end_to_end(name: str) -> bool:
    """Whether a header of this name goes to the client as it is, and tells gunicorn nothing."""
    return bool(
        TOKEN_RE.fullmatch(name) and not util.is_hoppish(name) and name.lower() != "content-length"
    )


class _Gathered:
    """In place of a connection while what is to be sent together is put together."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def sendall(self, data: bytes) -> None:
        self.parts.append(data)


def unread(request: Any) -> int:
    """Bytes of the request's body that nobody has read; more than any limit when not known."""
    body = request.body
    if body.failed:
        return 1 << 62
    reader = body.reader
    if type(reader) is LengthReader:
        return int(reader.length)
    if type(reader) is ChunkedReader and reader.parser is None:
        return 0
    return 1 << 62
