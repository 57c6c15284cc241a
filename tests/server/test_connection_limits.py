"""Slow clients: every small body has a timeout, and one address cannot use all connections."""

from __future__ import annotations

import contextlib
import secrets
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests import raw
from tests.live_server import Server
from tests.protocol import engine
from tests.protocol.engine import image
from tests.tls import make_certificate
from tests.waiting import wait_for
from v1registry.lib.support.throttle import network

CONNECTIONS = 40  # of the one process
FLOOD = 150
ATTACKER, OTHER = "127.0.0.2", "127.0.0.3"
SMALL_BODIES = (
    ("POST", "/v1/users/"),
    ("PUT", "/v1/repositories/slow/app/"),
    ("PUT", "/v1/repositories/slow/app/images"),
    ("PUT", "/v1/repositories/slow/app/tags/latest"),
    ("PUT", "/v1/repositories/slow/app/properties"),
    ("PUT", f"/v1/images/{'ab' * 32}/json"),
)


def begin(
    method: str, path: str, headers: str = "", framing: str = "Content-Length: 1000"
) -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}{framing}\r\n\r\n".encode()


def drip(
    server: Server, heads: list[bytes], piece: bytes, seconds: float
) -> list[tuple[int, float]]:
    """Send the bodies for `heads` piece by piece; return the status and the time of each answer."""
    begun = time.monotonic()
    connections = [raw.Connection(server) for _ in heads]
    answers: dict[int, tuple[int, float]] = {}
    for connection, head in zip(connections, heads, strict=True):
        connection.send(head)
    while len(answers) < len(heads) and time.monotonic() < begun + seconds:
        for number, connection in enumerate(connections):
            if number in answers:
                continue
            connection.socket.settimeout(0.01)
            with contextlib.suppress(TimeoutError):
                status = connection.read("PUT").status
                answers[number] = (status, time.monotonic() - begun)
                continue
            connection.socket.settimeout(30)
            connection.send(piece)
        time.sleep(0.1)
    for connection in connections:
        connection.close()
    return [answers.get(number, (0, 0.0)) for number in range(len(heads))]


@pytest.fixture(params=["plain", "TLS"])
def impatient(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    made = make_certificate(tmp_path / "tls") if request.param == "TLS" else None
    tls = (made.certificate, made.key) if made else None
    with Server(tmp_path / "store", env={"LIMITS_BODY_SECONDS": "2"}, tls=tls) as running:
        engine.push(running, "slow/app", [image("slow")], ["latest"])
        yield running


@pytest.mark.parametrize(
    ("framing", "piece"),
    [("Content-Length: 1000", b" "), ("Transfer-Encoding: chunked", b"1\r\n \r\n")],
)
def test_every_small_body_has_a_timeout(impatient: Server, framing: str, piece: bytes) -> None:
    heads = [begin(method, path, framing=framing) for method, path in SMALL_BODIES]
    answers = drip(impatient, heads, piece, 10)
    assert [status for status, _ in answers] == [408] * len(heads)
    assert all(2 <= seconds < 6 for _, seconds in answers), answers


def test_a_slow_body_within_the_timeout_is_served(impatient: Server) -> None:
    data = b"[" + b" " * 8 + b"]"
    head = begin("PUT", "/v1/repositories/slow/app/", framing=f"Content-Length: {len(data)}")
    with raw.Connection(impatient) as connection:
        connection.send(head)
        for byte in data:
            connection.send(bytes([byte]))
            time.sleep(0.05)
        assert connection.read("PUT").status == 200


# -- the share of one address -------------------------------------------------------------------------


@pytest.fixture
def narrow(store: Path) -> Iterator[Server]:
    env = {"GUNICORN_WORKER_CONNECTIONS": str(CONNECTIONS)}
    with Server(store, env=env) as running:
        yield running


class From:
    """A client with its own loopback address."""

    def __init__(self, server: Server, address: str) -> None:
        self._server = server
        self._address = address

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def host(self) -> str:
        return self._server.host

    def connect(self, timeout: float = 5) -> socket.socket:
        address = ("127.0.0.1", self._server.port)
        return socket.create_connection(address, timeout, (self._address, 0))


@contextlib.contextmanager
def flood(source: From, sent: bytes) -> Iterator[list[socket.socket]]:
    """Many open connections that send `sent` and nothing more."""
    with contextlib.ExitStack() as stack:
        opened = []
        for _ in range(FLOOD):
            opened.append(stack.enter_context(source.connect()))
            opened[-1].sendall(sent)
        time.sleep(0.5)  # they are accepted
        yield opened


def answers(source: From, headers: Mapping[str, str]) -> bool:
    """Return whether a new client is served, and not refused with 429."""
    with raw.Connection(source, timeout=5) as connection:  # type: ignore[arg-type]
        connection.send(raw.encode("GET", "/v1/_ping", "x", headers))
        return connection.read().status == 200


def served(source: From, headers: Mapping[str, str] | None = None) -> float:
    """Return the seconds until a new client has its answer."""
    begun = time.monotonic()
    data = raw.encode("GET", "/v1/_ping", "x", headers or {})
    with raw.Connection(source, timeout=5) as connection:  # type: ignore[arg-type]
        connection.send(data)
        assert connection.read().status == 200
    return time.monotonic() - begun


SLOW = {
    "a small body": begin("POST", "/v1/users/"),
    "a small body in chunks": begin("POST", "/v1/users/", framing="Transfer-Encoding: chunked"),
    "a head": b"GET /v1/_ping HTTP/1.1\r\nHost",
    "nothing sent": b"",
    "a second request": b"GET /v1/_ping HTTP/1.1\r\nHost: x\r\n\r\n",
    "a part of a second head": b"GET /v1/_ping HTTP/1.1\r\nHost: x\r\n\r\nGET /v1/_ping HT",
    "a small unread body": begin("PUT", "/v1/users/x"),
    "an unread body": begin("PUT", "/v1/users/x", framing="Content-Length: 1000000"),
}


@pytest.mark.parametrize("sent", SLOW.values(), ids=SLOW)
def test_new_clients_are_served_while_one_address_sends_slowly(narrow: Server, sent: bytes) -> None:
    """New clients with another address, and with the same one."""
    with flood(From(narrow, ATTACKER), sent):
        assert served(From(narrow, OTHER)) < 2
        assert served(From(narrow, ATTACKER)) < 2
    assert "the limit for one address" in narrow.log
    assert narrow.log.count("the limit for one address") == 1
    assert "Traceback" not in narrow.log


def test_a_push_goes_on_while_its_address_sends_slowly(narrow: Server) -> None:
    pushed = image("going on", layer=secrets.token_bytes(100_000))
    source = From(narrow, ATTACKER)
    engine.expect(raw.put(narrow, pushed.path("json"), pushed.json))
    data = raw.encode("PUT", pushed.path("layer"), narrow.host, body=pushed.layer)
    with raw.Connection(source, timeout=5) as push:  # type: ignore[arg-type]
        push.send(data[:50_000])
        time.sleep(0.2)
        with flood(source, begin("POST", "/v1/users/")):
            push.send(data[50_000:])
            engine.expect(push.read("PUT"))


@pytest.mark.parametrize("forwarded", [False, True], ids=["direct", "behind a proxy"])
def test_an_address_whose_connections_are_all_busy_gets_429(store: Path, forwarded: bool) -> None:
    headers = {"X-Forwarded-For": "203.0.113.7"} if forwarded else {}
    with Server(store, env={"GUNICORN_ADDRESS_CONNECTIONS": "2"}) as server:
        source = From(server, "127.0.0.1" if forwarded else ATTACKER)
        with contextlib.ExitStack() as stack:
            for word in ("one", "two"):
                pushed = image(word)
                engine.expect(raw.put(server, pushed.path("json"), pushed.json))
                push = stack.enter_context(raw.Connection(source))  # type: ignore[arg-type]
                size = {"Content-Length": "1000", **headers}
                head = raw.encode("PUT", pushed.path("layer"), "x", size)
                push.send(head.replace(b"Content-Length: 0\r\n", b"") + b"x")

            def third() -> raw.Answer:
                with raw.Connection(source) as connection:  # type: ignore[arg-type]
                    connection.send(raw.encode("GET", "/v1/_ping", "x", headers))
                    return connection.read()

            answer = wait_for(lambda: (found := third()).status != 200 and found)
            assert (answer.status, answer.header("Connection")) == (429, "close")
            assert answer.json() == {"error": "Too many connections from this address, retry later"}
            assert answer.header("Retry-After")
            assert served(From(server, OTHER)) < 2
        wait_for(lambda: answers(source, headers))  # the closed connections no longer count


def test_clients_behind_a_proxy_count_separately(narrow: Server) -> None:
    """The loopback is a trusted proxy by default."""
    proxy = From(narrow, "127.0.0.1")
    slow = begin("POST", "/v1/users/", "X-Forwarded-For: 203.0.113.7\r\n")
    with flood(proxy, slow):
        assert served(proxy, {"X-Forwarded-For": "203.0.113.8"}) < 2
        assert served(proxy, {"X-Forwarded-For": "203.0.113.7"}) < 2
        assert served(proxy) < 2


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:0:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
    ],
)
def test_what_counts_as_one_client(one: str, other: str, same: bool) -> None:
    assert (network(one) == network(other)) is same
