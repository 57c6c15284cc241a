"""JSON as the protocol speaks it: read with bounds, written as 0.x wrote it."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from v1registry.lib import errors
from v1registry.lib.errors import Failure


def parse(data: bytes, failure: errors.Text = errors.JSON_INVALID) -> Any:
    """Parse JSON in UTF-8; raise `failure` for anything else.

    NaN and Infinity are not JSON; nesting too deep and integers too long for
    the parser count as invalid.
    """
    try:
        return json.loads(data.decode("utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise Failure(*failure) from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def dump(value: Any) -> bytes:
    """Keys sorted, `, ` and `: ` between (protocol-v1.md section 1), ASCII only."""
    return json.dumps(value, sort_keys=True).encode("ascii")
