"""What no engine sends: names and JSON made to harm. Each gets its clear answer, and afterwards the
store is looked at: nothing outside its folder, nothing half visible.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import raw
from tests.live_server import Server
from tests.protocol import engine
from tests.protocol.engine import Image, image, quoted
from tests.protocol.hostile import BASE, LIMIT_JSON, check_store, guarded, refused


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with guarded(tmp_path_factory.mktemp("around")) as running:
        yield running


@pytest.fixture(autouse=True)
def _store_is_sound(server: Server) -> Iterator[None]:
    yield
    check_store(server)


# -- names -------------------------------------------------------------------------------

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
    "%2foutside",
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
    "a/b?q",
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


@pytest.mark.parametrize("name", NAMES, ids=lambda text: ascii(text[:24]))
def test_names_of_repositories(server: Server, name: str) -> None:
    before = _tree(server.store)
    wire = name.encode("utf-8")
    for method, rest, body in [
        ("GET", b"/tags", None), ("GET", b"/images", None), ("GET", b"/tags/latest", None),
        ("GET", b"/tags/latest/json", None), ("GET", b"/json", None), ("GET", b"/properties", None),
        ("PUT", b"/", b"[]"), ("PUT", b"/images", b"[]"), ("PUT", b"/tags/t", quoted(BASE.id)),
        ("PUT", b"/properties", b'{"access": "private"}'), ("DELETE", b"/tags/t", None),
        ("DELETE", b"/tags", None),
    ]:  # fmt: skip
        if b"?" in wire and method != "GET":
            continue  # the rest would be a query
        path = b"/v1/repositories/" + wire + rest
        answer = raw.request(server, method, path, body=body)
        refused(answer, 400, 404, 405)
        assert answer.header("X-Evil") is None
    assert _tree(server.store) == before


TAGS = [
    "..", ".", "%2e%2e", "%2e", "..%2f..%2f..%2foutside", "%252e%252e", "a%2fb", "a%5cb", "a%00",
    "%00", "a%0a", "%0aa", "a%0d", "a%20", "%20a", "a~", "a+b", "%c3%a9", "%d9%a1", "%ff", "-a", ".a",
    "a%25b", "a:b", "a@b", "x" * 129, "x" * 3000,
]  # fmt: skip


@pytest.mark.parametrize("tag", TAGS, ids=lambda text: ascii(text[:24]))
def test_names_of_tags(server: Server, tag: str) -> None:
    """On PUT refused; GET and DELETE find none (old stores may hold odd ones, protocol-v1.md section 9).

    An encoded slash is a slash here, as for the original: so one of these is another path, 405.
    """
    before = _tree(server.store)
    path = f"/v1/repositories/safe/app/tags/{tag}"
    refused(raw.put(server, path, quoted(BASE.id)), 400, 404, 405)
    refused(raw.get(server, path), 400, 404, 405)
    refused(raw.delete(server, path), 400, 404, 405)
    assert raw.get(server, f"{path}/json").status in (200, 400, 404, 405)
    assert _tree(server.store) == before


IDS = ["..", "%2e%2e", "..%2f..", "%00", BASE.id + "%0a", "%0a" + BASE.id, BASE.id.upper(),
       BASE.id + "/..", "_v1registry", "%c3%a9" * 32, "0x" + "0" * 62]  # fmt: skip


@pytest.mark.parametrize("image_id", IDS, ids=lambda text: ascii(text[:24]))
def test_ids(server: Server, image_id: str) -> None:
    before = _tree(server.store)
    for method, part in [
        ("GET", "json"), ("GET", "layer"), ("GET", "ancestry"), ("GET", "files"), ("GET", "diff"),
        ("PUT", "json"), ("PUT", "layer"), ("PUT", "checksum"),
    ]:  # fmt: skip
        path = f"/v1/images/{image_id}/{part}".encode()
        headers = {"X-Docker-Checksum-Payload": BASE.checksum}
        refused(raw.request(server, method, path, headers, b"{}"), 404, 400)
    assert _tree(server.store) == before


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
    refused(raw.put(server, "/v1/repositories/h/shape/tags/t", body), 400, 404)
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
    """Return every path below the store, without temporary files."""
    return {
        str(path.relative_to(store)) for path in store.rglob("*") if "_v1registry" not in path.parts
    }
