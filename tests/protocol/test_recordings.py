"""Every recording of a real engine, replayed against a real server of ours.

Where our answer is not the recorded one, DIFFERENCES (differences.py) says how it is instead and
which point of protocol-v1.md wants it so; the comparison itself allows nothing (see replay.py). An
entry that no recording needs fails a test here.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live_server import Server
from tests.needs import require, tool
from tests.protocol import recordings, seed
from tests.protocol.differences import DIFFERENCES
from tests.protocol.recordings import Exchange
from tests.protocol.replay import Replay, proxied

PUSHES = ("push-new", "push-again", "push-tag2", "push-notag")

FILES = [
    name
    for name in [*recordings.names("*.jsonl"), *recordings.names("*.txt")]
    if name != "1.0.1-authtls-search.txt"  # this engine could not search there: no request in it
]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """File name -> what differs from it, everything replayed once, in the order of history."""
    found: dict[str, list[str]] = {}
    used: set[int] = set()
    for version in recordings.VERSIONS:
        store = tmp_path_factory.mktemp("store")
        _seed_searched(store)
        _seed_unpushed(store, version)
        with Server(store, env={"SEARCH_BACKEND": "sqlalchemy"}) as server:
            replay = Replay(server, DIFFERENCES, used)
            for name in _in_order(f"{version}-*.jsonl"):
                _seed_for_pull(store, name)
                found[name] = _replay(replay, name)
            for name in _in_order(f"{version}-*.txt"):
                if "authtls" not in name:
                    found[name] = _replay(replay, name)
    with _tls_server(tmp_path_factory.mktemp("tls")) as server:
        replay = Replay(server, DIFFERENCES, used)
        for name in _in_order("*-authtls-*.txt"):
            _seed_for_pull(server.store, name)
            found[name] = _replay(replay, name)
    found["unused"] = [str(d) for index, d in enumerate(DIFFERENCES) if index not in used]
    return found


@pytest.mark.parametrize("name", FILES)
def test_answers_are_the_recorded_ones(outcomes: dict[str, list[str]], name: str) -> None:
    assert outcomes[name] == []


def test_every_difference_is_needed(outcomes: dict[str, list[str]]) -> None:
    assert outcomes["unused"] == []


def test_every_recording_is_whole() -> None:
    """The loader leaves out nothing: as many requests as the files show."""
    for name in FILES:
        exchanges = recordings.read(name)
        text = (recordings.FOLDER / name).read_text()
        shown = text.count("\n###") if name.endswith(".txt") else text.count("\n")
        cut = text.count("closed in the middle of a response body")
        assert len(exchanges) == shown + cut, name
        assert exchanges, name


# -- replaying one file -------------------------------------------------------------------


def _in_order(pattern: str) -> list[str]:
    """Pushes before pulls, each kind of push after the one that it builds upon."""

    def rank(name: str) -> tuple[int, str]:
        for number, case in enumerate((*PUSHES, "-push")):
            if case in name:
                return number, name
        return len(PUSHES) + 1, name

    return sorted(recordings.names(pattern), key=rank)


def _replay(replay: Replay, name: str) -> list[str]:
    found = []
    for exchange in _as_sent(recordings.read(name)):
        if proxied(exchange.answer):
            # the proxy's own answer: the registry saw nothing of it, or a request cut short
            if exchange.status == 500:
                replay.interrupt(exchange)
            continue
        found += replay.run(exchange)
    return found


def _as_sent(exchanges: list[Exchange]) -> list[Exchange]:
    """A recording has its requests in the order of their ends: a lookup that found nothing may
    stand after the PUT that it led to."""
    order = list(exchanges)
    for lookup in exchanges:
        if lookup.method == "GET" and lookup.status == 404 and lookup.path.endswith("/json"):
            puts = [e for e in order if e.method == "PUT" and e.path == lookup.path]
            if puts and order.index(puts[0]) < order.index(lookup):
                order.remove(lookup)
                order.insert(order.index(puts[0]), lookup)
    return order


# -- what was in the registry when the recordings were made ---------------------------------


def _seed_searched(store: Path) -> None:
    """All repositories that any search found."""
    for name in recordings.names("*search*"):
        for exchange in recordings.read(name):
            if exchange.path.startswith("/v1/search") and not proxied(exchange.answer):
                for result in json.loads(exchange.answer.body or b"")["results"]:
                    seed.image_list(store / "repositories" / result["name"], [])


def _seed_unpushed(store: Path, version: str) -> None:
    """Images that the engine saw there and that no recording pushes."""
    exchanges = [
        e for name in recordings.names(f"{version}-*.jsonl") for e in recordings.read(name)
    ]
    pushed = {e.path for e in exchanges if e.method == "PUT"}
    seen = {e.path: e.answer for e in exchanges if e.method == "GET" and e.status == 200}
    jsons = {path: answer for path, answer in seen.items() if path.endswith("/json")}
    parents = {}
    for answer in jsons.values():
        document = json.loads(answer.body or b"")
        parents[document["id"]] = document.get("parent")
    for path, answer in jsons.items():
        if path in pushed:
            continue
        layer = seen.get(path.replace("/json", "/layer"))
        size = int(answer.header("X-Docker-Size") or 0)
        ancestry = [path.split("/")[3]]
        while parents.get(ancestry[-1]):
            ancestry.append(parents[ancestry[-1]])
        seed.image(
            store,
            answer.body or b"",
            layer.body if layer else bytes(size),
            ancestry,
            [answer.header("X-Docker-Checksum-Payload")],
        )


def _seed_for_pull(store: Path, name: str) -> None:
    """The tags and the list of images as the pull saw them: others had pushed in between."""
    if "-pull" not in name:
        return
    for exchange in recordings.read(name):
        if proxied(exchange.answer):
            continue
        match = re.fullmatch(
            r"/v1/repositories/([^/]+/[^/]+)/(images|tags|tags/[^/]+)", exchange.path
        )
        if not match or exchange.status != 200:
            continue
        folder = store / "repositories" / match[1]
        value = json.loads(exchange.answer.body or b"")
        if match[2] == "images":
            seed.image_list(folder, value)
        elif match[2] == "tags":
            seed.tags(folder, value)
        else:
            seed.tags(folder, {match[2].removeprefix("tags/"): value})


@contextlib.contextmanager
def _tls_server(folder: Path) -> Iterator[Server]:
    require("openssl")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        [tool("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out",
         str(certificate)],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    store = folder / "store"
    _seed_searched(store)
    with Server(store, env={"SEARCH_BACKEND": "sqlalchemy"}, tls=(certificate, key)) as server:
        yield server
