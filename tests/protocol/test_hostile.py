"""Names and JSON that attack the registry. Each request gets its exact response. After each test the
store is valid, and no file was written outside its folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests import raw
from tests.live_server import Server
from tests.protocol import engine
from tests.protocol.engine import Image, image, quoted
from tests.protocol.hostile import BASE, LIMIT_JSON, check_store, guarded, refused, unrouted


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with guarded(tmp_path_factory.mktemp("around")) as running:
        yield running


@pytest.fixture(autouse=True)
def _store_is_sound(server: Server) -> Iterator[None]:
    yield
    check_store(server)


# -- names -------------------------------------------------------------------------------

BAD_NAME = "Invalid repository name"
BAD_TEXT = "Text must not contain NUL characters or lone surrogates"

NAMES = [
    "..",
    "../..",
    "../../outside",
    "a/..",
    "a/../b",
    "a/../../outside",
    "./.",
    "a/.",
    "%2e%2e",
    "%2e%2e/%2e%2e/outside",
    "a/%2e%2e",
    "a/..%2f..%2foutside",
    "%252e%252e/%252e%252e",
    "a/%252e%252e%252foutside",
    "..%2f..%2foutside",
    "a%2f%2fb",
    "..%5c..%5coutside",
    "a/b%00",
    "a%00/b",
    "a/b%0a",
    "a%0ab/c",
    "a/b%0d%0aX-Evil:%201",
    "a/b%20c",
    "a/b+c",
    "a/%20",
    "a/b~c",
    "a/b*",
    "a/b%3fq",
    "a/b%23c",
    "a/B",
    "A/b",
    "a/%c3%a9",
    "a/%e2%80%ae",
    "a/%ff%fe",
    "a/%ed%a0%80",
    "a/b%",
    "a/b%zz",
    "a/" + "b" * 256,
    "a" * 256 + "/b",
    "a/" + "b/" * 200 + "c",
]


REQUESTS = [
    ("GET", "/tags", None), ("GET", "/images", None), ("GET", "/tags/latest", None),
    ("GET", "/tags/latest/json", None), ("GET", "/json", None), ("GET", "/properties", None),
    ("PUT", "/", b"[]"), ("PUT", "/images", b"[]"), ("PUT", "/tags/t", quoted(BASE.id)),
    ("PUT", "/properties", b'{"access": "private"}'), ("DELETE", "/tags/t", None),
    ("DELETE", "/tags", None),
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=lambda text: ascii(text[:24]))
def test_names_of_repositories(server: Server, name: str) -> None:
    before = _tree(server.store)
    message = BAD_TEXT if "%00" in name else BAD_NAME
    for method, rest, body in REQUESTS:
        answer = raw.request(server, method, f"/v1/repositories/{name}{rest}", body=body)
        refused(answer, 400, message)
        assert answer.header("X-Evil") is None
    assert _tree(server.store) == before


def test_a_name_that_begins_with_an_encoded_slash_has_no_route(server: Server) -> None:
    before = _tree(server.store)
    for method, rest, body in REQUESTS:
        path = f"/v1/repositories/%2foutside{rest}"
        unrouted(raw.request(server, method, path, body=body), 404)
    assert _tree(server.store) == before


def test_a_question_mark_ends_the_path(server: Server) -> None:
    """The rest is a query, so the path is that of the repository, which has no GET."""
    for method, rest, _ in REQUESTS:
        if method == "GET":
            unrouted(raw.get(server, f"/v1/repositories/a/b?q{rest}"), 405)


TAGS = [
    "..", ".", "%2e%2e", "%2e", "%252e%252e", "a%5cb", "a%20", "%20a", "a~", "a+b", "%c3%a9", "%d9%a1", "%ff", "-a", ".a",
    "a%25b", "a:b", "a@b", "x" * 129,
]  # fmt: skip


BAD_TAG = r"Invalid tag name (must match ^[\w][\w.-]{0,127}$)"


def _tag_requests(server: Server, tag: str) -> list[raw.Answer]:
    """Send PUT, GET and DELETE of a tag, and GET of its JSON; check that nothing was written."""
    before = _tree(server.store)
    path = f"/v1/repositories/safe/app/tags/{tag}"
    answers = [raw.put(server, path, quoted(BASE.id)), raw.get(server, path)]
    answers += [raw.delete(server, path), raw.get(server, f"{path}/json")]
    assert _tree(server.store) == before
    return answers


@pytest.mark.parametrize("tag", TAGS, ids=lambda text: ascii(text[:24]))
def test_names_of_tags(server: Server, tag: str) -> None:
    """PUT refuses them. GET and DELETE accept them: old stores may hold them (protocol-v1.md section 9)."""
    put, got, deleted, document = _tag_requests(server, tag)
    refused(put, 400, BAD_TAG)
    refused(got, 404, "Tag not found")
    refused(deleted, 404, f"Tag not found: {unquote(tag)}")
    assert (document.status, document.json()["last_update"]) == (200, None)


@pytest.mark.parametrize(
    "tag", ["a%0a", "%0aa", "a%0d", "x" * 3000], ids=lambda text: ascii(text[:24])
)
def test_names_of_tags_that_no_store_can_hold(server: Server, tag: str) -> None:
    put, *others = _tag_requests(server, tag)
    refused(put, 400, BAD_TAG)
    for answer in others:
        refused(answer, 404, "Tag not found")


@pytest.mark.parametrize("tag", ["a%00", "%00"])
def test_nul_in_the_name_of_a_tag(server: Server, tag: str) -> None:
    for answer in _tag_requests(server, tag):
        refused(answer, 400, BAD_TEXT)


def test_an_encoded_slash_in_the_name_of_a_tag(server: Server) -> None:
    """An encoded slash is a slash, as in 0.x: the path is that of another repository."""
    for answer in _tag_requests(server, "..%2f..%2f..%2foutside"):
        refused(answer, 400, BAD_NAME)
    put, got, deleted, document = _tag_requests(server, "a%2fb")
    refused(put, 400, "Invalid data")
    unrouted(got, 405)
    refused(deleted, 404, "Repository not found")
    assert (document.status, document.json()["last_update"]) == (200, None)


IMAGE_REQUESTS = [
    ("GET", "json"), ("GET", "layer"), ("GET", "ancestry"), ("GET", "files"), ("GET", "diff"),
    ("PUT", "json"), ("PUT", "layer"), ("PUT", "checksum"),
]  # fmt: skip


def _image_requests(server: Server, image_id: str) -> list[raw.Answer]:
    """Send all requests about an image; check that nothing was written."""
    before = _tree(server.store)
    headers = {"X-Docker-Checksum-Payload": BASE.checksum}
    answers = [
        raw.request(server, method, f"/v1/images/{image_id}/{part}", headers, b"{}")
        for method, part in IMAGE_REQUESTS
    ]
    assert _tree(server.store) == before
    return answers


IDS = ["..", "%2e%2e", BASE.id + "%0a", "%0a" + BASE.id, BASE.id.upper(), "_v1registry",
       "%c3%a9" * 32, "0x" + "0" * 62]  # fmt: skip


@pytest.mark.parametrize("image_id", IDS, ids=lambda text: ascii(text[:24]))
def test_ids(server: Server, image_id: str) -> None:
    for answer in _image_requests(server, image_id):
        refused(answer, 404, "Invalid image ID")


def test_nul_in_an_id(server: Server) -> None:
    for answer in _image_requests(server, "%00"):
        refused(answer, 400, BAD_TEXT)


@pytest.mark.parametrize("image_id", ["..%2f..", BASE.id + "/.."])
def test_a_slash_in_an_id_has_no_route(server: Server, image_id: str) -> None:
    for answer in _image_requests(server, image_id):
        unrouted(answer, 404)


@pytest.mark.parametrize(
    "path", ["/v1/repositories/a/\u00e9/tags", f"/v1/images/{chr(0x661) * 16}/json"]
)
def test_paths_with_bytes_that_are_illegal_in_urls(server: Server, path: str) -> None:
    """The HTTP server itself refuses them: they must be percent-encoded (RFC 3986, 2)."""
    for method in ("GET", "PUT"):
        assert raw.request(server, method, path.encode()).status == 400


# -- JSON --------------------------------------------------------------------------------

HOSTILE_JSON = {
    "empty": b"",
    "blanks": b" \n\t ",
    "cut off": b'{"id": "',
    "two values": b"{} {}",
    "not UTF-8": b'{"id": "\xff\xfe"}',
    "UTF-16": '{"id": "x"}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "NUL": b'{"id": "a"}\x00',
    "NaN": b'{"id": NaN}',
    "Infinity": b'{"id": -Infinity}',
    "deep lists": b"[" * 30000 + b"]" * 30000,
    "deep objects": b'{"a":' * 8000 + b"1" + b"}" * 8000,
    "deep and open": b"[" * 60000,
    "a huge integer": b'{"id": ' + b"9" * 30000 + b"}",
    "an XML": b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
}


@pytest.mark.parametrize("body", HOSTILE_JSON.values(), ids=HOSTILE_JSON)
def test_bodies_that_are_no_json(server: Server, body: bytes) -> None:
    fresh = image("hostile json")
    for path in [
        fresh.path("json"), "/v1/repositories/h/body/", "/v1/repositories/h/body/images",
        "/v1/repositories/h/body/tags/t", "/v1/repositories/h/body/properties",
    ]:  # fmt: skip
        for chunk in (None, 1000):
            refused(raw.put(server, path, body, chunk=chunk), 400)
    refused(raw.request(server, "POST", "/v1/users/", body=body), 400)
    assert raw.get(server, fresh.path("json")).status == 404
    assert raw.get(server, "/v1/repositories/h/body/images").status == 404


WRONG_SHAPES = [b"null", b"true", b"0", b"1.5", b'"x"', b"[[]]", b"[null]", b'[{"id": null}]',
                b'[{"id": ["a"]}]', b'[{"id": {}}]', b'{"id": []}', b'[{"Tag": "x"}]']  # fmt: skip


@pytest.mark.parametrize("body", WRONG_SHAPES, ids=ascii)
def test_json_of_the_wrong_shape(server: Server, body: bytes) -> None:
    fresh = image("hostile shape")
    for path in [fresh.path("json"), "/v1/repositories/h/shape/", "/v1/repositories/h/shape/images",
                 "/v1/repositories/h/shape/properties"]:  # fmt: skip
        refused(raw.put(server, path, body), 400)
    # Any string may be an image ID.
    status, message = (404, "Image not found") if body == b'"x"' else (400, "Invalid data")
    refused(raw.put(server, "/v1/repositories/h/shape/tags/t", body), status, message)
    assert not (server.store / "repositories/h/shape").exists()


def test_an_image_json_is_opaque_beyond_id_and_parent(server: Server) -> None:
    """Odd but legal JSON is stored and served byte for byte."""
    base = image("opaque")
    odd = b'{"a": 1e999, "id": "%b", "a": "\\ud800", "\\u0000": 123456789012345678901234567890}'
    made = Image(base.id, odd % base.id.encode(), base.layer, base.ancestry)
    engine.upload(server, made)
    assert raw.get(server, made.path("json")).body == made.json


@pytest.mark.parametrize("chunk", [None, 4096])
def test_json_over_the_limit(server: Server, chunk: int | None) -> None:
    fresh = image(f"large json {chunk}")
    pad = LIMIT_JSON - len(json.dumps({"id": fresh.id, "x": ""}))
    for path in [
        fresh.path("json"),
        "/v1/repositories/h/large/",
        "/v1/repositories/h/large/tags/t",
    ]:
        body = json.dumps({"id": fresh.id, "x": "y" * (pad + 1)}).encode()
        refused(raw.put(server, path, body, chunk=chunk), 413)
    assert raw.get(server, fresh.path("json")).status == 404
    fits = json.dumps({"id": fresh.id, "x": "y" * pad}).encode()
    assert len(fits) == LIMIT_JSON
    engine.expect(raw.put(server, fresh.path("json"), fits, chunk=chunk))


def test_names_in_a_layer_are_never_opened(server: Server) -> None:
    """The registry lists the names in a tar and never opens them."""
    files = {"../../outside/evil": b"x", "/etc/passwd": b"root", "a\nb": b""}
    made = image("evil tar", layer=engine.tar(files))
    engine.upload(server, made)
    rows = raw.get(server, made.path("files")).json()
    assert {row[0] for row in rows} == set(files)


def _tree(store: Path) -> set[str]:
    """Return every path below the store, without temporary files.

    Nor the descriptors of layers: a scan in the background writes them some time after a push.
    """
    return {
        str(path.relative_to(store))
        for path in store.rglob("*")
        if "_v1registry" not in path.parts and path.name != "_oci"
    }
