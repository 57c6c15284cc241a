"""Access rules, and the kinds of the options for access."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

ANYBODY, USERS = "anybody", "users"
ALLOW = ("pull", "push", "delete")

_PATTERN = re.compile(r"(?:[a-z0-9._*?/-]|\{user\})+")
_WHO = re.compile(r"@?[^\s@:,](?:[^:\x00-\x1f\x7f]{0,254}[^\s:])?")
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")


@dataclass(frozen=True, slots=True)
class Rule:
    """An access rule.

    `who` has names of accounts, `@group`, or the words `anybody` and `users`. `repositories` has
    patterns of whole names.
    """

    who: tuple[str, ...]
    repositories: tuple[str, ...]
    allow: tuple[str, ...]

    def as_mapping(self) -> dict[str, list[str]]:
        """Return the rule as it is written in a file."""
        return {
            "who": list(self.who),
            "repositories": list(self.repositories),
            "allow": list(self.allow),
        }


#: The rules of a registry with accounts and without rules: every account may do everything.
DEFAULT_RULES = (Rule((USERS,), ("*",), ALLOW),)


# -- kinds ------------------------------------------------------------------------


def rules(value: Any) -> tuple[Rule, ...]:
    """Check a list of rules with `who`, `repositories` and `allow`, one or a list of each."""
    if not isinstance(value, list):
        raise ValueError("must be a list of rules, each with who, repositories and allow")
    return tuple(_rule(item, number) for number, item in enumerate(value, 1))


def _rule(value: Any, number: int) -> Rule:
    if not isinstance(value, dict) or set(value) != {"who", "repositories", "allow"}:
        raise ValueError(f"must have exactly who, repositories and allow in rule {number}")
    who = _several(value["who"], _WHO, f"names, @groups, {ANYBODY} or {USERS}, as who", number)
    patterns = _several(value["repositories"], _PATTERN, "patterns, as repositories", number)
    allow = _several(value["allow"], re.compile("|".join(ALLOW)), f"of {', '.join(ALLOW)}", number)
    return Rule(who, tuple(whole(pattern) for pattern in patterns), allow)


def _several(value: Any, form: re.Pattern[str], what: str, number: int) -> tuple[str, ...]:
    items = value if isinstance(value, list) else [value]
    if not items or not all(isinstance(item, str) and form.fullmatch(item) for item in items):
        raise ValueError(f"must have one or a list {what}, in rule {number}")
    return tuple(items)


def whole(pattern: str) -> str:
    """Return the pattern with a namespace: `library`, as engines add it. `*` matches every name."""
    return pattern if "/" in pattern or set(pattern) == {"*"} else f"library/{pattern}"


def ldap_url(value: Any) -> str:
    """Check the URL of a directory. It has only a host and a port; other parts are own options."""
    try:
        parts = urlsplit(value) if isinstance(value, str) and value.isascii() else urlsplit("")
        valid = parts.scheme in ("ldaps", "ldap") and parts.hostname and parts.port != 0
    except ValueError:
        valid = False
    if not valid or parts.path.strip("/") or re.search(r"[@?#\s\\]", value):
        raise ValueError("must be ldaps://host or ldaps://host:port, or the same with ldap://")
    return str(value).rstrip("/")


def header(value: Any) -> str:
    if not (isinstance(value, str) and _HEADER.fullmatch(value)):
        raise ValueError("must be the name of a header, such as X-Remote-User")
    return value


def template(value: Any) -> str:
    if not (isinstance(value, str) and value.isprintable() and "{user}" in value):
        raise ValueError("must be text with {user} in place of the account's name")
    return value


def public_keys(value: Any) -> tuple[str, ...]:
    """Check Ed25519 public keys: a list, or a text with commas."""
    items = [item.strip() for item in value.split(",")] if isinstance(value, str) else value
    if not isinstance(items, list) or not all(_is_key(item) for item in items):
        raise ValueError("must be a list of public keys, each 32 bytes in base64url (43 letters)")
    return tuple(items)


def _is_key(text: Any) -> bool:
    if not (isinstance(text, str) and re.fullmatch(r"[A-Za-z0-9_-]{43}", text)):
        return False
    try:
        return len(base64.urlsafe_b64decode(f"{text}=")) == 32
    except binascii.Error:
        return False
