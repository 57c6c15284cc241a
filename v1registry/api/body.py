"""Request bodies: small bodies as one value, layers in pieces."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl

from flask import request
from werkzeug.datastructures import MultiDict

from v1registry.api.services import Services
from v1registry.config.tables.limits import LimitOptions
from v1registry.lib import documents, errors
from v1registry.lib.errors import Failure
from v1registry.lib.running import for_size
from v1registry.server.receive import pieces, whole

_LARGEST_FORM = 1 << 20  # bytes
_FIELDS = 20_000  # of a form, such as the tags that a user selects on a page
_TOO_SLOW = (408, "The upload took longer than this registry allows")


def small(limits: LimitOptions) -> bytes:
    """Return the whole body, whatever its Content-Type.

    Raise Failure 413 above `limits.json` bytes, 408 after `limits.body_seconds`.
    """
    return whole(request.environ, limits.json, limits.body_seconds)


def form(services: Services) -> MultiDict[str, str]:
    """Return the fields of a form (`application/x-www-form-urlencoded`); none of another body.

    Raise Failure 413, 408 or 400 for a body beyond the limits, and what `small` raises.
    """
    limits = services.config.limits
    data = whole(request.environ, min(limits.json, _LARGEST_FORM), limits.body_seconds)
    if request.mimetype != "application/x-www-form-urlencoded":
        return MultiDict()
    try:
        pairs = for_size(services.compute, len(data))(_fields, data)
    except ValueError:
        raise Failure(*errors.DATA_INVALID) from None
    if any("\0" in text for pair in pairs for text in pair):
        raise Failure(*errors.TEXT_INVALID)
    return MultiDict(pairs)


def _fields(data: bytes) -> list[tuple[str, str]]:
    return parse_qsl(data.decode("utf-8"), keep_blank_values=True, max_num_fields=_FIELDS)


def require_json() -> None:
    """Raise Failure 415 unless the request declares its body as JSON.

    This stops cross-site request forgery. A page of another site can make a browser send other
    bodies with the password that the browser remembers. Before it sends JSON, the browser asks the
    server by a preflight request, which the registry does not allow.
    """
    if request.mimetype != "application/json":
        raise Failure(*errors.JSON_REQUIRED)


def require_json_of_browsers() -> None:
    """Raise Failure 415 for a browser's request without JSON. Engines and scripts send no `Origin`."""
    if "HTTP_ORIGIN" in request.environ:
        require_json()


def parsed(services: Services, failure: errors.Text) -> Any:
    """Return the JSON of a small body. Raise `failure` for other bodies, and what `small` raises."""
    data = small(services.config.limits)
    return for_size(services.compute, len(data))(documents.parse_text, data, failure)


def json_object(services: Services, failure: errors.Text) -> dict[str, Any]:
    """Return the JSON object of a small body. Raise `failure` if it is no JSON, 400 if no object."""
    value = parsed(services, failure)
    if not isinstance(value, dict):
        raise Failure(*errors.DATA_INVALID)
    return value


def layer(limit: int, seconds: float) -> Iterator[bytes | memoryview]:
    """Iterate over the body in pieces, each valid until the next step.

    Raise Failure 413 above `limit` bytes, 408 after `seconds`. For both, 0 means no limit.
    """
    end = time.monotonic() + seconds
    for piece in pieces(request.environ, limit or None):
        if seconds and time.monotonic() > end:
            raise Failure(*_TOO_SLOW)
        yield piece
