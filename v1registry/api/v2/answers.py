"""How answers look over v2: headers that every one of them has, and what may be kept how long."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flask import Response, request

from v1registry.api.answers import YEAR, Headers
from v1registry.api.ocierrors import VERSION
from v1registry.lib import documents

# What is called by its digest is a program to nobody, whatever is in it.
_ALWAYS: Headers = [VERSION, ("X-Content-Type-Options", "nosniff")]


def json_answer(value: Any, headers: Iterable[tuple[str, str]] = ()) -> Response:
    """JSON that changes: a list, a greeting."""
    own = [("Content-Type", "application/json"), ("Cache-Control", "no-cache"), *_ALWAYS]
    return Response(documents.dump(value), 200, [*own, *headers])


def digested(
    content: Any,
    digest: str,
    content_type: str,
    status: int = 200,
    headers: Iterable[tuple[str, str]] = (),
    *,
    by_digest: bool = True,
    private: bool = False,
) -> Response:
    """What has a digest. Asked for by it, it can never change; by a tag, it may any time."""
    scope = "private" if private else "public"
    keep = f"{scope}, max-age={YEAR}" if by_digest else f"{scope}, no-cache"
    own = [
        ("Content-Type", content_type),
        ("Docker-Content-Digest", digest),
        ("ETag", f'"{digest}"'),
        ("Cache-Control", keep),
        *_ALWAYS,
    ]
    return Response(content, status, [*own, *headers], direct_passthrough=True)


def is_known(digest: str) -> bool:
    """Whether the client says that it has this already (If-None-Match)."""
    if "HTTP_IF_NONE_MATCH" not in request.environ:  # as nearly always
        return False
    return request.if_none_match.contains_weak(digest)
