"""Responses of the v2 view: the common headers, and how long caches may keep each response."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flask import Response, request

from v1registry.api.answers import YEAR, Headers, success
from v1registry.api.ocierrors import VERSION
from v1registry.lib import documents
from v1registry.lib.oci.images import Manifest

# `nosniff`: browsers must never execute a blob.
_ALWAYS: Headers = [VERSION, ("X-Content-Type-Options", "nosniff")]


def json_answer(
    value: Any, headers: Iterable[tuple[str, str]] = (), content_type: str = "application/json"
) -> Response:
    """Return JSON that may change, such as a list."""
    own = [("Content-Type", content_type), ("Cache-Control", "no-cache"), *_ALWAYS]
    return Response(documents.dump(value), 200, [*own, *headers])


def manifest(found: Manifest, *, by_digest: bool, private: bool) -> Response:
    """Return a manifest. Under its digest it never changes; under a tag it may change at any time."""
    headers = _of(found.digest, found.media_type, private=private, forever=by_digest)
    if not by_digest:
        headers.append(("Vary", "Accept"))
    if is_known(found.digest):
        return Response((), 304, headers)
    return success(found.data, 200, headers)


def blob(
    content: Any, digest: str, content_type: str, status: int, headers: Headers, *, private: bool
) -> Response:
    """Return a blob or a part of it. Content other than bytes needs a Content-Length in `headers`."""
    own = _of(digest, content_type, private=private)
    return success(content, status, [*own, *headers])


def _of(digest: str, content_type: str, *, private: bool, forever: bool = True) -> Headers:
    scope = "private" if private else "public"
    keep = f"{scope}, max-age={YEAR}" if forever else f"{scope}, no-cache"
    return [
        ("Content-Type", content_type),
        ("Docker-Content-Digest", digest),
        ("ETag", f'"{digest}"'),
        ("Cache-Control", keep),
        *_ALWAYS,
    ]


def is_known(digest: str) -> bool:
    """Return whether the client already has this object, as If-None-Match says."""
    if "HTTP_IF_NONE_MATCH" not in request.environ:  # the common case
        return False
    return request.if_none_match.contains_weak(digest)
