"""A small HTTP/1.1 client over a bare socket: sends bytes exactly, and reads answers strictly.

No library stands between a test and the wire: what is sent is what the test says, and an answer
that is framed wrongly (a wrong Content-Length, bytes after the end) is an error here.

    answer = raw.request(server, "PUT", "/v1/users/x/", body=b"{}")
    assert (answer.status, answer.json()) == (204, None)
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.live_server import Server

Headers = Mapping[str, str] | Iterable[tuple[str, str]]

_CHUNK = 32 * 1024  # as Docker engines send


class Malformed(AssertionError):
    """Raised for an answer with malformed HTTP framing."""


@dataclass(frozen=True)
class Answer:
    """One answer. Header names keep their case and order; `body` is without framing."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header(self, name: str) -> str | None:
        """Return the value of a header that may occur only once."""
        values = self.all(name)
        if len(values) > 1:
            raise Malformed(f"{name} stands there {len(values)} times: {values}")
        return values[0] if values else None

    def json(self) -> Any:
        """Return the parsed body; None without a body."""
        return json.loads(self.body) if self.body else None

    def __str__(self) -> str:
        head = "\n".join(f"{k}: {v}" for k, v in self.headers)
        return f"{self.status} {self.reason}\n{head}\n\n{self.body[:2000]!r}"


class Connection:
    """One connection: for keep-alive, pipelining, and clients that disconnect in the middle."""

    def __init__(self, server: Server, timeout: float = 30) -> None:
        self.socket = server.connect(timeout)
        self._buffer = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read(self, method: str = "GET") -> Answer:
        """Return the next answer, except interim answers (100 Continue)."""
        while True:
            head = self._until(b"\r\n\r\n")
            status, reason, headers = _head(head)
            if status >= 200:
                break
        return Answer(status, reason, headers, self._body(method, status, headers))

    def read_interim(self) -> int:
        """Return the status of the next answer, which has no headers: for 100 Continue."""
        return _head(self._until(b"\r\n\r\n"))[0]

    def rest(self) -> bytes:
        """Return all bytes until the server closes the connection."""
        data = self._buffer
        self._buffer = b""
        try:
            while piece := self.socket.recv(65536):
                data += piece
        except ConnectionResetError:
            pass
        return data

    def abort(self) -> None:
        """Close with a reset, as a killed process does."""
        self.socket.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00"
        )
        self.socket.close()

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _more(self) -> None:
        piece = self.socket.recv(262144)
        if not piece:
            raise Malformed(f"the connection ended after {self._buffer[:300]!r}")
        self._buffer += piece

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            self._more()
        found, self._buffer = self._buffer.split(mark, 1)
        return found

    def _exactly(self, size: int) -> bytes:
        parts = [self._buffer]
        have = len(self._buffer)
        while have < size:
            piece = self.socket.recv(min(262144, size - have))
            if not piece:
                raise Malformed(f"the connection ended {size - have} bytes before the end")
            parts.append(piece)
            have += len(piece)
        data = b"".join(parts)
        self._buffer = data[size:]
        return data[:size]

    def _body(self, method: str, status: int, headers: list[tuple[str, str]]) -> bytes:
        if method == "HEAD" or status in (204, 304):
            return b""
        names = {name.lower(): value for name, value in headers}
        coded, length = names.get("transfer-encoding"), names.get("content-length")
        if coded is not None and length is not None:
            raise Malformed("both Transfer-Encoding and Content-Length")
        if coded is not None:
            return self._chunks()
        if length is not None:
            return self._exactly(int(length))
        return self.rest()

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self._until(b"\r\n"), 16):
            body += self._exactly(size)
            if self._exactly(2) != b"\r\n":
                raise Malformed("a chunk that does not end with CRLF")
        if self._until(b"\r\n"):
            raise Malformed("trailers")
        return body


def _head(text: bytes) -> tuple[int, str, list[tuple[str, str]]]:
    first, *lines = text.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    status, _, reason = rest.partition(" ")
    if version not in ("HTTP/1.1", "HTTP/1.0") or not status.isdigit():
        raise Malformed(f"no status line: {first!r}")
    headers = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or name != name.strip():
            raise Malformed(f"no header: {line!r}")
        headers.append((name, value.strip()))
    return int(status), reason, headers


def chunked(body: bytes, size: int = _CHUNK) -> bytes:
    """Return `body` in chunks of `size` bytes, with the last chunk."""
    pieces = [body[i : i + size] for i in range(0, len(body), size)]
    return chunks(pieces)


def chunks(pieces: Iterable[bytes]) -> bytes:
    """Return the pieces as chunks, with the last chunk."""
    framed = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece]
    return b"".join([*framed, b"0\r\n\r\n"])


def encode(
    method: str,
    path: str | bytes,
    host: str,
    headers: Headers = (),
    body: bytes | None = None,
    chunk: int | None = None,
) -> bytes:
    """Return the bytes of one request; `path` is sent unchanged.

    With `chunk`, the body goes in chunks of so many bytes, else with its length. Host and
    Connection: close are there unless `headers` says otherwise.
    """
    pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
    named = {name.lower() for name, _ in pairs}
    start = [(n, v) for n, v in (("Host", host), ("Connection", "close")) if n.lower() not in named]
    if chunk is not None:
        pairs.append(("Transfer-Encoding", "chunked"))
        framed = chunked(body or b"", chunk)
    else:
        framed = body or b""
        if body is not None or method in ("PUT", "POST"):
            pairs.append(("Content-Length", str(len(framed))))
    raw_path = path if isinstance(path, bytes) else path.encode("latin-1")
    lines = [f"{name}: {value}".encode("latin-1") for name, value in [*start, *pairs]]
    return b"\r\n".join([method.encode() + b" " + raw_path + b" HTTP/1.1", *lines, b"", framed])


def exchange(server: Server, data: bytes, method: str | None = None, timeout: float = 30) -> Answer:
    """Send exactly these bytes on a new connection, and read one answer.

    After the answer the server must close, and say nothing more: so a request that does not ask
    for `Connection: close` must be one after which the server closes by itself.
    """
    with Connection(server, timeout) as connection:
        try:
            connection.send(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the server answered early and closed; its answer can still be read
        answer = connection.read(method or data.split(b" ", 1)[0].decode("latin-1"))
        if rest := connection.rest():
            raise Malformed(f"bytes after the answer: {rest[:300]!r}")
        return answer


def request(
    server: Server,
    method: str,
    path: str | bytes,
    headers: Headers = (),
    body: bytes | None = None,
    chunk: int | None = None,
) -> Answer:
    """Send one request on a new connection, as engines do; see `encode`."""
    return exchange(server, encode(method, path, server.host, headers, body, chunk), method)


def get(server: Server, path: str | bytes, headers: Headers = ()) -> Answer:
    return request(server, "GET", path, headers)


def head(server: Server, path: str | bytes, headers: Headers = ()) -> Answer:
    return request(server, "HEAD", path, headers)


def put(
    server: Server,
    path: str | bytes,
    body: bytes = b"",
    headers: Headers = (),
    chunk: int | None = None,
) -> Answer:
    return request(server, "PUT", path, headers, body, chunk)


def delete(server: Server, path: str | bytes, headers: Headers = ()) -> Answer:
    return request(server, "DELETE", path, headers)
