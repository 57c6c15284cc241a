"""How complete images are sent (protocol-v1.md sections 2 and 7.2) and who may cache them.

For the cache headers see protocol-v1.md section 8, item 13.
"""

from __future__ import annotations

import pytest

from tests import raw
from tests.live_server import Server
from tests.protocol import engine
from tests.protocol.engine import image
from tests.protocol.table import IMMUTABLE, LAYER, ORDINARY, check_headers

pytestmark = pytest.mark.every_store

CHILD = image("child")
TWENTY = image("twenty", layer=b"0123456789abcdefghij")
EMPTY = image("empty", layer=b"")
PRIVATE_REPOSITORY, PUBLIC_REPOSITORY = "secret/app", "open/app"
SINCE = {"If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}


@pytest.fixture(scope="module", autouse=True)
def _world(server: Server) -> None:
    for finished in (CHILD, TWENTY, EMPTY):
        engine.upload(server, finished)
    for name, access in ((PRIVATE_REPOSITORY, "private"), (PUBLIC_REPOSITORY, "public")):
        body = f'{{"access": "{access}"}}'.encode()
        engine.expect(raw.put(server, f"/v1/repositories/{name}/properties", body))


RANGES = [
    # (Range, status, body, Content-Range); the layer is 0123456789abcdefghij
    (None, 200, b"0123456789abcdefghij", None),
    ("bytes=5-9", 206, b"56789", "bytes 5-9/20"),
    ("bytes=5-", 206, b"56789abcdefghij", "bytes 5-19/20"),
    ("bytes=0-", 206, b"0123456789abcdefghij", "bytes 0-19/20"),
    ("bytes=0-0", 206, b"0", "bytes 0-0/20"),
    ("bytes=19-19", 206, b"j", "bytes 19-19/20"),
    ("bytes=19-", 206, b"j", "bytes 19-19/20"),
    ("bytes=5-20", 206, b"56789abcdefghij", "bytes 5-19/20"),  # as resuming engines ask
    ("bytes=5-99999999999999999999999", 206, b"56789abcdefghij", "bytes 5-19/20"),
    ("bytes=20-20", 416, b"", None),  # as engines ask after the last byte
    ("bytes=20-", 416, b"", None),
    ("bytes=99999999999999999999999-", 416, b"", None),
    # malformed, suffix and several ranges are ignored, as the original does
    ("bytes=9-5", 200, b"0123456789abcdefghij", None),
    ("bytes=-5", 200, b"0123456789abcdefghij", None),
    ("bytes=-", 200, b"0123456789abcdefghij", None),
    ("bytes=", 200, b"0123456789abcdefghij", None),
    ("bytes=0-1,3-4", 200, b"0123456789abcdefghij", None),
    ("bytes=a-b", 200, b"0123456789abcdefghij", None),
    ("bytes=0x1-5", 200, b"0123456789abcdefghij", None),
    ("bytes=\u00b2-5", 200, b"0123456789abcdefghij", None),
    ("octets=0-1", 200, b"0123456789abcdefghij", None),
    ("0-1", 200, b"0123456789abcdefghij", None),
]


@pytest.mark.parametrize(("wanted", "status", "body", "content_range"), RANGES)
def test_ranges(
    server: Server, wanted: str | None, status: int, body: bytes, content_range: str | None
) -> None:
    headers = {"Range": wanted} if wanted else {}
    for method in ("GET", "HEAD"):
        answer = raw.request(server, method, TWENTY.path("layer"), headers)
        assert answer.status == status, str(answer)
        assert answer.body == (body if method == "GET" else b"")
        assert answer.header("Content-Length") == str(len(body))
        if status == 416:
            check_headers(answer, {**ORDINARY, "Content-Type": lambda _: True})
        else:
            check_headers(answer, {**LAYER, "Content-Range": content_range})


@pytest.mark.parametrize("wanted", ["bytes=0-", "bytes=0-0", "bytes=0-5"])
def test_ranges_of_an_empty_layer(server: Server, wanted: str) -> None:
    """NEW: an empty layer gives 200 for every range."""
    answer = raw.get(server, EMPTY.path("layer"), {"Range": wanted})
    assert (answer.status, answer.body) == (200, b"")
    check_headers(answer, {**LAYER, "Content-Range": None, "Content-Length": "0"})


def _token(name: str, access: str = "read") -> str:
    return f'signature=ABCDEFGHIJKLMNOP,repository="{name}",access={access}'


CACHING = [
    # (Authorization, scope): 8, 13, and issue "no public caching of anything private"
    (None, "public"),
    ("Basic Og==", "public"),  # what engines up to 1.5 send without a login
    ("Basic dXNlcjpzZWNyZXQ=", "private"),
    ("Basic dXNlcjo=", "private"),
    (f"Token {_token(PUBLIC_REPOSITORY)}", "public"),
    (f"Token Token {_token(PUBLIC_REPOSITORY)}", "public"),
    (f"Token {_token(PRIVATE_REPOSITORY)}", "private"),
    (f"Token Token {_token(PRIVATE_REPOSITORY)}", "private"),
    (f"token {_token(PRIVATE_REPOSITORY)}", "private"),
    (f"Token signature=A, repository={PRIVATE_REPOSITORY} , access=read", "private"),
    (f"Token {_token('library/unknown')}", "public"),
    (f"Token {_token('../..')}", "public"),
    ("Token", "public"),
    ("Basic !!!", "public"),
    ("Basic", "public"),
    ("Bearer abc", "public"),
]


@pytest.mark.parametrize(("authorization", "scope"), CACHING)
@pytest.mark.parametrize("part", ["json", "layer", "ancestry", "files", "diff"])
def test_who_may_cache(server: Server, authorization: str | None, scope: str, part: str) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    cache = {"Cache-Control": f"{scope}, max-age=31536000", "Content-Type": lambda _: True}
    answer = raw.get(server, CHILD.path(part), headers)
    assert answer.status == 200
    check_headers(answer, {**IMMUTABLE, **cache})
    answer = raw.get(server, CHILD.path(part), {**headers, **SINCE})
    assert answer.status == 304
    check_headers(answer, {"Cache-Control": cache["Cache-Control"]})
