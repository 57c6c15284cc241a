"""How answers look: bodies and headers that old engines expect (protocol-v1.md section 1)."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, current_app, g, request
from werkzeug.datastructures import Headers as WerkzeugHeaders
from werkzeug.exceptions import HTTPException

from v1registry.api import ocierrors
from v1registry.lib import documents, errors
from v1registry.lib.errors import Failure
from v1registry.lib.units import http_date
from v1registry.server.thread_pool import run_in_thread
from v1registry.storage.errors import NotFound, Refused, StorageError, StoreFull, Unavailable

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

Headers = list[tuple[str, str]]

YEAR = 365 * 24 * 3600  # seconds for which a finished image may be cached

# Engines up to 0.10 refuse a registry without a version. This one says how we behave.
VERSION: tuple[str, str] = ("X-Docker-Registry-Version", "0.9.1")

_ORDINARY: Headers = [
    ("Content-Type", "application/json"),
    ("Cache-Control", "no-cache"),
    ("Pragma", "no-cache"),
    ("Expires", "-1"),
    VERSION,
]
_RETRY_AFTER = "5"  # seconds


def ordinary(
    value: Any = True, status: int = 200, headers: Iterable[tuple[str, str]] = ()
) -> Response:
    """A JSON answer that nobody may cache."""
    own = [*_ORDINARY, *headers]
    if status == 204:
        return Response(b"", status, own)
    is_large = documents.is_large(value)
    body = run_in_thread(documents.dump, value) if is_large else documents.dump(value)
    if status == 302:
        return Response(body, status, own)  # which makes an IRI in Location a URI
    own.append(("Content-Length", str(len(body))))
    return Whole(body, status, own)


def streamed(pieces: Iterable[bytes]) -> Response:
    """A JSON answer that nobody may cache, of a length that is not known."""
    return Response(pieces, 200, _ORDINARY)


def immutable(
    body: Any,
    content_type: str = "application/json",
    status: int = 200,
    headers: Iterable[tuple[str, str]] = (),
    *,
    private: bool = False,
) -> Response:
    """Something of a finished image: cacheable for a year, by the asker alone if `private`."""
    fixed = [
        ("Content-Type", content_type),
        *_for_a_year(private),
        ("Last-Modified", "Thu, 01 Jan 1970 00:00:00 GMT"),
        VERSION,
    ]
    return final(body, status, headers, fixed)


class Whole(Response):
    """An answer whose headers are all there: none is looked up or completed before they are sent."""

    def __init__(self, body: Any, status: int, headers: Headers | WerkzeugHeaders) -> None:
        """`body`: bytes, or what a WSGI server takes as an answer's body."""
        pieces = [body] if isinstance(body, bytes) else body
        super().__init__(pieces, status, headers, direct_passthrough=True)

    def get_wsgi_headers(self, environ: WSGIEnvironment) -> WerkzeugHeaders:
        return self.headers


class Checked(WerkzeugHeaders):
    """Headers that were looked through for line breaks once, when they were made."""

    def __init__(self, headers: Iterable[tuple[str, str]]) -> None:
        super().__init__()
        self._list = list(headers)


def final(
    content: Any, status: int, headers: Iterable[tuple[str, str]], fixed: Headers | None = None
) -> Response:
    """A success. Bytes get their Content-Length here, all else brings it in `headers`.

    `fixed`: headers of our own making, in which no line break has to be looked for.
    """
    own = Checked(fixed or ())
    for header in headers:
        own.add(*header)
    if status == 304:
        return Response(content, status, own)
    if isinstance(content, bytes):
        own.add("Content-Length", str(len(content)))
    return Whole(content, status, own)


def fetched(path: str, url: str, content_type: str, *, private: bool) -> Response:
    """Let nginx fetch something of a finished image from `url`, by its internal location `path`.

    How the answer may be cached goes in headers that nginx adds to a success alone; of our own
    Cache-Control it would make part of every answer, also of one that says the store is down.
    """
    own = [
        ("Content-Type", content_type),
        VERSION,
        ("X-Accel-Redirect", path),
        ("X-Store-URL", url),
    ]
    return Response(
        b"", 200, [*own, *((f"X-Store-{name}", value) for name, value in _for_a_year(private))]
    )


def _for_a_year(private: bool) -> Headers:
    scope = "private" if private else "public"
    return [
        ("Cache-Control", f"{scope}, max-age={YEAR}"),
        ("Expires", http_date(int(time.time()) + YEAR)),
    ]


def plain(text: str, status: int) -> Response:
    """Plain text, for clients that must not take us for what they look for."""
    return Response(f"{text}\n", status, [("Content-Type", "text/plain; charset=utf-8")])


def handle_errors(app: Flask) -> None:
    """The one place where errors become answers."""
    app.register_error_handler(Failure, _failure)
    app.register_error_handler(StorageError, _storage_error)
    app.register_error_handler(Exception, _unexpected)


def writes_to_store() -> bool:
    """Whether the request would change images or repositories."""
    return request.method not in ("GET", "HEAD", "OPTIONS") and request.path.startswith(
        ("/v1/images/", "/v1/repositories/")
    )


def refuse_changes() -> None:
    """Before each request of a read-only registry. Raise Failure 503 for what would write."""
    if writes_to_store():
        raise Failure(*errors.READ_ONLY)


def refuse_nul() -> None:
    """Before each request. Raise Failure 400 for a NUL in its path or query: no name has one, and
    PostgreSQL takes none.
    """
    if "%00" in request.environ.get("QUERY_STRING", "") or "\0" in request.environ["PATH_INFO"]:
        raise Failure(*errors.TEXT_INVALID)


def _failure(failure: Failure) -> Response:
    if "is_v2" in g:
        return ocierrors.answer(failure)
    return ordinary({"error": failure.text}, failure.status, failure.headers.items())


def _storage_error(error: StorageError) -> Response:
    current_app.logger.error("%s %s: %r", request.method, request.path, error)
    if isinstance(error, StoreFull):
        return _failure(Failure(*errors.STORE_FULL))
    if isinstance(error, Unavailable):
        return _failure(Failure(*errors.STORE_UNAVAILABLE, {"Retry-After": _RETRY_AFTER}))
    if isinstance(error, Refused):
        return _failure(Failure(*errors.STORE_REFUSED))
    assert isinstance(
        error, NotFound
    )  # something vanished under us: deleted by another, or by hand
    return _failure(Failure(*errors.STORE_UNAVAILABLE, {"Retry-After": _RETRY_AFTER}))


def _unexpected(error: Exception) -> Response | HTTPException:
    if isinstance(error, HTTPException):
        return error  # unknown paths and wrong methods are HTML, not JSON: engines rely on it
    current_app.logger.exception("%s %s", request.method, request.path)
    return _failure(Failure(500, "Internal server error"))
