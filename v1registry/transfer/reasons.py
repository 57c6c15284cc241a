"""Texts of error responses of a registry, and the time to wait before a retry."""

from __future__ import annotations

import email.utils
import re
import time

import requests

_SECONDS = re.compile(r"[0-9]{1,9}")
_EXCERPT = 500  # characters shown of an error text


def words_of(response: requests.Response) -> str:
    """Return the status and the registry's error text, shortened and printable."""
    try:
        errors = response.json()["errors"]
        words = "; ".join(f"{e.get('code', '')} {e.get('message', '')}".strip() for e in errors)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        words = ""
    text = f"answered {response.status_code} {words}".strip()[:_EXCERPT]
    return "".join(c if c.isprintable() else " " for c in text)


def retry_after(response: requests.Response | None) -> float:
    """Return the seconds to wait that the server names (RFC 9110 section 10.2.3)."""
    value = response.headers.get("Retry-After", "") if response is not None else ""
    if _SECONDS.fullmatch(value):
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0  # missing, or not valid
