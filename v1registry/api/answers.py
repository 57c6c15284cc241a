"""Responses of the v1 protocol: the bodies and headers that old engines expect (protocol-v1.md section 1)."""

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
from v1registry.storage.errors import (
    NotFound,
    ReadOnly,
    Refused,
    StorageError,
    StoreFull,
    Unavailable,
)

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

Headers = list[tuple[str, str]]

YEAR = 365 * 24 * 3600  # seconds for which clients may cache a complete image

# Engines up to 0.10 refuse a registry that sends no version. v1registry behaves like 0.9.1.
VERSION: tuple[str, str] = ("X-Docker-Registry-Version", "0.9.1")

_UNCACHED: Headers = [
    ("Content-Type", "application/json"),
    ("Cache-Control", "no-cache"),
    ("Pragma", "no-cache"),
    ("Expires", "-1"),
    VERSION,
]
_RETRY_AFTER = "5"  # seconds


def uncached_json(
    value: Any = True, status: int = 200, headers: Iterable[tuple[str, str]] = ()
) -> Response:
    """Return a JSON response that no cache may keep."""
    own = [*_UNCACHED, *headers]
    if status == 204:
        return Response(b"", status, own)
    is_large = documents.is_large(value)
    body = run_in_thread(documents.dump, value) if is_large else documents.dump(value)
    if status == 302:
        return Response(body, status, own)  # werkzeug turns an IRI in Location into a URI
    own.append(("Content-Length", str(len(body))))
    return FinalResponse(body, status, own)


class StreamedResponse(Response):
    """A response that is made while it is sent. `held` is the memory of its source, in bytes."""

    held = 4 * 1024 * 1024


def streamed_json(pieces: Iterable[bytes]) -> Response:
    """Return a JSON response of unknown length that no cache may keep."""
    return StreamedResponse(pieces, 200, _UNCACHED)


def immutable(
    body: Any,
    content_type: str = "application/json",
    status: int = 200,
    headers: Iterable[tuple[str, str]] = (),
    *,
    private: bool = False,
) -> Response:
    """Return content of a complete image, cacheable for a year. `private`: not by shared caches."""
    fixed = [
        ("Content-Type", content_type),
        *_for_a_year(private),
        ("Last-Modified", "Thu, 01 Jan 1970 00:00:00 GMT"),
        VERSION,
    ]
    return success(body, status, [*fixed, *headers])


class FinalResponse(Response):
    """A response with complete headers: werkzeug checks or adds none before it sends them."""

    def __init__(self, body: Any, status: int, headers: Headers) -> None:
        """`body`: bytes, or an iterable that the WSGI server sends."""
        pieces = [body] if isinstance(body, bytes) else body
        super().__init__(pieces, status, headers, direct_passthrough=True)

    def get_wsgi_headers(self, environ: WSGIEnvironment) -> WerkzeugHeaders:
        return self.headers


def success(content: Any, status: int, headers: Headers) -> Response:
    """Return a successful response. Content other than bytes needs a Content-Length in `headers`."""
    if status == 304:
        return Response(content, status, headers)
    if isinstance(content, bytes):
        headers = [*headers, ("Content-Length", str(len(content)))]
    return FinalResponse(content, status, headers)


def accel_redirect(path: str, url: str, content_type: str, *, private: bool) -> Response:
    """Tell nginx to fetch content of a complete image from `url`, by its internal location `path`.

    The caching headers have names of their own: nginx adds them to a successful response only. It
    would copy our Cache-Control into every response, also into one that says the store is down.
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


def plain_text(text: str, status: int) -> Response:
    """Return plain text, so that a client recognizes that this is no registry of its protocol."""
    return Response(f"{text}\n", status, [("Content-Type", "text/plain; charset=utf-8")])


def handle_errors(app: Flask) -> None:
    """Register the handlers that turn errors into responses. No other code does this."""
    app.register_error_handler(Failure, failed)
    app.register_error_handler(StorageError, _storage_error)
    app.register_error_handler(Exception, _unexpected)


def writes_to_store() -> bool:
    """Return whether the request would change images or repositories."""
    return request.method not in ("GET", "HEAD", "OPTIONS") and request.path.startswith(
        ("/v1/images/", "/v1/repositories/", "/ui/repositories/")
    )


def refuse_changes() -> None:
    """Raise Failure 503 for a request that writes. A read-only registry runs this before each request."""
    if writes_to_store():
        raise Failure(*errors.READ_ONLY)


def refuse_nul() -> None:
    """Raise Failure 400 if the path or the query of the request has a NUL. Runs before each request.

    No legal name contains a NUL, and PostgreSQL raises an error for it.
    """
    if "%00" in request.environ.get("QUERY_STRING", "") or "\0" in request.environ["PATH_INFO"]:
        raise Failure(*errors.TEXT_INVALID)


def failed(failure: Failure) -> Response:
    """Return the answer to a failed request, in the form of the request's protocol."""
    if "is_v2" in g:
        return ocierrors.answer(failure)
    return uncached_json({"error": failure.text}, failure.status, failure.headers.items())


def _storage_error(error: StorageError) -> Response:
    return failed(logged(error))


def _unexpected(error: Exception) -> Response | HTTPException:
    if isinstance(error, HTTPException):
        return error  # engines rely on HTML, not JSON, for unknown paths and wrong methods
    return failed(logged(error))


def logged(error: Exception) -> Failure:
    """Log an error that is no Failure, and return the Failure that clients get for it."""
    if not isinstance(error, StorageError):
        current_app.logger.exception("%s %s", request.method, request.path)
        return Failure(500, "Internal server error")
    if isinstance(error, ReadOnly):
        return Failure(errors.READ_ONLY[0], str(error))
    current_app.logger.error("%s %s: %r", request.method, request.path, error)
    if isinstance(error, StoreFull):
        return Failure(*errors.STORE_FULL)
    if isinstance(error, Refused):
        return Failure(*errors.STORE_REFUSED)
    # Unavailable; or not found, because something deleted an object during this request.
    assert isinstance(error, Unavailable | NotFound)
    return Failure(*errors.STORE_UNAVAILABLE, {"Retry-After": _RETRY_AFTER})
