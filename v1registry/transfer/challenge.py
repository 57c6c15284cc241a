"""Challenges of a registry and their answers: Basic credentials, or a Bearer token.

Sources: RFC 9110 section 11 (challenges), the distribution project's "Token
Authentication Specification" and "OAuth2 Token Authentication".
"""

from __future__ import annotations

import base64
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from v1registry.storage.origins import Insecure, secured
from v1registry.transfer.credentials import RegistryLogin
from v1registry.transfer.errors import Rejected

_SEPARATOR = re.compile(r"[\s,]*")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r'\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"=]+))')
_TOKEN68 = re.compile(r"[ \t]+[A-Za-z0-9._~+/-]+=*(?=\s*(?:,|$))")
_SHOWABLE = re.compile(r"[\x21-\x7e]+")  # a token that a header can hold
_LIFE = 60  # seconds, for a token without a stated lifetime
_MARGIN = 10  # seconds before its end at which a token is replaced
_CLIENT = "v1registry"

Fetch = Callable[..., Any]  # method, url, keyword arguments of requests; returns its Response


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge of a `WWW-Authenticate` header; `scheme` is in lower case."""

    scheme: str
    parameters: dict[str, str]


def parse(header: str) -> list[Challenge]:
    """Return the challenges in their order, up to the first malformed part.

    Several header fields arrive as one, joined by commas (RFC 9110 section 5.3).
    """
    found: list[Challenge] = []
    at = 0
    while (name := _TOKEN.match(header, _after(_SEPARATOR, header, at))) is not None:
        value = _VALUE.match(header, name.end())
        if value is None:
            found.append(Challenge(name[0].lower(), {}))
            at = _after(_TOKEN68, header, name.end())
        elif found:
            quoted, bare = value.groups()
            text = bare if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            found[-1].parameters.setdefault(name[0].lower(), text)
            at = value.end()
        else:
            break
    return found


def _after(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at


class Keyring:
    """The Authorization headers for one registry, by scope. Safe for threads.

    A challenge causes the fetch of a token, which is kept until it expires.
    """

    def __init__(self, account: RegistryLogin | None, registry: str) -> None:
        """`registry` is its URL. If it uses https, its token servers must use https too."""
        self._account = account
        self._registry = registry
        self._basic = False
        self._tokens: dict[tuple[str, ...], tuple[str, float]] = {}
        self._lock = threading.Lock()

    def header(self, scopes: tuple[str, ...]) -> str | None:
        """Return the header to send without a challenge: the one that worked last; None if unknown."""
        token = self._tokens.get(scopes)
        if token is not None and time.monotonic() < token[1] - _MARGIN:
            return f"Bearer {token[0]}"
        return self._basic_header() if self._basic else None

    def answer(
        self,
        header: str,
        scopes: tuple[str, ...],
        sent: str | None,
        fetch: Fetch,
        *,
        again: bool = False,
    ) -> str:
        """Return the Authorization for the first supported challenge. Raise Rejected.

        `sent` is the header that the registry refused; it is not sent again. `again`: the refused
        header already answered a challenge, so Basic is preferred to another token.
        """
        challenges = parse(header)
        basic = self._basic_header() if any(one.scheme == "basic" for one in challenges) else None
        for challenge in challenges:
            if challenge.scheme == "bearer" and not (again and basic not in (None, sent)):
                return self._bearer(challenge, scopes, sent, fetch)
            if challenge.scheme == "basic" and basic not in (None, sent):
                assert basic is not None
                self._basic = True
                self._tokens.pop(scopes, None)  # the registry refused it
                return basic
        if not any(challenge.scheme in ("bearer", "basic") for challenge in challenges):
            names = ", ".join(challenge.scheme for challenge in challenges)[:100] or "nothing"
            raise Rejected(
                f"the registry accepts {names}; only Basic and Bearer are supported", 401
            )
        reason = "refused the credentials" if self._account else "requires credentials"
        raise Rejected(f"the registry {reason}", 401)

    def _bearer(
        self, challenge: Challenge, scopes: tuple[str, ...], sent: str | None, fetch: Fetch
    ) -> str:
        with self._lock:
            known = self.header(scopes)
            if known is not None and known != sent and known.startswith("Bearer "):
                return known  # another thread has just fetched it
            token, life = self._fetch(challenge, scopes, fetch)
            self._tokens[scopes] = token, time.monotonic() + life
        return f"Bearer {token}"

    def _basic_header(self) -> str | None:
        account = self._account
        if account is None or not account.user:
            return None
        text = f"{account.user}:{account.password}".encode()
        return f"Basic {base64.b64encode(text).decode('ascii')}"

    def _fetch(
        self, challenge: Challenge, scopes: tuple[str, ...], fetch: Fetch
    ) -> tuple[str, float]:
        """Return a new token and its lifetime in seconds. Raise Rejected."""
        try:
            realm = secured(challenge.parameters.get("realm", ""), self._registry)
        except Insecure as error:
            raise Rejected(f"no token: {error}; nothing was sent there", 401) from None
        fields: list[tuple[str, str]] = [("scope", scope) for scope in scopes]
        if service := challenge.parameters.get("service"):
            fields.append(("service", service))
        account = self._account
        if account is not None and account.refresh:
            form = [("grant_type", "refresh_token"), ("refresh_token", account.refresh)]
            form += [("client_id", _CLIENT), ("service", service or "")]
            form += [("scope", " ".join(scopes))]
            response = fetch("POST", realm, data=form)
        else:
            basic = self._basic_header()
            headers = {"Authorization": basic} if basic else {}
            response = fetch("GET", realm, params=fields, headers=headers)
        if response.status_code != 200:
            text = f"no token from {realm}: it answered {response.status_code}"
            raise Rejected(text, response.status_code)
        try:
            document = response.json()
            token = document.get("token") or document["access_token"]
            life = float(document.get("expires_in") or _LIFE)
        except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError):
            raise Rejected(f"{realm} answered without a valid token") from None
        if not isinstance(token, str) or not _SHOWABLE.fullmatch(token):
            raise Rejected(f"{realm} answered with a token that a header cannot hold")
        return token, max(life, _LIFE)
