"""The intended differences between our responses and the recorded ones, with their reasons."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

from tests.protocol.recordings import Exchange
from tests.protocol.replay import Difference

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
    """Return whether the request reads part of a complete image with a user and a password."""
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


def sorted_results(exchange: Exchange, body: object) -> bytes:
    assert isinstance(body, bytes)
    answer = json.loads(body)
    answer["results"].sort(key=lambda result: result["name"])
    asked = parse_qs(urlsplit(exchange.path).query)
    size = int(asked["n"][0]) if "n" in asked else 100_000
    answer |= {"num_pages": -(-answer["num_results"] // size), "page": 1, "page_size": size}
    return json.dumps(answer, sort_keys=True).encode()


def _sorted_length(exchange: Exchange, _: object) -> str:
    return str(len(sorted_results(exchange, exchange.answer.body)))


def _is(value: object) -> Callable[[Exchange, object], object]:
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
        "header content-length", _search, _sorted_length,
        "6, search: the number of pages is told, as Docker Hub did",
    ),
    Difference(
        "body", _search, sorted_results,
        "6 names no order of results (0.9.1's were its table's): ours are sorted by name; and the"
        " number of pages is told, as Docker Hub did: engines ignore what they do not know",
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
