"""How answers look over v2: headers that every one of them has, and what may be kept how long."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from flask import Response, request
from werkzeug.datastructures import Headers as WerkzeugHeaders

from v1registry.api.answers import YEAR, Checked, Headers, Whole, final
from v1registry.api.ocierrors import VERSION
from v1registry.lib import documents
from v1registry.lib.oci.images import Manifest

# What is called by its digest is a program to nobody, whatever is in it.
_ALWAYS: Headers = [VERSION, ("X-Content-Type-Options", "nosniff")]


def json_answer(
    value: Any, headers: Iterable[tuple[str, str]] = (), content_type: str = "application/json"
) -> Response:
    """JSON that changes: a list, a greeting."""
    own = [("Content-Type", content_type), ("Cache-Control", "no-cache"), *_ALWAYS]
    return Response(documents.dump(value), 200, [*own, *headers])


def manifest(found: Manifest, *, by_digest: bool, private: bool) -> Response:
    """A manifest. Asked for by its digest, it can never change; by a tag, it may any time."""
    size = len(found.data)
    headers = _of_manifest(found.digest, found.media_type, size, by_digest, private)
    if is_known(found.digest):
        return Response((), 304, headers)
    return Whole(found.data, 200, Checked(headers))


@lru_cache(maxsize=1024)
def _of_manifest(
    digest: str, media_type: str, size: int, by_digest: bool, private: bool
) -> Headers:
    headers = _of(digest, media_type, private=private, forever=by_digest)
    if not by_digest:
        headers.append(("Vary", "Accept"))
    return list(WerkzeugHeaders([*headers, ("Content-Length", str(size))]))


def blob(
    content: Any, digest: str, content_type: str, status: int, headers: Headers, *, private: bool
) -> Response:
    """A blob or a part of it; bytes get their Content-Length, all else brings it in `headers`."""
    own = _of(digest, content_type, private=private)
    return final(content, status, [*own, *headers])


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
    """Whether the client says that it has this already (If-None-Match)."""
    if "HTTP_IF_NONE_MATCH" not in request.environ:  # as nearly always
        return False
    return request.if_none_match.contains_weak(digest)
