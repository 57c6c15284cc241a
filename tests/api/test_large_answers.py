"""Large answers that clients read slowly: their memory is limited, for each address and in total."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask, Response

from tests import raw
from tests.live_server import Server
from tests.protocol import seed
from tests.tls import make_certificate
from tests.waiting import wait_for
from v1registry.api import answers, large_answers
from v1registry.api.large_answers import PATIENCE, SHARE, SMALL, TOTAL, LargeAnswers

ID = "a" * 64
PATH = f"/v1/images/{ID}/json"
LARGE = SHARE // 2 - 1000  # bytes of the comment in the image JSON


# -- a real server ----------------------------------------------------------------------------------


@pytest.fixture(params=["plain", "TLS"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    made = make_certificate(tmp_path / "tls") if request.param == "TLS" else None
    tls = (made.certificate, made.key) if made else None
    data = json.dumps({"id": ID, "comment": "c" * LARGE}).encode()
    seed.image(tmp_path / "store", data, b"layer", [ID])
    env = {"GUNICORN_WORKERS": "1", "TRUSTED_PROXIES": "127.0.0.1"}
    with Server(tmp_path / "store", env=env, tls=tls) as running:
        yield running


class SlowReader(raw.Connection):
    """Requests the large answer and reads nothing. Its small buffer keeps the bytes at the server."""

    def __init__(self, server: Server, address: str) -> None:
        super().__init__(server)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        head = f"GET {PATH} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {address}\r\n\r\n"
        self.send(head.encode())
        assert self.socket.recv(12) == b"HTTP/1.1 200"


def ask(server: Server, address: str) -> raw.Answer:
    return raw.get(server, PATH, {"X-Forwarded-For": address})


def test_slow_readers_leave_memory_for_others(server: Server) -> None:
    with contextlib.ExitStack() as stack:
        first, _ = (stack.enter_context(SlowReader(server, "192.0.2.1")) for _ in range(2))
        answer = ask(server, "192.0.2.1")
        assert (answer.status, answer.header("Retry-After")) == (503, "5")
        assert "large answers" in answer.json()["error"]
        assert raw.head(server, PATH, {"X-Forwarded-For": "192.0.2.1"}).status == 200
        assert raw.get(server, "/v1/_ping", {"X-Forwarded-For": "192.0.2.1"}).status == 200
        assert ask(server, "192.0.2.2").status == 200
        # A /64 network is one client.
        stack.enter_context(SlowReader(server, "2001:db8::1"))
        stack.enter_context(SlowReader(server, "2001:db8::2"))
        assert ask(server, "192.0.2.3").status == 503  # the memory of the process is used up
        first.abort()
        wait_for(lambda: ask(server, "192.0.2.3").status == 200)
    wait_for(lambda: ask(server, "192.0.2.1").status == 200)


@pytest.mark.heavy
def test_a_client_that_reads_for_long_is_disconnected_for_another(server: Server) -> None:
    def ended() -> int:
        """Return how many large answers have ended, in any way."""
        return sum("192.0.2.1" in line and '/json" 200' in line for line in server.log.splitlines())

    with SlowReader(server, "192.0.2.1"), SlowReader(server, "192.0.2.1"):
        assert ended() == 0
        wait_for(lambda: ask(server, "192.0.2.1").status == 200, 3 * PATIENCE)
        wait_for(lambda: ended() == 2)


# -- one process, with a clock of its own -----------------------------------------------------------


class World:
    """The limit and its clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self._limit = LargeAnswers()
        self._app = Flask(__name__)
        self.sockets: list[socket.socket] = []

    def send(self, response: Response, address: str, method: str = "GET") -> tuple[Response, Any]:
        """Return the answer that is sent instead, and the client's end of the connection."""
        ours, client = socket.socketpair()
        self.sockets += ours, client
        environ = {"v1registry.client": address, "gunicorn.socket": SimpleNamespace(_sock=ours)}
        with self._app.test_request_context(method=method, environ_overrides=environ):
            return self._limit.admit(response), client

    def status(self, size: int, address: str = "192.0.2.9", method: str = "GET") -> int:
        """Return the status of an answer of this size, which the client reads at once."""
        sent, _ = self.send(body(size), address, method)
        sent.close()
        return sent.status_code


def body(size: int) -> Response:
    return answers.FinalResponse(bytes(size), 200, [])


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World()
    monkeypatch.setattr(large_answers.time, "monotonic", lambda: made.now)
    yield made
    for sock in made.sockets:
        sock.close()


def is_disconnected(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False


def test_the_share_of_an_address(world: World) -> None:
    held = [world.send(body(SHARE // 4), "192.0.2.1") for _ in range(4)]
    assert {sent.status_code for sent, _ in held} == {200}
    assert world.status(SMALL + 1, "192.0.2.1") == 503
    assert world.status(SMALL, "192.0.2.1") == 200
    assert world.status(SHARE, "192.0.2.1", "HEAD") == 200
    assert world.status(SHARE, "192.0.2.2") == 200
    held[0][0].close()
    assert world.status(SHARE // 4, "192.0.2.1") == 200
    assert not any(is_disconnected(client) for _, client in held)


def test_the_largest_answer_is_sent_if_little_else_is(world: World) -> None:
    assert world.status(3 * TOTAL) == 200
    huge, _ = world.send(body(3 * TOTAL), "192.0.2.1")
    assert huge.status_code == 200
    assert world.status(3 * TOTAL, "192.0.2.2") == 200
    assert world.status(SMALL + 1, "192.0.2.1") == 503


def test_answers_made_while_they_are_sent_count_too(world: World) -> None:
    size, held = answers.StreamedResponse.held, []
    while True:
        sent, _ = world.send(answers.StreamedResponse(iter([b"x"]), 200), "192.0.2.1")
        if sent.status_code != 200:
            break
        held.append(sent)
    assert len(held) == SHARE // size


def test_clients_that_have_read_for_long_make_room(world: World) -> None:
    held = []
    for number in range(4):
        held.append(world.send(body(TOTAL // 4), f"192.0.2.{number}"))
        world.now += PATIENCE / 4
    assert world.status(SMALL + 1) == 200  # the oldest has read for PATIENCE seconds
    assert [is_disconnected(client) for _, client in held] == [True, False, False, False]
    assert world.status(TOTAL // 4) == 200
    assert world.status(TOTAL // 4 + 1) == 503  # the others are younger
    assert [is_disconnected(client) for _, client in held] == [True, False, False, False]
    held[0][0].close()  # its end changes nothing more
    assert world.status(TOTAL // 4 + 1) == 503


def test_an_address_makes_room_for_itself_first(world: World) -> None:
    _, other = world.send(body(SHARE), "192.0.2.1")
    _, own = world.send(body(SHARE), "192.0.2.2")
    world.now += PATIENCE
    assert world.status(SHARE, "192.0.2.2") == 200
    assert is_disconnected(own)
    assert not is_disconnected(other)


def test_nobody_is_disconnected_without_use(world: World) -> None:
    """The answer would not fit even without the slow client."""
    _, slow = world.send(body(SMALL + 1), "192.0.2.1")
    world.now += PATIENCE
    held = [world.send(body(SHARE // 2), "192.0.2.1") for _ in range(2)]
    assert [sent.status_code for sent, _ in held] == [200, 200]
    assert is_disconnected(slow)
    _, slow = world.send(body(SHARE // 2), "192.0.2.2")
    world.now += PATIENCE / 2
    _, young = world.send(body(SHARE // 2), "192.0.2.2")
    world.now += PATIENCE / 2
    assert world.status(SHARE, "192.0.2.2") == 503
    assert not is_disconnected(slow)
    assert not is_disconnected(young)
