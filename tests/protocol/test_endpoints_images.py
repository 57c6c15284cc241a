"""Every row of protocol-v1.md sections 1 to 3 on images, over a real server.

The server of a module holds: BASE and CHILD, finished; OPEN, with JSON alone; LOADED, with a layer
but no checksum; TEXT, whose layer is no tar; TWENTY, a layer of 20 bytes; EMPTY, one of none.
"""

from __future__ import annotations

import hashlib
import json

import pytest

from tests import raw
from tests.live_server import Server
from tests.protocol import engine
from tests.protocol.engine import image, image_id
from tests.protocol.table import (
    ANY,
    HTML,
    IMMUTABLE,
    LAYER,
    ORDINARY,
    Row,
    check,
    check_headers,
    error,
)

pytestmark = pytest.mark.every_store

BASE = image("base")
CHILD = image("child", BASE)
OPEN = image("open", BASE)
LOADED = image("loaded", BASE)
TEXT = image("text", layer=b"this is not a tar, whatever one does with it\n" * 40)
TWENTY = image("twenty", layer=b"0123456789abcdefghij")
EMPTY = image("empty", layer=b"")
FRESH = image("fresh", CHILD)
NOBODY = image_id("nobody pushed this")
ORPHAN = image("orphan", image("absent parent"))
UNDER_OPEN = image("under open", OPEN)

NOT_FOUND = error("Image not found")
IN_PROGRESS = error("Image is being uploaded, retry later")
NO_CHECKSUM = error(
    "X-Docker-Checksum-Payload not set.  If you are using the Docker daemon, you should upgrade"
    " to version 0.10 or later"
)


@pytest.fixture(scope="module", autouse=True)
def _world(server: Server) -> None:
    for finished in (BASE, CHILD, TEXT, TWENTY, EMPTY):
        engine.upload(server, finished)
    for opened in (OPEN, LOADED):
        engine.expect(raw.put(server, opened.path("json"), opened.json))
    engine.expect(raw.put(server, LOADED.path("layer"), LOADED.layer, chunk=100))


def _ancestry(of: engine.Image) -> list[str]:
    return list(of.ancestry)


SINCE = {"If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}
SIZE_AND_SUM = {"X-Docker-Size": str(len(CHILD.layer)), "X-Docker-Checksum-Payload": CHILD.checksum}

READING = [
    Row("json", "GET", CHILD.path("json"), 200, CHILD.json, IMMUTABLE, more=SIZE_AND_SUM),
    Row("json of an empty layer", "GET", EMPTY.path("json"), 200, EMPTY.json, IMMUTABLE,
        more={"X-Docker-Size": "0"}),
    Row("json, unknown", "GET", f"/v1/images/{NOBODY}/json", 404, NOT_FOUND),
    Row("json, 16 digits, unknown", "GET", "/v1/images/0123456789abcdef/json", 404, NOT_FOUND),
    Row("json, open", "GET", OPEN.path("json"), 400, IN_PROGRESS),
    Row("json, loaded", "GET", LOADED.path("json"), 400, IN_PROGRESS),
    Row("layer", "GET", CHILD.path("layer"), 200, CHILD.layer, LAYER,
        more={"Content-Length": str(len(CHILD.layer)), "Content-Encoding": None}),
    Row("layer, empty", "GET", EMPTY.path("layer"), 200, b"", LAYER, more={"Content-Length": "0"}),
    Row("layer, unknown", "GET", f"/v1/images/{NOBODY}/layer", 404, NOT_FOUND),
    Row("layer, open", "GET", OPEN.path("layer"), 400, IN_PROGRESS),
    Row("layer, loaded", "GET", LOADED.path("layer"), 400, IN_PROGRESS),
    Row("ancestry", "GET", CHILD.path("ancestry"), 200, _ancestry(CHILD), IMMUTABLE),
    Row("ancestry of a base", "GET", BASE.path("ancestry"), 200, [BASE.id], IMMUTABLE),
    Row("ancestry, unknown", "GET", f"/v1/images/{NOBODY}/ancestry", 404, NOT_FOUND),
    Row("ancestry, open", "GET", OPEN.path("ancestry"), 400, IN_PROGRESS),
    Row("files", "GET", CHILD.path("files"), 200,
        [["child.txt", "f", False, 5, 1400000000, 0o644, 0, 0]], IMMUTABLE),
    Row("files, unknown", "GET", f"/v1/images/{NOBODY}/files", 404, NOT_FOUND),
    Row("files, open", "GET", OPEN.path("files"), 400, IN_PROGRESS),
    Row("files, no tar", "GET", TEXT.path("files"), 400, error("Layer format not supported")),
    Row("diff", "GET", CHILD.path("diff"), 200,
        {"changed": {}, "created": {"child.txt": ["f", False, 5, 1400000000, 0o644, 0, 0]},
         "deleted": {}}, IMMUTABLE),
    Row("diff, unknown", "GET", f"/v1/images/{NOBODY}/diff", 404, NOT_FOUND),
    Row("diff, open", "GET", OPEN.path("diff"), 400, IN_PROGRESS),
    # what the original never provided well, or not at all
    Row("private_images", "GET", f"/v1/private_images/{CHILD.id}/json", 404, ANY, HTML),
    Row("unknown part", "GET", f"/v1/images/{CHILD.id}/size", 404, ANY, HTML),
    Row("no part", "GET", f"/v1/images/{CHILD.id}", 404, ANY, HTML),
    Row("unknown path", "GET", "/v1/nothing", 404, ANY, HTML),
    Row("outside v1", "GET", "/nothing/at/all", 404, ANY, HTML),
    Row("wrong method", "POST", CHILD.path("json"), 405, ANY, HTML, body=b"{}"),
    Row("wrong method", "DELETE", CHILD.path("layer"), 405, ANY, HTML),
    Row("wrong method", "GET", CHILD.path("checksum"), 405, ANY, HTML),
    Row("wrong method", "PUT", CHILD.path("ancestry"), 405, ANY, HTML, body=b"[]"),
]  # fmt: skip

# A 304 describes no body: of the immutable headers it has those that a cache goes on with.
NOT_MODIFIED = {
    "Cache-Control": "public, max-age=31536000",
    "Pragma": None,
    "ETag": None,
    "Content-Length": None,
    "X-Docker-Registry-Version": IMMUTABLE["X-Docker-Registry-Version"],
}
SINCE_ROWS = [
    *(
        Row(f"{part}, any date", "GET", CHILD.path(part), 304, b"", NOT_MODIFIED,
            {"If-Modified-Since": date})
        for part in ("json", "layer", "ancestry", "files", "diff")
        for date in (SINCE["If-Modified-Since"], "yesterday", "")
    ),
    Row("unknown: NEW", "GET", f"/v1/images/{NOBODY}/json", 404, NOT_FOUND, headers=SINCE),
    Row("unknown: NEW", "GET", f"/v1/images/{NOBODY}/layer", 404, NOT_FOUND, headers=SINCE),
    Row("open: in progress comes first", "GET", OPEN.path("json"), 400, IN_PROGRESS, headers=SINCE),
    Row("loaded", "GET", LOADED.path("layer"), 400, IN_PROGRESS, headers=SINCE),
    Row("wrong id comes first", "GET", "/v1/images/xyz/json", 404, error("Invalid image ID"),
        headers=SINCE),
]  # fmt: skip

WRONG_IDS = [
    "xyz",
    "a" * 63,
    "a" * 65,
    "A" * 64,
    "0" * 15,
    "0" * 17,
    "%20" + "a" * 63,
    "a" * 64 + "%0a",
]
ID_ROWS = [
    Row(f"{part} of {wrong[:20]}", method, f"/v1/images/{wrong}/{part}", 404,
        error("Invalid image ID"), body=None if method == "GET" else b"{}")
    for wrong in WRONG_IDS
    for method, part in [
        ("GET", "json"), ("GET", "layer"), ("GET", "ancestry"), ("GET", "files"), ("GET", "diff"),
        ("PUT", "json"), ("PUT", "layer"), ("PUT", "checksum"),
    ]
]  # fmt: skip


def _json(**document: object) -> bytes:
    return json.dumps(document).encode()


PUT_JSON = [
    Row("not JSON", "PUT", FRESH.path("json"), 400, error("Invalid JSON"), body=b"{"),
    Row("empty", "PUT", FRESH.path("json"), 400, error("Invalid JSON"), body=b""),
    Row("a list", "PUT", FRESH.path("json"), 400, error("Invalid JSON"), body=b"[]"),
    Row("a text", "PUT", FRESH.path("json"), 400, error("Invalid JSON"), body=b'"x"'),
    Row("null", "PUT", FRESH.path("json"), 400, error("Invalid JSON"), body=b"null"),
    Row("no id", "PUT", FRESH.path("json"), 400, error("Missing key `id' in JSON"), body=b"{}"),
    Row("no id comes before its parent", "PUT", FRESH.path("json"), 400,
        error("Missing key `id' in JSON"), body=_json(parent=NOBODY)),
    Row("another id", "PUT", FRESH.path("json"), 400, error("JSON data contains invalid id"),
        body=BASE.json),
    Row("id is no text", "PUT", FRESH.path("json"), 400, error("JSON data contains invalid id"),
        body=_json(id=5)),
    Row("absent parent", "PUT", ORPHAN.path("json"), 400,
        error("Image depends on a non existing parent"), body=ORPHAN.json),
    Row("parent of a wrong shape", "PUT", FRESH.path("json"), 400,
        error("Image depends on a non existing parent"), body=_json(id=FRESH.id, parent="../x")),
    Row("parent is no text", "PUT", FRESH.path("json"), 400,
        error("Image depends on a non existing parent"), body=_json(id=FRESH.id, parent=[1])),
    Row("parent is itself", "PUT", FRESH.path("json"), 400,
        error("Image depends on a non existing parent"), body=_json(id=FRESH.id, parent=FRESH.id)),
    Row("parent not finished (8, 10)", "PUT", UNDER_OPEN.path("json"), 400,
        error("Image depends on a non existing parent"), body=UNDER_OPEN.json),
    Row("finished", "PUT", CHILD.path("json"), 409, error("Image already exists"), body=CHILD.json),
    Row("finished, other bytes", "PUT", CHILD.path("json"), 409, error("Image already exists"),
        body=_json(id=CHILD.id)),
    Row("open, again", "PUT", OPEN.path("json"), 200, body=OPEN.json),
    Row("open, other bytes: staged beside", "PUT", OPEN.path("json"), 200, body=_json(id=OPEN.id)),
]  # fmt: skip

SUM = "X-Docker-Checksum-Payload"
CLOSED = error("Cannot set this image checksum")

PUT_REST = [
    Row("layer before its json", "PUT", f"/v1/images/{NOBODY}/layer", 404, NOT_FOUND, body=b"x"),
    Row("layer of a finished image: drained (3, NEW)", "PUT", TWENTY.path("layer"), 200,
        body=b"other bytes"),
    Row("checksum of the drained bytes is right too (3, NEW)", "PUT", TWENTY.path("checksum"), 200,
        headers={SUM: "sha256:" + hashlib.sha256(TWENTY.json + b"\nother bytes").hexdigest()}),
    Row("checksum, no header", "PUT", CHILD.path("checksum"), 412, NO_CHECKSUM),
    Row("checksum, no header, unknown image", "PUT", f"/v1/images/{NOBODY}/checksum", 412,
        NO_CHECKSUM),
    Row("checksum, empty", "PUT", LOADED.path("checksum"), 400, error("Missing Image's checksum"),
        headers={SUM: ""}),
    Row("checksum, unknown image", "PUT", f"/v1/images/{NOBODY}/checksum", 404, NOT_FOUND,
        headers={SUM: "sha256:" + "0" * 64}),
    Row("checksum, finished image", "PUT", CHILD.path("checksum"), 409, CLOSED,
        headers={SUM: "sha256:" + "0" * 64}),
    Row("checksum, finished image, tarsum", "PUT", CHILD.path("checksum"), 409, CLOSED,
        headers={"X-Docker-Checksum": "tarsum+sha256:" + "0" * 64}),
    Row("checksum, right, of a finished image (3, NEW)", "PUT", CHILD.path("checksum"), 200,
        headers={SUM: CHILD.checksum}),
    Row("checksum, wrong", "PUT", LOADED.path("checksum"), 400, error("Checksum mismatch"),
        headers={SUM: "sha256:" + "0" * 64}),
    Row("checksum, of no known kind", "PUT", LOADED.path("checksum"), 400,
        error("Checksum mismatch"), headers={SUM: "md5:12"}),
    Row("checksum, no layer (8, 9; NEW: 400)", "PUT", OPEN.path("checksum"), 400,
        lambda body: isinstance(json.loads(body)["error"], str), headers={SUM: OPEN.checksum}),
]  # fmt: skip


@pytest.mark.parametrize("row", READING, ids=str)
def test_reading(server: Server, row: Row) -> None:
    check(server, row)


@pytest.mark.parametrize("row", SINCE_ROWS, ids=str)
def test_if_modified_since(server: Server, row: Row) -> None:
    check(server, row)


@pytest.mark.parametrize("row", ID_ROWS, ids=str)
def test_wrong_ids(server: Server, row: Row) -> None:
    check(server, row)


@pytest.mark.parametrize("row", PUT_JSON, ids=str)
def test_put_json(server: Server, row: Row) -> None:
    check(server, row)


@pytest.mark.parametrize("row", PUT_REST, ids=str)
def test_put_layer_and_checksum(server: Server, row: Row) -> None:
    check(server, row)


def test_refused_requests_change_nothing(server: Server) -> None:
    """After all refused requests above, in any order, the complete images are unchanged."""
    for row in [*PUT_JSON, *PUT_REST]:
        check(server, row)
    assert raw.get(server, CHILD.path("json")).body == CHILD.json
    assert raw.get(server, TWENTY.path("layer")).body == TWENTY.layer
    assert raw.get(server, FRESH.path("json")).status == 404
    assert raw.get(server, LOADED.path("json")).status == 400


def test_a_push_succeeds_after_a_checksum_mismatch(server: Server) -> None:
    """Section 3: after a wrong checksum the image stays loaded, and the right one completes it."""
    mended = image("mended", BASE)
    engine.expect(raw.put(server, mended.path("json"), mended.json))
    engine.expect(raw.put(server, mended.path("layer"), b"broken on the way", chunk=5))
    right = {SUM: mended.checksum}
    assert raw.put(server, mended.path("checksum"), headers=right).status == 400
    assert raw.get(server, mended.path("json")).status == 400
    engine.expect(raw.put(server, mended.path("layer"), mended.layer, chunk=50))
    engine.expect(raw.put(server, mended.path("checksum"), headers=right))
    assert raw.get(server, mended.path("json")).body == mended.json
    assert raw.get(server, mended.path("layer")).body == mended.layer


def test_errors_are_not_cacheable_and_ordinary(server: Server) -> None:
    check_headers(raw.get(server, f"/v1/images/{NOBODY}/layer"), ORDINARY)


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", ""])
def test_bodies_of_every_content_type(server: Server, content_type: str) -> None:
    """Section 1: docker-registry 0.x lost a body sent as `curl -d` does."""
    typed = image(f"typed {content_type}", BASE)
    headers = {"Content-Type": content_type}
    engine.expect(raw.put(server, typed.path("json"), typed.json, headers))
    engine.expect(raw.put(server, typed.path("layer"), typed.layer, headers))
    engine.expect(raw.put(server, typed.path("checksum"), b"", {**headers, SUM: typed.checksum}))
    assert raw.get(server, typed.path("layer")).body == typed.layer
