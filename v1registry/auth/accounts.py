"""Alone with accounts: Basic over TLS, or a proxy that knows the users; and rules."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from typing import Protocol

from v1registry.auth.rules import Rules
from v1registry.lib import errors
from v1registry.lib.auth.rights import NOBODY, Access, Caller, Credentials, Rights
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName
from v1registry.lib.support.single_flight import SingleFlightCache
from v1registry.lib.support.throttle import Throttle


class PasswordVerifier(Protocol):
    """Something that knows accounts and their passwords."""

    def state(self, user: str) -> str:
        """A text that changes when what it says of the account does, as far as that can be told."""

    def groups(self, user: str, password: str, address: str) -> frozenset[str] | None:
        """The groups of the account if the password is its own, else None.

        Raise Failure 503 if it cannot be found out.
        """


class AccountRights(Rights):
    """Proves who asks, by the first of `provers` that says so, and looks at the rules.

    A password that was right is believed for `remember` seconds, under a digest that only this
    process can make.
    """

    def __init__(
        self,
        provers: Sequence[PasswordVerifier],
        rules: Rules,
        throttle: Throttle,
        *,
        remember: float,
        knows_users: bool,
    ) -> None:
        self.knows_users = knows_users
        self._provers = provers
        self._rules = rules
        self._throttle = throttle
        self._secret = secrets.token_bytes(32)
        self._proven: SingleFlightCache[Caller] = SingleFlightCache(remember)

    def identify(self, credentials: Credentials, address: str) -> Caller:
        if credentials.vouched is not None:
            return Caller(user=credentials.vouched, groups=credentials.vouched_groups)
        user, password = credentials.user, credentials.password
        if user is None or password is None:
            return NOBODY  # nothing was shown; or a token, which says nothing here
        # Also for a password that this process remembers: every process must answer alike.
        self._throttle.check(user, address)
        return self._proven.get(
            self._digest(user, password),
            lambda: self._prove(user, password, address),
            keep=lambda _: True,
        )

    def may(self, asker: Caller, repository: RepositoryName | None, access: Access) -> bool:
        return self._rules.allow(asker, repository, access)

    def sees(self, asker: Caller, repository: RepositoryName, *, private: bool) -> bool:
        return self._rules.allow(asker, repository, Access.PULL, private)

    def _prove(self, user: str, password: str, address: str) -> Caller:
        with self._throttle.attempt(user, address) as attempt:
            for prover in self._provers:
                groups = prover.groups(user, password, address)
                if groups is not None:
                    attempt.right = True
                    return Caller(user=user, groups=groups)
        raise Failure(*errors.UNAUTHORIZED, {"WWW-Authenticate": self.challenge})

    def state(self, asker: Caller) -> str:
        """Of the provers; the hash tells nobody the hash of a password."""
        if asker.user is None:
            return ""
        states = [prover.state(asker.user) for prover in self._provers]
        return hashlib.sha256("\0".join(states).encode("utf-8", "replace")).hexdigest()[:16]

    def _digest(self, user: str, password: str) -> str:
        parts = [user, password, *(prover.state(user) for prover in self._provers)]
        text = "\0".join(f"{len(part)} {part}" for part in parts)
        return hmac.new(
            self._secret, text.encode("utf-8", "surrogatepass"), hashlib.sha256
        ).hexdigest()
