"""The Authorization header as engines send it (protocol-v1.md sections 2.1 and 2.2)."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import replace

from v1registry.lib.auth import tokens
from v1registry.lib.auth.rights import Credentials

LARGEST = 4096  # characters; longer headers are ignored (a token has a few hundred)

# The pairs of any index's token. A quoted value may hold anything but quotes, an unquoted one ends
# at the comma. `lib.auth.tokens` reads the tokens that our own index signs, and is stricter.
_PAIR = re.compile(r'\s*([A-Za-z]\w*)\s*=\s*(?:"([^"]*)"|([^",]*))\s*(?:,|$)', re.ASCII)

NOTHING = Credentials()


def parse(header: str | None) -> Credentials:
    """Return the credentials of a Basic or Token header; none for any other or malformed header.

    Engines put the word `Token` before a token that may already begin with it. Without a login,
    they send `Basic Og==`: an empty user and an empty password.
    """
    if not header or len(header) > LARGEST:
        return NOTHING
    scheme, _, rest = header.strip().partition(" ")
    if scheme.lower() == "basic":
        return _basic(rest.strip(), header)
    if scheme.lower() == "token":
        return _token(tokens.without_word(rest.strip()), header)
    return NOTHING


def of_proxy(shown: Credentials, user: str | None, groups: str | None) -> Credentials:
    """Add the user and the groups (separated by commas) of a trusted proxy's headers, if any."""
    name = _header_text(user)
    if name is None:
        return shown
    found = frozenset(word.strip() for word in (_header_text(groups) or "").split(","))
    return replace(shown, proxy_user=name, proxy_groups=found - {""})


def _header_text(text: str | None) -> str | None:
    """Decode a header: WSGI passes UTF-8 as Latin-1. Return None for empty or unprintable text."""
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
    """Return a token with all of its pairs, or with none if one pair is malformed or repeated."""
    if not text:
        return NOTHING
    pairs = tokens.read_pairs(text, _PAIR) or {}
    return Credentials(token=text, pairs=tuple(pairs.items()), header=header)
