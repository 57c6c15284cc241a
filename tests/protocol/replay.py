"""Replays recorded requests against a server of ours, and says how the answers differ.

Requests go out as recorded: line, headers, framing, body; only the host is the one of our server.
Answers are compared whole. Left out are the headers of the connection (Server, Date, Connection)
and made comparable what is never the same twice: a token's signature, a request's id, the host, the date in a year.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import parsedate_to_datetime

from tests import raw
from tests.live_server import Server
from tests.protocol.recordings import Exchange, Message

_CONNECTION = {"server", "date", "connection"}
_IMAGE = re.compile(r"/v1/images/([0-9a-f]{64})/(\w+)")
_RANGE = re.compile(r"bytes=(\d+)-(\d+)")

# What an answer is, in parts: "status", "body", and "header Name" in lower case.
Parts = dict[str, object]


@dataclass(frozen=True)
class Difference:
    """One way in which we answer differently from the recording, and why.

    `now` makes from the recorded value what it must be now, exactly; None is an absent header.
    """

    what: str
    where: Callable[[Exchange], bool]
    now: Callable[[Exchange, object], object]
    point: str


@dataclass
class Replay:
    """Sends exchanges to one server, and remembers the bodies that .txt recordings omit."""

    server: Server
    differences: list[Difference]
    used: set[int] = field(default_factory=set)
    _jsons: dict[str, bytes] = field(default_factory=dict)
    _layers: dict[str, bytes] = field(default_factory=dict)
    _sums: dict[str, str] = field(default_factory=dict)  # recorded checksum -> ours

    def run(self, exchange: Exchange) -> list[str]:
        """Send the request; return the differences from the recorded response that are not intended."""
        body = self._request_body(exchange)
        answer = self._send(exchange, self._encode(exchange, body))
        expected = self._expected(exchange)
        found = self._actual(exchange, answer)
        where = f"{exchange.request.line[:110]}"
        return [
            f"{where}: {what} was {expected.get(what)!r}, is {found.get(what)!r}"
            for what in sorted({*expected, *found})
            if expected.get(what) != found.get(what)
        ]

    def interrupt(self, exchange: Exchange) -> None:
        """Send the head and half of the body, then close the connection."""
        data = self._encode(exchange, self._request_body(exchange))
        with raw.Connection(self.server) as connection:
            connection.send(data[: len(data) - exchange.request.size // 2])
            connection.abort()

    # -- the request --------------------------------------------------------------

    def _request_body(self, exchange: Exchange) -> bytes:
        request = exchange.request
        image = _IMAGE.search(exchange.path)
        body = request.body
        if exchange.method == "PUT" and image:
            image_id, part = image.groups()
            if part == "layer" and body is None:
                # left out of the recording: other bytes of the same size
                body = random.Random(image_id).randbytes(request.size)
            if part == "json" and body is not None:
                self._jsons[image_id] = body
            if part == "layer" and body is not None:
                self._layers[image_id] = body
            if part == "checksum":
                text = self._jsons[image_id] + b"\n" + self._layers[image_id]
                recorded = request.header("X-Docker-Checksum-Payload")
                assert recorded
                self._sums[recorded] = f"sha256:{hashlib.sha256(text).hexdigest()}"
        assert body is not None or request.size == 0
        return body or b""

    def _encode(self, exchange: Exchange, body: bytes) -> bytes:
        request = exchange.request
        lines = [f"{name}: {self._ours(exchange, value)}" for name, value in request.headers]
        head = "\r\n".join([request.line, *lines]).encode() + b"\r\n\r\n"
        if request.framing == "chunked":
            return head + raw.chunks(_pieces(body, request.chunks))
        return head + body

    def _send(self, exchange: Exchange, data: bytes) -> raw.Answer:
        with raw.Connection(self.server) as connection:
            connection.send(data)
            answer = connection.read(exchange.method)
            if exchange.request.header("Connection") == "close" and (rest := connection.rest()):
                raise raw.Malformed(f"bytes after the answer: {rest[:200]!r}")
            return answer

    def _ours(self, exchange: Exchange, value: str) -> str:
        host = exchange.request.header("Host")
        assert host
        return self._sums.get(value, value).replace(host, self.server.host)

    # -- the answer ---------------------------------------------------------------

    def _expected(self, exchange: Exchange) -> Parts:
        answer = exchange.answer
        pairs = [(name, self._ours(exchange, value)) for name, value in answer.headers]
        parts = _parts(exchange, exchange.status, pairs, self._answer_body(exchange))
        for index, difference in enumerate(self.differences):
            if not difference.where(exchange):
                continue
            before = parts.get(difference.what)
            now = difference.now(exchange, before)
            if now != before:
                self.used.add(index)
            parts[difference.what] = now
        return {what: value for what, value in parts.items() if value is not None}

    def _answer_body(self, exchange: Exchange) -> bytes:
        if exchange.answer.body is not None:
            return exchange.answer.body
        image = _IMAGE.search(exchange.path)
        assert image, exchange.request.line
        layer = self._layers[image[1]]
        wanted = _RANGE.fullmatch(exchange.request.header("Range") or "")
        # engines name as the end one byte more than there is
        return layer[int(wanted[1]) : int(wanted[2]) + 1] if wanted else layer

    def _actual(self, exchange: Exchange, answer: raw.Answer) -> Parts:
        return _parts(exchange, answer.status, answer.headers, answer.body)


def _parts(exchange: Exchange, status: int, pairs: list[tuple[str, str]], body: bytes) -> Parts:
    dates = [value for name, value in pairs if name.lower() == "date"]
    parts: Parts = {"status": status, "body": _comparable_body(exchange, body)}
    for name, value in pairs:
        if name.lower() in _CONNECTION:
            continue
        what = f"header {name.lower()}"
        text = _comparable(name.lower(), value, dates[0])
        parts[what] = f"{parts[what]} and {text}" if what in parts else text
    return parts


def _comparable(name: str, value: str, date: str) -> str:
    if name in ("x-docker-token", "www-authenticate"):
        return re.sub(r"signature=[A-Z0-9]{16},", "signature=S,", value)
    if name == "x-request-id" and re.fullmatch(r"[0-9a-f]{20}", value):
        return "an id"
    if name == "expires" and value.endswith("GMT"):
        year = parsedate_to_datetime(value) - parsedate_to_datetime(date)
        if abs(year - timedelta(days=365)) <= timedelta(seconds=2):
            return "in a year"
    return value


def _comparable_body(exchange: Exchange, body: bytes) -> object:
    if exchange.method == "GET" and exchange.path.endswith("/images") and body.startswith(b"["):
        # the one order that the protocol calls arbitrary (protocol-v1.md section 2.1)
        return sorted(json.loads(body), key=lambda item: item["id"])
    return body


def _pieces(body: bytes, count: int) -> list[bytes]:
    """`body` in `count` pieces: first the ten bytes of gzip's header, as Go flushes it."""
    if count < 2 or len(body) < count + 10:
        return [body]
    size = -(-(len(body) - 10) // (count - 1))
    return [body[:10], *(body[i : i + size] for i in range(10, len(body), size))]


def proxied(message: Message) -> bool:
    """Return whether an nginx in front of the registry sent this response itself."""
    challenge = message.header("WWW-Authenticate") or ""
    return challenge.startswith("Basic") or b"<center>nginx/" in (message.body or b"")
