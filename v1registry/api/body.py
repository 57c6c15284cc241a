"""Request bodies: small ones whole, layers in pieces."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from flask import request

from v1registry.api.services import Services
from v1registry.config.schema import Limits
from v1registry.lib import documents, errors
from v1registry.lib.errors import Failure
from v1registry.lib.running import for_size
from v1registry.server.receive import pieces, whole

_TOO_SLOW = (408, "The upload took longer than this registry allows")


def small(limits: Limits) -> bytes:
    """The whole body, whatever its Content-Type says.

    Raise Failure 413 over `limits.json` bytes, 408 after `limits.body_seconds`.
    """
    return whole(request.environ, limits.json, limits.body_seconds)


def require_json() -> None:
    """Raise Failure 415 unless the client declares its body as JSON.

    A page of another web site can make a browser send any other body, with the password that the
    browser remembers; for JSON the browser asks first, and the registry does not agree.
    """
    if request.mimetype != "application/json":
        raise Failure(*errors.JSON_REQUIRED)


def require_json_of_browsers() -> None:
    """The same for requests of the v1 protocol: engines and scripts send no `Origin`."""
    if "HTTP_ORIGIN" in request.environ:
        require_json()


def parsed(parts: Services, failure: errors.Text) -> Any:
    """The JSON that a small body holds; raises `failure` besides what `small` raises."""
    data = small(parts.config.limits)
    return for_size(parts.compute, len(data))(documents.parse_text, data, failure)


def layer(limit: int, seconds: float) -> Iterator[bytes | memoryview]:
    """The body in pieces, each valid until the next step.

    Raise Failure 413 over `limit` bytes, 408 after `seconds`; 0 is no limit for both.
    """
    end = time.monotonic() + seconds
    for piece in pieces(request.environ, limit or None):
        if seconds and time.monotonic() > end:
            raise Failure(*_TOO_SLOW)
        yield piece
