"""Every recording of a real engine, replayed against a real server of ours.

Where our answer is not the recorded one, DIFFERENCES says how it is instead and which point of
protocol-v1.md wants it so; the comparison itself allows nothing (see replay.py). An entry that no
recording needs fails the last test.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.needs import require, tool
from tests.protocol import recordings, seed
from tests.protocol.recordings import Exchange
from tests.protocol.replay import Difference, Replay, proxied
from tests.server import Server

_YEAR = "max-age=31536000"

# -- what the conditions of the table ask ----------------------------------------------


def _any(_: Exchange) -> bool:
    return True


def _v2(exchange: Exchange) -> bool:
    return exchange.path.startswith("/v2/")


def _not_v2(exchange: Exchange) -> bool:
    return not _v2(exchange)


def _no_content(exchange: Exchange) -> bool:
    return exchange.status == 204


def _search(exchange: Exchange) -> bool:
    return exchange.path.startswith("/v1/search")


def _range(exchange: Exchange) -> bool:
    return exchange.status == 206


def _past_the_end(exchange: Exchange) -> bool:
    return exchange.status == 416


def _by_nginx(exchange: Exchange) -> bool:
    return exchange.answer.header("ETag") is not None


def _with_password(exchange: Exchange) -> bool:
    """A finished image's part, asked for with a user and a password."""
    asker = exchange.request.header("Authorization") or ""
    return (
        asker.startswith("Basic ")
        and asker != "Basic Og=="
        and "/v1/images/" in exchange.path
        and exchange.method in ("GET", "HEAD")
        and exchange.status == 200
    )


def _has_cookie(exchange: Exchange) -> bool:
    return exchange.answer.header("Set-Cookie") is not None


# -- what the values of the table are made of -------------------------------------------


def _bounds(exchange: Exchange) -> tuple[int, int, int]:
    """First and last byte, and the size, of the range that is right for a recorded 206."""
    recorded = exchange.answer.header("Content-Range") or ""
    match = re.fullmatch(r"(?:bytes )?(\d+)-\d+/(\d+)", recorded)
    assert match
    return int(match[1]), int(match[2]) - 1, int(match[2])


def _right_length(exchange: Exchange, _: object) -> str:
    first, last, _size = _bounds(exchange)
    return str(last - first + 1)


def _right_range(exchange: Exchange, _: object) -> str:
    return "bytes {}-{}/{}".format(*_bounds(exchange))


def _whole_range(exchange: Exchange, _: object) -> str:
    asked = re.fullmatch(r"bytes=\d+-(\d+)", exchange.request.header("Range") or "")
    assert asked
    return f"bytes */{asked[1]}"


def _sorted_results(_: Exchange, body: object) -> bytes:
    assert isinstance(body, bytes)
    answer = json.loads(body)
    answer["results"].sort(key=lambda result: result["name"])
    return json.dumps(answer, sort_keys=True).encode()


def _is(value: object):
    return lambda _exchange, _before: value


DIFFERENCES = [
    Difference(
        "header x-docker-registry-version", _not_v2, _is("0.9.1"),
        "2, Ping headers, NEW: always send a non-empty one",
    ),
    Difference(
        "header x-request-id", _any, _is("an id"),
        "none, an addition: the id under which our access log has the request; no engine reads it",
    ),
    Difference(
        "header content-type", _v2, _is("text/plain; charset=utf-8"),
        "7.4, NEW: /v2/* is 404 in plain text",
    ),
    Difference("body", _v2, _is(b"404 page not found\n"), "7.4, NEW: /v2/* is 404 in plain text"),
    Difference("header content-length", _v2, _is("19"), "7.4, NEW: /v2/* is 404 in plain text"),
    Difference(
        "header content-length", _no_content, _is(None),
        "HTTP (RFC 9110, 8.6): a 204 must not have one; the engines look at the status alone",
    ),
    Difference(
        "body", _search, _sorted_results,
        "6 names no order of results (0.9.1's were its table's): ours are sorted by name",
    ),
    Difference(
        "header content-length", _range, _right_length,
        "2, Range, NEW: clamp to size-1",
    ),
    Difference(
        "header content-range", _range, _right_range,
        "2, Range, NEW: Content-Range: bytes a-b/size",
    ),
    Difference(
        "header content-range", _past_the_end, _whole_range,
        "2, Range, NEW: a 416 says the size (RFC 9110, 14.4)",
    ),
    Difference(
        "header cache-control", _past_the_end, _is("no-cache"),
        "2, Range: that a 416 was cacheable is named as a defect, NEW: it is an error (1, Errors)",
    ),
    Difference("header expires", _past_the_end, _is("-1"), "1, Errors: no-cache"),
    Difference("header pragma", _past_the_end, _is("no-cache"), "1, Errors: no-cache"),
    Difference("header last-modified", _past_the_end, _is(None), "1, Errors: no-cache"),
    Difference(
        "header content-type", _past_the_end, _is("application/json"), "1, Ordinary headers"
    ),
    Difference(
        "header accept-ranges", _past_the_end, _is(None), "1, Ordinary headers: an error's are these"
    ),
    Difference(
        "header etag", _by_nginx, _is(None), "1, Immutable headers: no ETag, ever (it was nginx's)"
    ),
    Difference(
        "header last-modified", _by_nginx, _is("Thu, 01 Jan 1970 00:00:00 GMT"),
        "1, Immutable headers (the recorded one was nginx's)",
    ),
    Difference(
        "header cache-control", _by_nginx, _is(f"public, {_YEAR}"),
        "1, Immutable headers (the recorded answer was nginx's)",
    ),
    Difference(
        "header expires", _by_nginx, _is("in a year"),
        "1, Immutable headers (the recorded answer was nginx's)",
    ),
    Difference(
        "header accept-ranges", _by_nginx, _is("bytes"),
        "2, layer: Accept-Ranges: bytes (nginx says it on 200 alone)",
    ),
    Difference(
        "header cache-control", _with_password, _is(f"private, {_YEAR}"),
        "8, 13: no public caching of what somebody shows a password for",
    ),
    Difference(
        "header set-cookie", _has_cookie, _is(None), "2.2, Cookies: none (a proxy had added it)"
    ),
]  # fmt: skip

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
            if _search(exchange) and not proxied(exchange.answer):
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
