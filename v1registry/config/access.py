"""Options for access: their classes and kinds, and contradictions between them."""

from __future__ import annotations

import base64
import binascii
import importlib.util
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from v1registry.config import htpasswd
from v1registry.storage.errors import installing

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


@dataclass(frozen=True, slots=True)
class AccountOptions:
    """The options of the group `accounts`. Times are in seconds."""

    htpasswd: str | None
    user_header: str | None
    groups_header: str | None
    remember: int
    attempts: int


@dataclass(frozen=True, slots=True)
class Ldap:
    """The options of the group `ldap`: a directory with accounts."""

    url: str | None
    start_tls: bool
    ca: str | None
    user_dn: str | None
    base: str | None
    filter: str
    bind_dn: str | None
    bind_password: str | None = field(repr=False)
    groups_base: str | None
    groups_filter: str
    groups_attribute: str
    timeout: int


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
    return Rule(who, tuple(_whole(pattern) for pattern in patterns), allow)


def _several(value: Any, form: re.Pattern[str], what: str, number: int) -> tuple[str, ...]:
    items = value if isinstance(value, list) else [value]
    if not items or not all(isinstance(item, str) and form.fullmatch(item) for item in items):
        raise ValueError(f"must have one or a list {what}, in rule {number}")
    return tuple(items)


def _whole(pattern: str) -> str:
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


# -- what belongs together ----------------------------------------------------------


def has_accounts(found: Mapping[str, Any]) -> bool:
    """Return whether the registry has accounts or access rules of its own."""
    proven_by = ("accounts.htpasswd", "accounts.user_header", "ldap.url")
    return any(found[key] for key in proven_by) or found["access"] is not None


def contradictions(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Iterate over the key and the reason of each contradiction."""
    if found["standalone"] is False:
        if not (found["index_endpoint"] or found["index_keys"] or found["disable_token_auth"]):
            reason = (
                "must be true, or there must be an index that decides who may do what: set"
                " index_endpoint or index_keys; without one, the registry would be open by accident"
            )
            yield "standalone", reason
        if has_accounts(found):
            reason = "must be true if accounts or access are set: with false, an index has accounts"
            yield "standalone", reason
        elif found["disable_token_auth"] and found["index_keys"]:
            yield "disable_token_auth", "must be false if index_keys is set, which verifies tokens"
        elif found["index_keys"] and importlib.util.find_spec("cryptography") is None:
            reason = "needs the package cryptography: pip install -r requirements-index.txt"
            yield "index_keys", reason
    yield from _accounts(found)
    yield from _ldap(found)


def _accounts(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    proven = found["accounts.htpasswd"] or found["accounts.user_header"] or found["ldap.url"]
    named = {name for rule in found["access"] or () for name in rule.who} - {ANYBODY}
    if named and not proven:
        reason = f"must name only {ANYBODY}, because nothing identifies {min(named)}"
        yield "access", f"{reason}: set accounts.htpasswd, accounts.user_header or ldap.url"
    if found["accounts.user_header"] and found["trusted_proxies"] == ():
        yield (
            "accounts.user_header",
            "must not be set without trusted_proxies, which set the header",
        )
    if found["accounts.groups_header"] and not found["accounts.user_header"]:
        yield "accounts.groups_header", "must not be set without user_header"
    if (file := found["accounts.htpasswd"]) is not None:
        try:
            htpasswd.read(file)
        except OSError as error:
            yield "accounts.htpasswd", f"cannot be read: {error.strerror}: {file}"
        except ValueError as error:
            yield "accounts.htpasswd", f"{file}: {error}"


def _ldap(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if not found["ldap.url"]:
        for name in ("user_dn", "base", "bind_dn", "groups_base"):
            if found[f"ldap.{name}"]:
                yield f"ldap.{name}", "must not be set without ldap.url"
        return
    if bool(found["ldap.user_dn"]) == bool(found["ldap.base"]):
        yield "ldap.url", "needs either user_dn, or base to search for users, and not both"
    if bool(found["ldap.bind_dn"]) != bool(found["ldap.bind_password"]):
        yield "ldap.bind_dn", "must be set together with bind_password"
    if found["ldap.start_tls"] and found["ldap.url"].startswith("ldaps:"):
        yield "ldap.start_tls", "must be false, because the URL with ldaps: already means TLS"
    if importlib.util.find_spec("ldap3") is None:
        reason = f"needs the package ldap3, which is not installed: {installing('ldap')}"
        yield "ldap.url", reason


def without_effect(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Iterate over the keys without an effect or protection, and the warnings."""
    if found["standalone"]:
        for key in ("index_endpoint", "index_keys"):
            if found[key]:
                yield key, "has no effect: a standalone registry uses no index"
    elif found["disable_token_auth"]:
        yield (
            "disable_token_auth",
            "no token is checked: every client that reaches the port may do everything",
        )
    where = found["ldap.url"] or ""
    near = re.match(r"ldap://(localhost|127\.|\[::1\])", where)
    if where.startswith("ldap:") and not near and not found["ldap.start_tls"]:
        yield "ldap.url", "passwords are sent unencrypted: use ldaps:// or start_tls"
