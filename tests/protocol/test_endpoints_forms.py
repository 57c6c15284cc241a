"""Rules for all endpoints (HEAD, slashes at the end, forms of paths), and the search."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests import raw
from tests.live_server import Server
from tests.protocol import engine
from tests.protocol.engine import image, quoted
from tests.protocol.table import ANY, HTML, ORDINARY, Row, check, check_headers, error

BASE = image("base")
CHILD = image("child", BASE)
OPEN = image("open", BASE)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    store = tmp_path_factory.mktemp("server") / "store"
    with Server(store, env={"SEARCH_BACKEND": "sqlalchemy"}) as running:
        engine.push(running, "forms/app", [BASE, CHILD], ["latest"])
        engine.push(running, "plain", [BASE], ["latest"])
        engine.expect(raw.put(running, OPEN.path("json"), OPEN.json))
        for name in ("search/abc", "search/a_c", "search/hidden"):
            engine.push(running, name, [BASE], ["latest"])
        private = raw.put(
            running, "/v1/repositories/search/hidden/properties", b'{"access": "private"}'
        )
        engine.expect(private)
        # names that only other versions let in
        for folder in ("search/a%2525c", "other/ABC-not"):
            path = running.store / "repositories" / folder
            path.mkdir(parents=True)
            (path / "tag_latest").write_text(BASE.id)
        yield running


GETS = {
    "/_ping": 200,
    "/v1/_ping": 200,
    "/_status": 200,
    "/v1/_status": 200,
    CHILD.path("json"): 200,
    CHILD.path("layer"): 200,
    CHILD.path("ancestry"): 200,
    CHILD.path("files"): 200,
    CHILD.path("diff"): 200,
    OPEN.path("json"): 400,
    OPEN.path("layer"): 400,
    f"/v1/images/{'0' * 64}/json": 404,
    "/v1/images/wrong/json": 404,
    "/v1/repositories/forms/app/tags": 200,
    "/v1/repositories/forms/app/tags/latest": 200,
    "/v1/repositories/forms/app/tags/absent": 404,
    "/v1/repositories/forms/app/tags/latest/json": 200,
    "/v1/repositories/forms/app/json": 200,
    "/v1/repositories/forms/app/properties": 200,
    "/v1/repositories/forms/app/images": 200,
    "/v1/repositories/forms/absent/images": 404,
    "/v1/repositories/plain/tags": 200,
    "/v1/repositories/forms/absent/tags": 404,
    "/v1/users": 200,
    "/v1/search": 200,
    "/v2": 404,
}

_NEVER_TWICE = {"date", "x-request-id", "x-docker-token", "www-authenticate", "expires"}


def _comparable(answer: raw.Answer) -> tuple[int, list[tuple[str, str]]]:
    pairs = [(name.lower(), value) for name, value in answer.headers]
    return answer.status, sorted(pair for pair in pairs if pair[0] not in _NEVER_TWICE)


@pytest.mark.parametrize("path", ["/", *GETS])
def test_head_is_get_without_the_body(server: Server, path: str) -> None:
    got, headed = raw.get(server, path), raw.head(server, path)
    assert _comparable(headed) == _comparable(got)
    assert headed.header("Content-Length") == str(len(got.body))
    assert {name.lower() for name, _ in headed.headers} == {n.lower() for n, _ in got.headers}


@pytest.mark.parametrize(("path", "status"), GETS.items())
def test_a_slash_at_the_end_changes_nothing(server: Server, path: str, status: int) -> None:
    """A redirect ends an old engine's push, or leads from https to http (protocol-v1.md section 2.1)."""
    without, with_slash = raw.get(server, path), raw.get(server, f"{path}/")
    assert without.status == status, str(without)
    assert _comparable(with_slash) == _comparable(without)
    assert with_slash.body == without.body


def test_both_forms_for_the_other_methods(server: Server) -> None:
    for end in ("", "/"):
        made = image(f"slash{end}", BASE)
        checksum = {"X-Docker-Checksum-Payload": made.checksum}
        name = f"forms/slash{len(end)}"
        rows = [
            Row("json", "PUT", made.path("json") + end, 200, body=made.json),
            Row("layer", "PUT", made.path("layer") + end, 200, body=made.layer),
            Row("checksum", "PUT", made.path("checksum") + end, 200, headers=checksum),
            Row("repository", "PUT", f"/v1/repositories/{name}{end}", 200, "", body=b"[]"),
            Row("images", "PUT", f"/v1/repositories/{name}/images{end}", 204, b"", {}, body=b"[]"),
            Row("images", "DELETE", f"/v1/repositories/{name}/images{end}", 204, b"", {}),
            Row("auth", "PUT", f"/v1/repositories/{name}/auth{end}", 200, "OK", body=b""),
            Row("tag", "PUT", f"/v1/repositories/{name}/tags/v1{end}", 200, body=quoted(made.id)),
            Row("properties", "PUT", f"/v1/repositories/{name}/properties{end}", 200,
                body=b'{"access": "public"}'),
            Row("tag", "DELETE", f"/v1/repositories/{name}/tags/v1{end}", 200),
            Row("repository", "DELETE", f"/v1/repositories/{name}{end}", 200),
            Row("user", "POST", f"/v1/users{end}", 201, "User Created", body=b"{}"),
            Row("user", "PUT", f"/v1/users/me{end}", 204, b"", {}, body=b"{}"),
        ]  # fmt: skip
        for row in rows:
            check(server, row)


# The status of a GET. By default Flask would redirect these paths. Only slashes at the start of the
# path and at the end of a name are stripped (protocol-v1.md section 1).
SLASHES = {
    "//v1/_ping": 200,
    "//": 200,
    "/v1/repositories/forms/app//tags": 200,
    "/v1//_ping": 404,
    f"/v1/images//{CHILD.id}/json": 404,
    f"/v1//images/{CHILD.id}/json": 404,
    f"/v1/images/{CHILD.id}//json": 404,
    "/v1/repositories//forms/app/tags": 404,
    "/v1/repositories/forms//app/tags": 400,
    "/v1/repositories/forms/app/tags//latest": 400,
    "/v1//users/": 404,
}


@pytest.mark.parametrize(("path", "status"), SLASHES.items())
def test_two_slashes_are_no_redirect(server: Server, path: str, status: int) -> None:
    answer = raw.get(server, path)
    assert answer.status == status, str(answer)
    assert raw.head(server, path).status == status
    for method in ("POST", "PATCH"):
        other = raw.request(server, method, path, body=b"[]")
        assert other.status == (405 if status == 200 else status), str(other)
        assert other.header("Location") is None


def test_an_absolute_url_is_its_path(server: Server) -> None:
    """The form of requests to a proxy (RFC 9112, 3.2.2)."""
    answer = raw.get(server, f"http://{server.host}/v1/_ping")
    assert (answer.status, answer.body) == (200, b"{}")


@pytest.mark.parametrize(
    "host",
    ["Host: my_registry:5000", "Host: [::1]:5000", "Host: B\xfccher", "Host: no.such.name:1", ""],
)
def test_the_host_has_no_effect(server: Server, host: str) -> None:
    path = "/v1/repositories/forms/app/tags"
    with raw.Connection(server) as connection:
        head = f"GET {path} HTTP/1.0\r\n{host}\r\n" + ("\r\n" if host else "")
        connection.send(head.encode("latin-1"))
        assert connection.read().json() == raw.get(server, path).json()


def test_a_query_has_no_effect(server: Server) -> None:
    assert raw.get(server, f"{CHILD.path('json')}?x=1&y").body == CHILD.json


def test_unknown_paths_are_html_not_json(server: Server) -> None:
    """Sections 1 and 7.4: engines conclude from HTML that no registry sent the response."""
    for method, path, status in [
        ("GET", "/v1", 404), ("GET", "/v3/", 404), ("PUT", "/v1/other", 404),
        ("DELETE", "/", 405), ("POST", "/v1/_ping", 405), ("PATCH", BASE.path("json"), 405),
        ("POST", "/v1/repositories/a/b/tags/c", 405), ("PUT", "/v1/search", 405),
    ]:  # fmt: skip
        row = Row(path, method, path, status, ANY, HTML, body=b"" if method != "GET" else None)
        answer = check(server, row)
        assert answer.body.lstrip().lower().startswith(b"<!doctype html")
        assert (answer.header("Allow") is not None) == (status == 405)


def test_options_and_unknown_methods(server: Server) -> None:
    answer = raw.request(server, "OPTIONS", "/v1/_ping", body=b"")
    assert (answer.status, answer.body) == (200, b"")
    assert _allowed(answer) == {"GET", "HEAD", "OPTIONS"}
    answer = check(server, Row("unknown", "BREW", CHILD.path("json"), 405, ANY, HTML))
    assert _allowed(answer) == {"GET", "HEAD", "OPTIONS", "PUT"}


def _allowed(answer: raw.Answer) -> set[str]:
    return set((answer.header("Allow") or "").split(", "))


# -- search ---------------------------------------------------------------------------


def _names(answer: raw.Answer) -> list[str]:
    assert answer.status == 200, str(answer)
    return [result["name"] for result in answer.json()["results"]]


SEARCHES = [
    ("abc", ["other/ABC-not", "search/abc"]),  # LIKE of the original knows no case
    ("ABC", ["other/ABC-not", "search/abc"]),
    ("a_c", ["search/a_c"]),  # 8, 18: no wildcards
    ("search/a", ["search/a%c", "search/a_c", "search/abc"]),
    ("%", ["search/a%c"]),
    ("forms", ["forms/app"]),
    ("library/", ["library/plain"]),
    ("hidden", []),
    ("nothing like it", []),
]


@pytest.mark.parametrize(("query", "names"), SEARCHES)
def test_search(server: Server, query: str, names: list[str]) -> None:
    quoted_query = query.replace("%", "%25").replace(" ", "+")
    answer = raw.get(server, f"/v1/search?q={quoted_query}")
    check_headers(answer, ORDINARY)
    found = answer.json()
    members = ["num_pages", "num_results", "page", "page_size", "query", "results"]
    assert sorted(found) == members  # engines ignore those that 0.x did not have
    assert (found["page"], found["num_pages"]) == (1, 1 if names else 0)
    assert found["query"] == query
    assert found["num_results"] == len(names)
    assert sorted(_names(answer)) == sorted(names)
    for result in found["results"]:
        # engines up to 0.6.5 decode each into a map of strings
        assert all(isinstance(value, str) for value in result.values())
        assert set(result) == {"name", "description"}


@pytest.mark.parametrize("query", ["", "?q=", "?n=25"])
def test_search_for_everything(server: Server, query: str) -> None:
    """Section 6: an empty q finds all. Private ones are never shown."""
    names = _names(raw.get(server, f"/v1/search{query}"))
    assert {"forms/app", "library/plain", "search/abc", "search/a_c"} <= set(names)
    assert "search/hidden" not in names


def test_pages_of_a_search(server: Server) -> None:
    """0.x ignored n and page (dr#987)."""
    whole = _names(raw.get(server, "/v1/search?q="))
    read: list[str] = []
    for page in range(1, len(whole) + 2):
        answer = raw.get(server, f"/v1/search?q=&n=2&page={page}")
        read += _names(answer)
        found = answer.json()
        assert (found["page"], found["page_size"]) == (page, 2)
        assert (found["num_results"], found["num_pages"]) == (len(whole), -(-len(whole) // 2))
    assert read == whole
    for wrong in ("n=x", "page=-1", "n=1.5"):
        answer = raw.get(server, f"/v1/search?{wrong}")
        assert (answer.status, set(answer.json())) == (400, {"error"})


def test_all_repositories(server: Server) -> None:
    """The list for tools has links from page to page, and each of its names can be requested."""
    path, read = "/v1/index/repositories?n=2", []
    while path:
        answer = raw.get(server, path)
        assert answer.status == 200
        read += answer.json()["repositories"]
        path = (answer.header("Link") or "").removeprefix("<").partition(">")[0]
    names = [item["name"] for item in read]
    assert {"forms/app", "library/plain", "search/abc", "search/a%c"} <= set(names)
    assert "search/hidden" not in names
    for name in names:
        assert raw.get(server, f"/v1/repositories/{quote(name)}/tags").status == 200
    assert names == sorted(set(names))
    [app] = [item for item in read if item["name"] == "forms/app"]
    assert app["tags"] == raw.get(server, "/v1/repositories/forms/app/tags").json()


def test_without_a_backend_a_search_finds_nothing_and_the_log_says_why(store: Path) -> None:
    with Server(store, env={"SEARCH_BACKEND": ""}) as without:
        for query in ("q=a", "q=a&n=25", "q=a&n=25&page=1"):
            answer = raw.get(without, f"/v1/search?{query}")
            check_headers(answer, ORDINARY)
            found = answer.json()
            assert (found["query"], found["num_results"], found["num_pages"]) == ("a", 0, 0)
            assert found["results"] == []
        assert (
            without.log.count("the search is off. To switch it on, set `search_backend: true`") == 1
        )
        check(without, Row("list", "GET", "/v1/index/repositories", 404, ANY, HTML))


# -- settings that show in answers ------------------------------------------------------


def test_ping_discloses_nothing_in_debug(store: Path) -> None:
    with Server(store, env={"DEBUG": "true", "SETTINGS_FLAVOR": "dev"}) as debugging:
        for path in ("/_ping", "/v1/_ping"):
            answer = raw.get(debugging, path)
            assert answer.json() == {}
            assert answer.header("X-Docker-Registry-Config") is None
            assert str(debugging.store) not in json.dumps(answer.headers)
        unknown = raw.get(debugging, "/v1/images/x/json")
        assert unknown.json() == error("Invalid image ID")
