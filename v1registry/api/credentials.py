"""The Authorization header as engines send it (protocol-v1.md sections 2.1 and 2.2)."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import replace

from v1registry.lib.auth.rights import Credentials

LARGEST = 4096  # characters of a header that is looked at; a token has some hundred

_WORD = re.compile(r"token\s+", re.IGNORECASE)
# A value in quotes may hold anything but quotes; a bare one ends at the comma.
_PAIR = re.compile(r'\s*([A-Za-z]\w*)\s*=\s*(?:"([^"]*)"|([^",]*))\s*(?:,|$)', re.ASCII)

NOTHING = Credentials()


def parse(header: str | None) -> Credentials:
    """Basic or Token; anything else, and what is malformed, shows nothing.

    Engines put the word `Token` before a token that may begin with it already,
    and send `Basic Og==` (empty user, empty password) without a login.
    """
    if not header or len(header) > LARGEST:
        return NOTHING
    scheme, _, rest = header.strip().partition(" ")
    if scheme.lower() == "basic":
        return _basic(rest.strip(), header)
    if scheme.lower() == "token":
        return _token(_WORD.sub("", rest.strip(), count=1), header)
    return NOTHING


def vouched(shown: Credentials, user: str | None, groups: str | None) -> Credentials:
    """With the name and the groups (with commas) that a proxy's headers say; none is no user."""
    name = _header_text(user)
    if name is None:
        return shown
    found = frozenset(word.strip() for word in (_header_text(groups) or "").split(","))
    return replace(shown, vouched=name, vouched_groups=found - {""})


def _header_text(text: str | None) -> str | None:
    """Headers come as Latin-1, and are UTF-8; None for what is empty, or neither."""
    try:
        found = (text or "").strip().encode("latin-1").decode("utf-8")
    except UnicodeError:
        return None
    return found if found and found.isprintable() else None


def _basic(text: str, header: str) -> Credentials:
    try:
        user, _, password = base64.b64decode(text, validate=True).decode("utf-8").partition(":")
    except (binascii.Error, ValueError):
        return NOTHING
    if not user and not password:
        return NOTHING
    return Credentials(user=user, password=password, header=header)


def _token(text: str, header: str) -> Credentials:
    """All of its pairs, or none: what cannot be read as a whole is not read in parts, and a name
    that stands there twice would say one thing to us and another to the next reader.
    """
    if not text:
        return NOTHING
    pairs: dict[str, str] = {}
    position = 0
    while position < len(text):
        match = _PAIR.match(text, position)
        if match is None or match[1].lower() in pairs:
            return Credentials(token=text, header=header)
        pairs[match[1].lower()] = match[3].strip() if match[2] is None else match[2]
        position = match.end()
    return Credentials(token=text, pairs=tuple(pairs.items()), header=header)
