"""Every endpoint refuses text that databases cannot store: NUL and lone surrogates."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests import raw
from tests.index.conftest import PASSWORD
from tests.index.test_server import seeded
from tests.live_server import Server
from tests.protocol.engine import expect, image
from tests.rights.accounts import basic

BAD = ["\ud800", "a\udfffb", "\udc00\ud800", "\0", "a\0b"]
GOOD = ["\U0001f433", "\\u0000", "\\ud800", "\\\\u0000", "\ufffd"]
ID = "a1" * 32
REFUSED = (400, {"error": "Text must not contain NUL characters or lone surrogates"})


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("text")
    url = f"sqlite:///{folder}/index.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres").database()
    seeded(url)
    env = {"INDEX_DATABASE": url, "INDEX_SIGN_UP": "invitation", "ACCOUNTS_ATTEMPTS": "0"}
    with Server(folder / "store", env=env) as running:
        expect(ask(running, "PUT", "/v1/repositories/team/app/", []))
        yield running


def ask(server: Server, method: str, path: str, body: Any = None) -> raw.Answer:
    data = None if body is None else json.dumps(body).encode()
    headers = {**basic("root", PASSWORD), "Content-Type": "application/json"}
    return raw.request(server, method, path, headers, data)


def requests(text: str) -> list[tuple[str, str, Any]]:
    """Return all requests that hold free text."""
    account = {"username": "new", "password": PASSWORD}
    return [
        ("PUT", "/v1/index/repositories/team/app", {"description": text}),
        ("PUT", "/v1/index/repositories/team/app", {"full_description": text}),
        ("POST", "/v1/index/comments/team/app", {"text": text}),
        ("POST", "/v1/users/", {**account, "invitation": text}),
        ("POST", "/v1/users/", {**account, "email": f"{text}@example.org"}),
        ("POST", "/v1/users/", {**account, "password": f"{PASSWORD}{text}"}),
        ("POST", "/v1/users/", {**account, "username": text}),
        ("PUT", "/v1/users/root/", {"email": f"{text}@example.org"}),
        ("PUT", "/v1/users/root/", {"password": f"{PASSWORD}{text}"}),
        ("PUT", "/v1/repositories/team/app/", [{"id": ID, "checksum": text}]),
        ("PUT", "/v1/repositories/team/app/images", [{"id": ID, "Tag": text}]),
        ("PUT", "/v1/repositories/team/app/properties", {"access": text}),
        ("PUT", "/v1/repositories/team/app/tags/latest", text),
    ]


@pytest.mark.parametrize("text", BAD, ids=ascii)
def test_json_is_refused(server: Server, text: str) -> None:
    for method, path, body in requests(text):
        answer = ask(server, method, path, body)
        assert (answer.status, answer.json()) == REFUSED, f"{method} {path} {body!a}"
    hidden = {"description": "fine", "unknown": {text: 1}}
    answer = ask(server, "PUT", "/v1/index/repositories/team/app", hidden)
    assert (answer.status, answer.json()) == REFUSED


@pytest.mark.parametrize("text", GOOD, ids=ascii)
def test_similar_text_is_accepted(server: Server, text: str) -> None:
    path = "/v1/index/repositories/team/app"
    expect(ask(server, "PUT", path, {"description": text, "full_description": text}), 204)
    expect(ask(server, "POST", "/v1/index/comments/team/app", {"text": text}), 201)
    found = ask(server, "GET", path).json()
    assert (found["description"], found["full_description"]) == (text, text)
    assert ask(server, "GET", "/v1/index/comments/team/app?n=1000").json()["comments"][-1][
        "text"
    ] == (text)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/search?q=%00",
        "/v1/search?q=a%00b&n=1",
        "/v1/search?q=%ed%a0%80%00",
        "/v1/index/repositories?after=%00",
        "/v1/index/stars?after=team/%00",
        "/v1/index/stars/team/%00",
        "/v1/index/repositories/team/app%00",
        "/v1/index/comments/team/app?after=%00",
        "/v1/repositories/team/app%00/images",
        "/v1/repositories/team/app/tags/%00",
        "/v1/users/?%00",
        f"/v1/images/{ID}%00/json",
    ],
)
def test_nul_in_a_url_is_refused(server: Server, path: str) -> None:
    answer = ask(server, "GET", path)
    assert (answer.status, answer.json()) == REFUSED


def test_other_encoded_bytes_in_a_query_are_accepted(server: Server) -> None:
    for query in ("%2500", "%ed%a0%80", "%ff", "0", "%25%30%30"):
        assert ask(server, "GET", f"/v1/search?q={query}").status == 200


@pytest.mark.parametrize("path", ["/v2/team/app%00/tags/list", "/v2/team/app/tags/list?last=%00"])
def test_nul_in_a_v2_url_is_refused_in_the_form_of_v2(server: Server, path: str) -> None:
    headers = {**basic("root", PASSWORD), "User-Agent": "docker/20.10.24"}
    answer = raw.get(server, path, headers)
    assert answer.status == 400
    assert answer.json()["errors"][0]["message"] == REFUSED[1]["error"]


def test_image_json_is_stored_unchanged(server: Server) -> None:
    """It is stored as bytes, and old clients wrote any text into it."""
    one = image("text")
    document = json.loads(one.json) | {"comment": "a\0b \ud800"}
    expect(
        raw.put(server, one.path("json"), json.dumps(document).encode(), basic("root", PASSWORD))
    )
