"""Requests that another web site can make a browser send do not change an index."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import raw
from tests.index.conftest import PASSWORD
from tests.index.test_server import seeded_file
from tests.live_server import Server
from tests.protocol.engine import expect
from tests.rights.accounts import basic

ANN = basic("owner", PASSWORD)  # a browser sends saved credentials
FORMS = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", None]
TYPES = ["application/json", "application/json; charset=utf-8", "Application/JSON"]
REFUSED = "Send the body as JSON, with Content-Type: application/json"
PATH = "/v1/index/repositories/team/app"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder: Path = tmp_path_factory.mktemp("sites")
    env = {
        "INDEX_DATABASE": seeded_file(folder),
        "INDEX_SIGN_UP": "open",
        "ACCOUNTS_ATTEMPTS": "0",
    }
    with Server(folder / "store", env=env) as running:
        expect(raw.put(running, "/v1/repositories/team/app/", b"[]", ANN))
        yield running


def typed(content_type: str | None) -> dict[str, str]:
    return {} if content_type is None else {"Content-Type": content_type}


def refused(answer: raw.Answer) -> None:
    assert (answer.status, answer.json()) == (415, {"error": REFUSED}), str(answer)


@pytest.mark.parametrize("content_type", FORMS, ids=str)
def test_forms_are_refused(server: Server, content_type: str | None) -> None:
    headers = ANN | typed(content_type)
    comments = "/v1/index/comments/team/app"
    before = raw.get(server, comments).json()
    refused(raw.request(server, "POST", comments, headers, b'{"text": "not mine"}'))
    assert raw.get(server, comments).json() == before
    refused(raw.put(server, PATH, b'{"is_private": true}', headers))
    assert raw.get(server, PATH).json()["is_private"] is False
    headers = typed(content_type) | {"Origin": "https://other.example"}
    body = f'{{"username": "made", "password": "{PASSWORD}"}}'.encode()
    refused(raw.request(server, "POST", "/v1/users/", headers, body))


@pytest.mark.parametrize("content_type", TYPES)
def test_json_is_taken(server: Server, content_type: str) -> None:
    headers = ANN | typed(content_type)
    posted = raw.request(server, "POST", "/v1/index/comments/team/app", headers, b'{"text": "x"}')
    expect(posted, 201)
    expect(raw.put(server, PATH, b'{"description": "x"}', headers), 204)


def test_browsers_are_not_told_that_other_sites_may_send_json(server: Server) -> None:
    asks = {
        "Origin": "https://other.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    answer = raw.request(server, "OPTIONS", "/v1/index/comments/team/app", asks)
    assert answer.header("Access-Control-Allow-Origin") is None


@pytest.mark.parametrize("number", range(len(FORMS)))
def test_requests_of_the_v1_protocol_need_no_content_type(server: Server, number: int) -> None:
    headers = typed(FORMS[number])
    body = f'{{"username": "user{number}", "password": "{PASSWORD}"}}'.encode()
    expect(raw.request(server, "POST", "/v1/users/", headers, body), 201)
    mine = basic(f"user{number}", PASSWORD) | headers
    expect(raw.put(server, f"/v1/users/user{number}/", b'{"email": ""}', mine), 204)
    expect(raw.put(server, f"/v1/repositories/user{number}/app/", b"[]", mine))
    expect(raw.put(server, f"/v1/repositories/user{number}/app/images", b"[]", mine), 204)
