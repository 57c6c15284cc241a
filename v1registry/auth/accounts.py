"""Rights of a standalone registry with accounts: passwords or a trusted proxy, and access rules."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from typing import Protocol

from v1registry.auth.rules import Rules
from v1registry.lib import errors
from v1registry.lib.auth.rights import ANONYMOUS, Access, Caller, Credentials, Rights
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName
from v1registry.lib.support.single_flight import SingleFlightCache
from v1registry.lib.support.throttle import Throttle


class PasswordVerifier(Protocol):
    """A source of accounts and their passwords."""

    def state(self, user: str) -> str:
        """Return a text that changes when the account does; empty if the source cannot tell."""

    def groups(self, user: str, password: str, address: str) -> frozenset[str] | None:
        """Return the groups of the account if the password is correct, else None.

        Raise Failure 503 if the source is unavailable.
        """


class AccountRights(Rights):
    """Identifies the caller by the first of `verifiers` that accepts the password; checks `rules`.

    A correct password is remembered for `remember` seconds, under an HMAC with a key of this
    process.
    """

    def __init__(
        self,
        verifiers: Sequence[PasswordVerifier],
        rules: Rules,
        throttle: Throttle,
        *,
        remember: float,
        knows_users: bool,
    ) -> None:
        self.knows_users = knows_users
        self.has_passwords = bool(verifiers)
        self._verifiers = verifiers
        self._rules = rules
        self._throttle = throttle
        self._secret = secrets.token_bytes(32)
        self._verified: SingleFlightCache[Caller] = SingleFlightCache(remember)

    def identify(self, credentials: Credentials, address: str) -> Caller:
        if credentials.proxy_user is not None:
            return Caller(user=credentials.proxy_user, groups=credentials.proxy_groups)
        user, password = credentials.user, credentials.password
        if user is None or password is None:
            return ANONYMOUS  # no credentials, or a token, which identifies no account
        # Also for a password that this process remembers: all processes must respond alike.
        self._throttle.check(user, address)
        return self._verified.get(
            self._digest(user, password),
            lambda: self._verify(user, password, address),
            keep=lambda _: True,
        )

    def may(self, caller: Caller, repository: RepositoryName | None, access: Access) -> bool:
        return self._rules.allow(caller, repository, access)

    def may_see(self, caller: Caller, repository: RepositoryName, *, private: bool) -> bool:
        return self._rules.allow(caller, repository, Access.PULL, private)

    def _verify(self, user: str, password: str, address: str) -> Caller:
        with self._throttle.attempt(user, address) as attempt:
            for verifier in self._verifiers:
                groups = verifier.groups(user, password, address)
                if groups is not None:
                    attempt.right = True
                    return Caller(user=user, groups=groups)
        raise Failure(*errors.UNAUTHORIZED, {"WWW-Authenticate": self.challenge})

    def state(self, caller: Caller) -> str:
        """Return a hash of the verifiers' states, which discloses no password hash.

        Empty if no verifier knows the state of this account, as for one of a directory.
        """
        if caller.user is None:
            return ""
        states = [verifier.state(caller.user) for verifier in self._verifiers]
        if not any(states):
            return ""
        return hashlib.sha256("\0".join(states).encode("utf-8", "replace")).hexdigest()[:16]

    def _digest(self, user: str, password: str) -> str:
        parts = [user, password, *(verifier.state(user) for verifier in self._verifiers)]
        text = "\0".join(f"{len(part)} {part}" for part in parts)
        return hmac.new(
            self._secret, text.encode("utf-8", "surrogatepass"), hashlib.sha256
        ).hexdigest()
