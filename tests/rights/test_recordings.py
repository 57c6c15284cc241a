"""Recorded engines against accounts of ours, with TLS: what an nginx with a password file answered
in the recordings, the registry answers itself now, and all the rest is as before.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import raw
from tests.live_server import Server
from tests.protocol import recordings, seed
from tests.protocol.differences import DIFFERENCES
from tests.protocol.recordings import Exchange
from tests.protocol.replay import Replay, proxied
from tests.rights.accounts import environment, password_file
from tests.rights.tls import certificate

FILES = [
    name
    for name in recordings.names("*-auth*.txt")
    if name != "1.0.1-authtls-search.txt"  # this engine could not search there: no request in it
]


@pytest.fixture(scope="module")
def replay(server: Server) -> Replay:
    """One object for all tests, because it remembers what the pushes sent."""
    return Replay(server, DIFFERENCES)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("recordings")
    store = folder / "store"
    for name in recordings.names("*-authtls-search.txt"):
        for exchange in recordings.read(name):
            if exchange.path.startswith("/v1/search") and not proxied(exchange.answer):
                for result in json.loads(exchange.answer.body or b"")["results"]:
                    seed.image_list(store / "repositories" / result["name"], [])
    env = environment(password_file(folder, ["user"], "secret"), SEARCH_BACKEND="sqlalchemy")
    with Server(store, env=env, tls=certificate(folder)) as running:
        yield running


def _in_order() -> list[str]:
    """Pushes before pulls of the same engine: what was pushed is pulled."""
    return sorted(FILES, key=lambda name: ("-pull" in name, name))


@pytest.mark.parametrize("name", _in_order())
def test_the_answers_to_an_engine(server: Server, replay: Replay, name: str) -> None:
    _seed_for_pull(server.store, name)
    for exchange in recordings.read(name):
        if proxied(exchange.answer):
            _answered_by_us(server, exchange)
        else:
            assert replay.run(exchange) == []


def _answered_by_us(server: Server, exchange: Exchange) -> None:
    """Differences: 401 with the proxy's challenge, no v2, and the text after which engines log in."""
    headers = [(n, v) for n, v in exchange.request.headers if n.lower() != "content-length"]
    answer = raw.request(server, exchange.method, exchange.path, headers, exchange.request.body)
    if exchange.path.startswith("/v2/"):
        assert answer.status == 404
        assert answer.header("WWW-Authenticate") is None
    elif (exchange.method, exchange.path) == ("POST", "/v1/users/"):
        assert (answer.status, answer.body) == (400, b'"Username or email already exists"')
    elif exchange.path.startswith("/v1/search"):
        # protocol-v1.md section 1: the search requires no login, and finds what the user may pull
        assert (answer.status, answer.json()["results"]) == (200, [])
    else:
        assert answer.status == exchange.status == 401
        assert answer.json() == {"error": "Requires authorization"}
        assert answer.header("WWW-Authenticate") == 'Basic realm="Docker registry"'


def _seed_for_pull(store: Path, name: str) -> None:
    """Images that other engines pushed between the engine's push and its pull."""
    if "-pull" not in name or "noauth" in name:
        return
    for exchange in recordings.read(name):
        match = re.fullmatch(r"/v1/repositories/([^/]+/[^/]+)/images", exchange.path)
        if match and exchange.status == 200:
            items = json.loads(exchange.answer.body or b"")
            seed.image_list(store / "repositories" / match[1], items)
