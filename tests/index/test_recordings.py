"""Recorded engines against an index of our own, with TLS and without: what an nginx with a password
file answered in the recordings the index answers itself, tokens are real, and all the rest is as
before.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import raw
from tests.index.conftest import open_database
from tests.index.engines import MAGIC
from tests.index.test_server import CHALLENGE
from tests.live_server import Server
from tests.protocol import recordings, seed
from tests.protocol.differences import DIFFERENCES, sorted_results
from tests.protocol.recordings import Exchange
from tests.protocol.replay import Difference, Parts, Replay, proxied
from tests.rights.test_recordings import FILES
from tests.tls import make_certificate
from tests.waiting import wait_for
from v1registry.index.accounts import create
from v1registry.index.namespaces import Namespaces
from v1registry.lib.auth import passwords

TOKEN = re.compile(
    r"(Token )?signature=[\w-]{86},(repository=\"[^\"]+\",access=\w+),exp=\d+,kid=\w{16},"
    r'id=[\w-]{12},user="user"'
)


def _token(exchange: Exchange) -> bool:
    return exchange.answer.header("X-Docker-Token") is not None


def _asked_for_one(exchange: Exchange) -> bool:
    return exchange.request.header("X-Docker-Token") == "true"


def _bare(exchange: Exchange, before: object) -> object:
    return str(before).removeprefix("Token ") if _asked_for_one(exchange) else None


def _if_asked(exchange: Exchange, before: object) -> object:
    return before if _asked_for_one(exchange) else None


def _with_stars(exchange: Exchange, before: object) -> object:
    assert isinstance(before, bytes)
    answer = json.loads(before)
    for result in answer["results"]:
        result |= {"star_count": 0, "is_official": False, "is_trusted": False}
    return json.dumps(answer, sort_keys=True).encode()


def _search(exchange: Exchange) -> bool:
    return exchange.path.startswith("/v1/search")


INDEXED = [
    *DIFFERENCES,
    Difference(
        "header x-docker-registry-standalone", lambda e: e.path == "/v1/_ping",
        lambda _e, _b: "False", "2, Ping headers: there is an index, so tokens do",
    ),
    Difference("header x-docker-token", _token, _bare, "2.1, a real index: without the leading word"),
    Difference(
        "header www-authenticate", _token, _if_asked,
        "2.1, a real index: a token only if the request has X-Docker-Token: true",
    ),
    Difference("body", _search, _with_stars, "6, search: what engines from 0.6.7 on accept"),
    Difference(
        "header content-length", _search, lambda e, b: str(len(_with_stars_body(e))),
        "6, search: what engines from 0.6.7 on accept",
    ),
]  # fmt: skip


def _with_stars_body(exchange: Exchange) -> bytes:
    body = _with_stars(exchange, sorted_results(exchange, exchange.answer.body))
    assert isinstance(body, bytes)
    return body


class Indexed(Replay):
    """A replay that compares tokens by their content."""

    def _actual(self, exchange: Exchange, answer: raw.Answer) -> Parts:
        parts = super()._actual(exchange, answer)
        for name in ("header x-docker-token", "header www-authenticate"):
            if name in parts:
                match = TOKEN.fullmatch(str(parts[name]))
                assert match, parts[name]
                parts[name] = f"{match[1] or ''}signature=S,{match[2]}"
        return parts


@pytest.fixture(scope="module", params=["http", "https"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("recordings")
    store, url = folder / "store", f"sqlite:///{folder}/index.db"
    names = _seed_what_was_searched(store)
    database = open_database(url)
    row = {
        "name": "user", "email": None, "password": passwords.hash("secret"), "is_robot": False,
        "is_admin": False, "created": 0,
    }  # fmt: skip
    database.write(
        lambda connection: create(connection, row)
    )  # its password is shorter than a new one may be
    namespaces = Namespaces(database)
    for name in {name.partition("/")[0] for name in names}:
        namespaces.add(name)
        namespaces.grant("user", "push", name)
    database.close()
    env = {"INDEX_DATABASE": url, "INDEX_PRIVATE": "true", "ACCOUNTS_ATTEMPTS": "0"}
    tls = None
    if request.param == "https":
        made = make_certificate(folder / "tls")
        tls = (made.certificate, made.key)
    with Server(store, env=env, tls=tls) as running:
        _wait_for_the_walk(running)
        yield running


@pytest.fixture(scope="module")
def replay(server: Server) -> Indexed:
    """Return one replay for all tests, because it notes what the pushes sent."""
    return Indexed(server, INDEXED)


def _in_order() -> list[str]:
    """Return the recordings, with the push of an engine before its pull."""
    return sorted(FILES, key=lambda name: ("-pull" in name, name))


@pytest.mark.parametrize("name", _in_order())
def test_the_answers_to_an_engine(server: Server, replay: Indexed, name: str) -> None:
    _seed_for_pull(server.store, name)
    for exchange in recordings.read(name):
        if proxied(exchange.answer):
            _answered_by_us(server, exchange)
        else:
            assert replay.run(exchange) == []


def _answered_by_us(server: Server, exchange: Exchange) -> None:
    """Check the answers of our index to requests for which nginx asked for a password."""
    headers = [(n, v) for n, v in exchange.request.headers if n.lower() != "content-length"]
    answer = raw.request(server, exchange.method, exchange.path, headers, exchange.request.body)
    if exchange.path.startswith("/v2/"):
        assert (answer.status, answer.header("WWW-Authenticate")) == (404, None)
    elif (exchange.method, exchange.path) == ("POST", "/v1/users/"):
        assert (answer.status, answer.body) == (400, MAGIC)
    elif exchange.path.startswith("/v1/search"):
        assert (answer.status, answer.json()["results"]) == (200, [])
    else:
        assert answer.status == exchange.status == 401
        assert answer.json() == {"error": "Requires authorization"}
        assert answer.header("WWW-Authenticate") == CHALLENGE


def _seed_what_was_searched(store: Path) -> set[str]:
    """Add private repositories of other users, and return the names of all pushed repositories."""
    names = set()
    for file in FILES:
        for exchange in recordings.read(file):
            pushed = re.match(r"/v1/repositories/([^/]+/[^/]+)/", exchange.path)
            if pushed:
                names.add(pushed[1])
            if exchange.path.startswith("/v1/search") and not proxied(exchange.answer):
                for result in json.loads(exchange.answer.body or b"")["results"]:
                    folder = store / "repositories" / result["name"]
                    seed.image_list(folder, [])
                    (folder / "_private").touch()
                    names.add(result["name"])
    return names


def _seed_for_pull(store: Path, name: str) -> None:
    """Add images that others had pushed between the engine's push and its pull."""
    if "-pull" not in name or "noauth" in name:
        return
    for exchange in recordings.read(name):
        match = re.fullmatch(r"/v1/repositories/([^/]+/[^/]+)/images", exchange.path)
        if match and exchange.status == 200:
            items = json.loads(exchange.answer.body or b"")
            seed.image_list(store / "repositories" / match[1], items)


def _wait_for_the_walk(server: Server) -> None:
    wait_for(lambda: "Comparing the index with the store: " in server.log, 30, lambda: server.log)
