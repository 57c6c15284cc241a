"""The Authorization header as engines send it (protocol-v1.md sections 2.1 and 2.2)."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

_PAIR = re.compile(r'\s*([A-Za-z]+)\s*=\s*(?:"([^"]*)"|([^,"]*))\s*(?:,|$)')
_WORD = re.compile(r"token\s+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who asks: a user with a password, a token's repository and access, or nobody."""

    user: str | None = None
    password: str | None = None
    repository: str | None = None
    access: str | None = None


NOBODY = Credentials()


def parse(header: str | None) -> Credentials:
    """Basic or Token; anything else, and what is malformed, is nobody.

    Engines put the word `Token` before a token that may begin with it already,
    and send `Basic Og==` (empty user, empty password) without a login.
    """
    if not header:
        return NOBODY
    scheme, _, rest = header.strip().partition(" ")
    if scheme.lower() == "basic":
        return _basic(rest.strip())
    if scheme.lower() == "token":
        return _token(_WORD.sub("", rest.strip(), count=1))
    return NOBODY


def _basic(text: str) -> Credentials:
    try:
        user, _, password = base64.b64decode(text, validate=True).decode("utf-8").partition(":")
    except (binascii.Error, ValueError):
        return NOBODY
    return Credentials(user=user, password=password) if user or password else NOBODY


def _token(text: str) -> Credentials:
    pairs = {name.lower(): quoted or bare.strip() for name, quoted, bare in _PAIR.findall(text)}
    return Credentials(repository=pairs.get("repository"), access=pairs.get("access"))
