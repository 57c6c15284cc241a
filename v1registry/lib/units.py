"""Sizes and times in the forms for people and for HTTP."""

from __future__ import annotations

from email.utils import formatdate
from functools import lru_cache

_UNITS = ("B", "kB", "MB", "GB", "TB")


def human(size: int) -> str:
    """Return a number of bytes for people: 1.2 GB."""
    number, unit = float(size), 0
    while number >= 1000 and unit < len(_UNITS) - 1:
        number, unit = number / 1000, unit + 1
    return f"{number:.1f} {_UNITS[unit]}" if unit else f"{size} B"


@lru_cache(maxsize=4)
def http_date(seconds: int) -> str:
    """Return seconds since 1970 as an HTTP date (RFC 9110 section 5.6.7)."""
    return formatdate(seconds, usegmt=True)


def duration(seconds: float) -> str:
    """Return a duration for people: 1h05m, 3m20s, 7s."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"
