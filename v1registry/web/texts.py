"""The languages of the pages: gettext catalogues, chosen by a cookie or by `Accept-Language`.

English is the language of the source. `make translations` collects the texts into
`translations/LANGUAGE/LC_MESSAGES/messages.po` and compiles them.
"""

from __future__ import annotations

import gettext as library
from functools import lru_cache
from pathlib import Path

from flask import g, request

COOKIE = "v1registry_language"
FOLDER = Path(__file__).parent / "translations"

#: language tag -> its own name. The first is the language of the source.
LANGUAGES = {"en": "English", "zh": "中文"}


def language() -> str:
    """Return the language of this request."""
    found: str | None = g.get("language")
    if found is None:
        found = g.language = _chosen()
    return found


def _chosen() -> str:
    for wanted in (request.args.get("language"), request.cookies.get(COOKIE)):
        if wanted in LANGUAGES:
            return wanted
    for tag in request.accept_languages.values():
        primary = tag.lower().partition("-")[0]
        if primary in LANGUAGES:
            return primary
    return next(iter(LANGUAGES))


@lru_cache
def catalogue(name: str) -> library.NullTranslations:
    """Return the texts in one language; those of the source if there is no compiled catalogue."""
    return library.translation("messages", FOLDER, [name], fallback=True)


def gettext(text: str) -> str:
    """Return `text` in the language of this request."""
    return catalogue(language()).gettext(text) if text else ""


def ngettext(one: str, many: str, number: int) -> str:
    """Return the form for `number` in the language of this request."""
    return catalogue(language()).ngettext(one, many, number)


def mark(text: str) -> str:
    """Mark a text for the catalogue, which is translated where it is shown."""
    return text
