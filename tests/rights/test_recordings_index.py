"""Recorded engines against a registry that trusts an index: they carry its tokens as they did those
of the recording. What they asked of the index itself, the index answers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from tests import raw
from tests.live_server import Server
from tests.protocol import recordings
from tests.protocol.recordings import Exchange
from tests.rights.fakeindex import FakeIndex

_TOKEN = re.compile(r'(Token Token )signature=\w+,repository="([^"]+)",access=(\w+)')


@pytest.fixture(scope="module")
def index() -> Iterator[FakeIndex]:
    with FakeIndex() as running:
        yield running


@pytest.fixture(scope="module")
def server(index: FakeIndex, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    env = {"STANDALONE": "false", "INDEX_ENDPOINT": index.url}
    with Server(tmp_path_factory.mktemp("recordings") / "store", env=env) as running:
        yield running


@pytest.mark.parametrize("version", recordings.VERSIONS)
def test_push_then_pull(server: Server, index: FakeIndex, version: str) -> None:
    for case in ("push-new", "pull-tag"):
        exchanges = recordings.read(f"{version}-{case}.jsonl")
        [repository] = {
            found[2]
            for exchange in exchanges
            if (found := _TOKEN.match(exchange.request.header("Authorization") or ""))
        }
        ids = [
            item["id"]
            for exchange in exchanges
            if exchange.method == "PUT" and exchange.path == f"/v1/repositories/{repository}/"
            for item in json.loads(exchange.request.body or b"")
        ]
        if ids:
            index.images[repository] = [{"id": one} for one in ids]
        carried = [exchange for exchange in exchanges if _to_the_registry(exchange)]
        assert len(carried) > 5
        for exchange in carried:
            _replay(server, index, exchange)


def _to_the_registry(exchange: Exchange) -> bool:
    """Return whether the request is for a registry: not for an index, v2, or a ping."""
    return exchange.path.startswith("/v1/images/") or "/tags" in exchange.path


def _replay(server: Server, index: FakeIndex, exchange: Exchange) -> None:
    found = _TOKEN.match(exchange.request.header("Authorization") or "")
    assert found, exchange.request.line
    token = _given(index, found[2], found[3])
    headers = [
        (name, f"{found[1]}{token}" if name == "Authorization" else value)
        for name, value in exchange.request.headers
        if name.lower() not in ("host", "content-length", "transfer-encoding")
    ]
    chunk = 4096 if exchange.request.framing == "chunked" else None
    body = exchange.request.body if exchange.method == "PUT" else None
    answer = raw.request(server, exchange.method, exchange.path, headers, body, chunk)
    if exchange.method == "GET" and found[3] == "write":
        # protocol-v1.md section 2.2: a token to write does not read, and the engine takes that for "push it"
        assert (exchange.status, answer.status) == (404, 401), exchange.request.line
        return
    assert answer.status == exchange.status, (exchange.request.line, str(answer))
    if exchange.path.endswith("/tags"):  # others had set some more there
        assert set(answer.json().items()) < set(json.loads(exchange.answer.body or b"").items())
    elif exchange.method == "GET":
        assert answer.body == exchange.answer.body
        private = "private, max-age=31536000"
        if exchange.path.startswith("/v1/images/"):
            assert answer.header("Cache-Control") == private


def _given(index: FakeIndex, repository: str, access: str) -> str:
    """One token for a push or a pull, as an index issues it."""
    for text, name in index.tokens.items():
        if name == repository and text.endswith(f"access={access}"):
            return text
    return index.token(repository, access)
