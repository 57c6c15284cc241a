"""Every row of protocol-v1.md sections 2 and 2.1 on repositories, tags and the index's part.

Rows share a server; a test that changes something uses a repository of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from tests import raw
from tests.live_server import Server
from tests.protocol import engine
from tests.protocol.engine import image, image_id, quoted
from tests.protocol.table import ANY, HTML, ORDINARY, Row, check, check_headers, error

pytestmark = pytest.mark.every_store

KeysBelow = Callable[[str], list[str]]

BASE = image("base")
CHILD = image("child", BASE)
OPEN = image("open", BASE)
NOBODY = image_id("nobody pushed this")

INDEX = [{"id": BASE.id}, {"id": CHILD.id}]
DEFAULTS = {
    "arch": "amd64",
    "docker_go_version": None,
    "docker_version": None,
    "kernel": None,
    "last_update": None,
    "os": "linux",
}
TAG_RULE = r"Invalid tag name (must match ^[\w][\w.-]{0,127}$)"


@pytest.fixture(scope="module", autouse=True)
def _world(server: Server) -> None:
    engine.push(server, "team/app", [BASE, CHILD], ["latest", "v1"])
    engine.push(server, "team/listed", [BASE], [])
    engine.expect(raw.put(server, OPEN.path("json"), OPEN.json))


def _text(name: str) -> dict[str, object]:
    """The headers of rows marked T, for this repository and access."""
    repository, access = name.split("|")
    pattern = re.compile(
        rf'Token signature=[A-Z0-9]{{16}},repository="{re.escape(repository)}",access={access}'
    )
    matches = lambda text: pattern.fullmatch(text) is not None  # noqa: E731
    return {"X-Docker-Token": matches, "WWW-Authenticate": matches, "X-Docker-Endpoints": ANY_TEXT}


def ANY_TEXT(text: str) -> bool:
    return re.fullmatch(r"127\.0\.0\.1:\d+", text) is not None


READING = [
    Row("tags", "GET", "/v1/repositories/team/app/tags", 200, {"latest": CHILD.id, "v1": CHILD.id}),
    Row("tags of a repository without", "GET", "/v1/repositories/team/listed/tags", 200, {}),
    Row("tags, unknown", "GET", "/v1/repositories/team/none/tags", 404,
        error("Repository not found")),
    Row("tag", "GET", "/v1/repositories/team/app/tags/v1", 200, quoted(CHILD.id)),
    Row("tag, unknown", "GET", "/v1/repositories/team/app/tags/v2", 404, error("Tag not found")),
    Row("tag, unknown repository", "GET", "/v1/repositories/team/none/tags/v2", 404,
        error("Tag not found")),
    Row("metadata of an unknown tag", "GET", "/v1/repositories/team/app/tags/v2/json", 200,
        DEFAULTS),
    Row("metadata of an unknown repository", "GET", "/v1/repositories/team/none/json", 200,
        DEFAULTS),
    Row("properties", "GET", "/v1/repositories/team/app/properties", 200, {"access": "public"}),
    Row("images", "GET", "/v1/repositories/team/app/images", 200,
        lambda body: sorted(i["id"] for i in json.loads(body)) == sorted(i["id"] for i in INDEX),
        more=_text("team/app|read")),
    Row("images, unknown", "GET", "/v1/repositories/team/none/images", 404,
        error("images not found"), more={"X-Docker-Token": None}),
    Row("images, DELETE: no effect", "DELETE", "/v1/repositories/team/app/images", 204, b"",
        {}, more=_text("team/app|delete")),
    Row("auth", "PUT", "/v1/repositories/team/app/auth", 200, "OK", body=b"{}"),
    Row("auth, empty", "PUT", "/v1/repositories/team/app/auth", 200, "OK", body=b""),
    Row("users", "GET", "/v1/users/", 200, "OK"),
    Row("users, with a login", "GET", "/v1/users/", 200, "OK",
        headers={"Authorization": "Basic dXNlcjp3cm9uZw=="}),
    Row("users, new", "POST", "/v1/users/", 201, "User Created",
        body=b'{"username": "u", "password": "p", "email": "u@example.org"}'),
    Row("users, not JSON", "POST", "/v1/users/", 400, error("Error Decoding JSON"), body=b"{"),
    Row("users, empty", "POST", "/v1/users/", 400, error("Error Decoding JSON"), body=b""),
    Row("user", "PUT", "/v1/users/someone/", 204, b"", {}, body=b"{}"),
    Row("ping", "GET", "/v1/_ping", 200, {}, more={"X-Docker-Registry-Standalone": "True",
        "X-Docker-Registry-Config": None}),
    Row("ping at the root", "GET", "/_ping", 200, {},
        more={"X-Docker-Registry-Standalone": "True"}),
    Row("root", "GET", "/", 200, '"docker-registry server"'),
    *(Row("status", "GET", path, 200,
          lambda body: (s := json.loads(body)) and s["failures"] == {} and s["services"] == ["storage"]
          and s["host"] == "")
      for path in ("/_status", "/v1/_status")),
    Row("wrong method", "POST", "/v1/repositories/team/app/tags", 405, ANY, HTML, body=b"x"),
    Row("wrong method", "GET", "/v1/repositories/team/app/auth", 405, ANY, HTML),
    Row("wrong method", "GET", "/v1/repositories/team/app/", 405, ANY, HTML),
    Row("wrong method", "DELETE", "/v1/users/", 405, ANY, HTML),
    Row("wrong method", "PUT", "/v1/_ping", 405, ANY, HTML, body=b""),
    Row("no repository", "GET", "/v1/repositories/", 404, ANY, HTML),
    Row("no user", "PUT", "/v1/users/", 405, ANY, HTML, body=b""),
]  # fmt: skip

WRITING = [
    Row("index, not JSON", "PUT", "/v1/repositories/w/a/", 400, error("Error Decoding JSON"), body=b"["),
    Row("index, empty", "PUT", "/v1/repositories/w/a/", 400, error("Error Decoding JSON"), body=b""),
    Row("index, no list", "PUT", "/v1/repositories/w/a/", 400, error("Invalid data"), body=b"{}"),
    Row("index, list of texts (8, 9)", "PUT", "/v1/repositories/w/a/", 400, error("Invalid data"),
        body=b'["x"]'),
    Row("index, no id", "PUT", "/v1/repositories/w/a/", 400, error("Invalid data"), body=b"[{}]"),
    Row("index, id of a wrong shape", "PUT", "/v1/repositories/w/a/", 400, error("Invalid data"),
        body=b'[{"id": "../../etc"}]'),
    Row("images, not JSON", "PUT", "/v1/repositories/w/a/images", 400,
        error("Error Decoding JSON"), body=b"["),
    Row("images, no list", "PUT", "/v1/repositories/w/a/images", 400, error("Invalid data"),
        body=b"5"),
    Row("nothing of that is kept", "GET", "/v1/repositories/w/a/images", 404,
        error("images not found")),
    Row("index", "PUT", "/v1/repositories/w/a/", 200, "", body=json.dumps(INDEX).encode(),
        more=_text("w/a|write")),
    Row("images", "PUT", "/v1/repositories/w/a/images", 204, b"", {}, body=b"[]",
        more=_text("w/a|write")),
    Row("tag, not JSON", "PUT", "/v1/repositories/w/a/tags/x", 400, error("Invalid data"),
        body=CHILD.id.encode()),
    Row("tag, empty", "PUT", "/v1/repositories/w/a/tags/x", 400, error("Invalid data"), body=b""),
    Row("tag, no text", "PUT", "/v1/repositories/w/a/tags/x", 400, error("Invalid data"), body=b"7"),
    Row("tag, empty text", "PUT", "/v1/repositories/w/a/tags/x", 400, error("Invalid data"),
        body=b'""'),
    Row("tag, unknown image", "PUT", "/v1/repositories/w/a/tags/x", 404, error("Image not found"),
        body=quoted(NOBODY)),
    Row("tag, wrong id", "PUT", "/v1/repositories/w/a/tags/x", 404, error("Image not found"),
        body=b'"../../x"'),
    Row("tag, open image (8, 10)", "PUT", "/v1/repositories/w/a/tags/x", 400,
        error("Image is being uploaded, retry later"), body=quoted(OPEN.id)),
    *(Row(f"tag called {tag[:12]}", "PUT", f"/v1/repositories/w/a/tags/{tag}", 400, error(TAG_RULE),
          body=quoted(CHILD.id))
      for tag in ("-x", ".x", "a%20b", "a%0a", "x" * 129, "%c3%a9", "a%3ab", "a%2bb")),
    Row("tag called NUL", "PUT", "/v1/repositories/w/a/tags/%00", 400,
        error("Text must not contain NUL characters or lone surrogates"), body=quoted(CHILD.id)),
    Row("nothing of that is there", "GET", "/v1/repositories/w/a/tags", 200, {}),
    *(Row(f"tag called {tag[:12]}", "PUT", f"/v1/repositories/w/t/tags/{tag}", 200,
          body=quoted(CHILD.id))
      for tag in ("latest", "_x", "1.0-rc.1_b", "X", "x" * 128, "json", "images", "tags", "auth")),
    Row("all of those", "GET", "/v1/repositories/w/t/tags", 200,
        lambda body: len(json.loads(body)) == 9),
    Row("properties, not JSON", "PUT", "/v1/repositories/w/p/properties", 400,
        error("Invalid data"), body=b"{"),
    Row("properties, empty", "PUT", "/v1/repositories/w/p/properties", 400, error("Invalid data"),
        body=b""),
    Row("properties, no object", "PUT", "/v1/repositories/w/p/properties", 400,
        error("Invalid data"), body=b"[]"),
    Row("properties, key missing: NEW", "PUT", "/v1/repositories/w/p/properties", 400, ANY,
        body=b"{}"),
    Row("properties, private", "PUT", "/v1/repositories/w/p/properties", 200,
        body=b'{"access": "private"}'),
    Row("properties are private", "GET", "/v1/repositories/w/p/properties", 200,
        {"access": "private"}),
    Row("properties, another value", "PUT", "/v1/repositories/w/p/properties", 200,
        body=b'{"access": "secret"}'),
    Row("properties are still private", "GET", "/v1/repositories/w/p/properties", 200,
        {"access": "private"}),
    Row("properties, public", "PUT", "/v1/repositories/w/p/properties", 200,
        body=b'{"access": "public"}'),
    Row("properties are public", "GET", "/v1/repositories/w/p/properties", 200,
        {"access": "public"}),
]  # fmt: skip


@pytest.mark.parametrize("row", READING, ids=str)
def test_reading(server: Server, row: Row) -> None:
    check(server, row)


def test_writing(server: Server) -> None:
    """The rows depend on each other: each one sees the result of the rows before it."""
    failures = []
    for row in WRITING:
        try:
            check(server, row)
        except AssertionError as failure:
            failures.append(f"{row}: {failure}")
    assert not failures, "\n\n".join(failures)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize(
    "path", ["/v2", "/v2/", "/v2/_catalog", "/v2/a/b/blobs/uploads/", "/v2/a/manifests/latest"]
)
def test_v2_is_hidden_from_engines(server: Server, method: str, path: str) -> None:
    """7.4, NEW: plain text, or engines of 1.10 panic; no header, or they stay with v2."""
    answer = raw.request(server, method, path, body=None if method == "GET" else b"")
    assert answer.status == 404
    assert (answer.header("Content-Type") or "").startswith("text/plain")
    assert answer.header("Docker-Distribution-Api-Version") is None
    assert answer.header("WWW-Authenticate") is None
    if method != "HEAD":
        assert not answer.body.lstrip().startswith((b"{", b"[", b"<"))


@pytest.mark.parametrize("end", ["/", "", "/tags", "/tags/"])
def test_delete_a_repository(server: Server, keys_below: KeysBelow, end: str) -> None:
    name = f"d/repository{len(end)}"
    engine.push(server, name, [BASE, CHILD], ["latest", "v1"])
    raw.put(server, f"/v1/repositories/{name}/properties", b'{"access": "private"}')
    path = f"/v1/repositories/{name}"
    check(server, Row("repository", "DELETE", path + end, 200))
    gone = error("Repository not found")
    check(server, Row("repository again", "DELETE", path + end, 404, gone))
    check(server, Row("its tags", "GET", f"{path}/tags", 404, gone))
    check(server, Row("its list", "GET", f"{path}/images", 404, error("images not found")))
    check(server, Row("its flag", "GET", f"{path}/properties", 200, {"access": "public"}))
    assert raw.get(server, CHILD.path("layer")).body == CHILD.layer
    assert keys_below(f"repositories/{name}/") == []


def test_library_is_implicit(server: Server, keys_below: KeysBelow) -> None:
    """`busybox` and `library/busybox` are one; engines use both in one operation (7.2)."""
    engine.push(server, "busybox", [BASE, CHILD], ["latest"])
    for name in ("busybox", "library/busybox"):
        path = f"/v1/repositories/{name}"
        check(server, Row(name, "GET", f"{path}/tags", 200, {"latest": CHILD.id}))
        check(server, Row(name, "GET", f"{path}/tags/latest", 200, CHILD.id))
        assert len(raw.get(server, f"{path}/images").json()) == 2
    token = raw.get(server, "/v1/repositories/busybox/images").header("X-Docker-Token")
    assert 'repository="library/busybox"' in (token or "")
    folder = "repositories/library/busybox"
    assert f"{folder}/tag_latest" in keys_below(f"{folder}/")


def test_nested_names(server: Server, keys_below: KeysBelow) -> None:
    """Section 4: `a/b/c` lies at `a/b%252Fc`, where 0.9.1 finds it."""
    engine.push(server, "deep/er/name", [BASE], ["latest"])
    path = "/v1/repositories/deep/er/name"
    check(server, Row("tags", "GET", f"{path}/tags", 200, {"latest": BASE.id}))
    check(server, Row("tag", "GET", f"{path}/tags/latest", 200, BASE.id))
    check(server, Row("images", "GET", f"{path}/images", 200, [{"id": BASE.id}],
                      more=_text("deep/er/name|read")))  # fmt: skip
    check(server, Row("part", "GET", "/v1/repositories/deep/er/tags", 404,
                      error("Repository not found")))  # fmt: skip
    folder = "repositories/deep/er%252Fname"
    assert f"{folder}/tag_latest" in keys_below(f"{folder}/")


def test_merge_of_the_list(server: Server) -> None:
    """2.1: the first list is kept verbatim; later ones are folded, an entry with checksum wins."""
    path, sum = "/v1/repositories/m/merge", "sha256:" + "1" * 64
    first = [{"id": BASE.id}, {"Tag": "latest", "id": CHILD.id}]
    engine.expect(raw.put(server, f"{path}/", json.dumps(first).encode()))
    assert raw.get(server, f"{path}/images").json() == first
    second = [{"id": OPEN.id}, {"id": BASE.id, "checksum": sum}, {"id": CHILD.id, "Tag": "v2"}]
    engine.expect(raw.put(server, f"{path}/images", json.dumps(second).encode()), 204)
    third = [{"id": BASE.id}]
    engine.expect(raw.put(server, f"{path}/images", json.dumps(third).encode()), 204)
    found = {item["id"]: item for item in raw.get(server, f"{path}/images").json()}
    assert found == {
        BASE.id: {"id": BASE.id, "checksum": sum},
        CHILD.id: {"id": CHILD.id},
        OPEN.id: {"id": OPEN.id},
    }


def test_tokens_differ(server: Server) -> None:
    answers = [raw.get(server, "/v1/repositories/team/app/images") for _ in range(4)]
    assert len({answer.header("X-Docker-Token") for answer in answers}) == 4
    for answer in answers:
        assert answer.header("X-Docker-Token") == answer.header("WWW-Authenticate")
        check_headers(answer, ORDINARY)


def test_endpoints_is_the_host_that_was_asked(server: Server) -> None:
    headers = {"Host": "registry.example.org:8080"}
    answer = raw.get(server, "/v1/repositories/team/app/images", headers)
    assert answer.header("X-Docker-Endpoints") == "registry.example.org:8080"
