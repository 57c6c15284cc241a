"""Template filters: sizes, counts, times and ids, as people read them."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

from markupsafe import Markup, escape

from v1registry.lib import units
from v1registry.web.texts import gettext as _
from v1registry.web.texts import ngettext

_OPTION = re.compile(r"(?<=\s)(--[a-z-]+)")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_NARROW = "\N{NARROW NO-BREAK SPACE}"


def size(number: int | None) -> str:
    """Return a number of bytes: 12.4 MB."""
    return "" if number is None else units.human(number).replace(" ", "\N{NO-BREAK SPACE}")


def count(number: int | None) -> str:
    """Return a whole number in groups of three digits."""
    return "" if number is None else f"{number:,}".replace(",", _NARROW)


def when(seconds: float | None) -> Markup:
    """Return a <time>: how long ago, with the exact time on hover and for screen readers."""
    if seconds is None:
        return Markup("")
    return _time(seconds, ago(seconds))


def until(seconds: float) -> Markup:
    """Return a <time>: the day of an end in the future, with the exact time on hover."""
    day = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
    return _time(seconds, _("expired") if seconds <= time.time() else day)


def _time(seconds: float, text: str) -> Markup:
    moment = datetime.fromtimestamp(seconds, UTC)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        moment.strftime("%Y-%m-%dT%H:%M:%SZ"), moment.strftime("%Y-%m-%d %H:%M:%S UTC"), text
    )


def ago(seconds: float) -> str:
    """Return the time since `seconds`: 3 days ago."""
    passed = int(time.time() - seconds)
    if passed < _MINUTE:
        return _("just now")
    if passed < _HOUR:
        number = passed // _MINUTE
        text = ngettext("%(number)s minute ago", "%(number)s minutes ago", number)
    elif passed < _DAY:
        number = passed // _HOUR
        text = ngettext("%(number)s hour ago", "%(number)s hours ago", number)
    elif passed < 60 * _DAY:
        number = passed // _DAY
        text = ngettext("%(number)s day ago", "%(number)s days ago", number)
    elif passed < 730 * _DAY:
        number = passed // (30 * _DAY)
        text = ngettext("%(number)s month ago", "%(number)s months ago", number)
    else:
        number = passed // (365 * _DAY)
        text = ngettext("%(number)s year ago", "%(number)s years ago", number)
    return text % {"number": number}


def short_id(text: str) -> str:
    """Return the first 12 hex digits of an image id or of a digest."""
    return text.removeprefix("sha256:")[:12]


def command(text: str) -> Markup:
    """Return a command whose options are not broken at their dashes, where a line is too long."""
    return Markup(_OPTION.sub(r'<span class="option">\1</span>', str(escape(text))))


def translated(text: str | None) -> str:
    """Return the translation of a variable text, such as an error. The template escapes it.

    `_(text)` of the template would not: it takes every text for one of the catalogue, which is safe.
    """
    return _(text) if text else ""


FILTERS = {
    "command": command,
    "size": size,
    "count": count,
    "when": when,
    "until": until,
    "short_id": short_id,
    "translated": translated,
}
