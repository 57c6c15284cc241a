"""What an answer of a registry says, or the lack of one: reasons for people, and when to retry."""

from __future__ import annotations

import email.utils
import re
import time

import requests

_SECONDS = re.compile(r"[0-9]{1,9}")
_EXCERPT = 500  # characters of an error's text that are shown


def words_of(response: requests.Response) -> str:
    """Return the status and the registry's own words, bounded and printable."""
    try:
        errors = response.json()["errors"]
        words = "; ".join(f"{e.get('code', '')} {e.get('message', '')}".strip() for e in errors)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        words = ""
    text = f"answered {response.status_code} {words}".strip()[:_EXCERPT]
    return "".join(c if c.isprintable() else " " for c in text)


def retry_after(response: requests.Response | None) -> float:
    """Return the seconds that the server asks us to wait (RFC 9110 section 10.2.3)."""
    value = response.headers.get("Retry-After", "") if response is not None else ""
    if _SECONDS.fullmatch(value):
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0  # none, or nonsense
