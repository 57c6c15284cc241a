"""Accounts for the endpoints: sign-up, changes of the own account, and verification of credentials."""

from __future__ import annotations

import sqlalchemy as sa

from v1registry.index.accounts import AccountStore
from v1registry.index.database import Database
from v1registry.index.rows import now, reads
from v1registry.index.schema import accounts, secrets
from v1registry.index.signup import SignUp
from v1registry.lib import errors
from v1registry.lib.errors import Failure
from v1registry.lib.names import AccountName
from v1registry.lib.support.single_flight import SingleFlightCache

LIFE = 5.0  # seconds until servers notice a changed password or a disabled account


class IndexUsers:
    """The users of the index, for the endpoints."""

    def __init__(self, accounts: AccountStore, signup: SignUp) -> None:
        self._accounts = accounts
        self.sign_up = signup.sign_up

    def change(self, name: str, password: str | None, email: str | None) -> None:
        if password is not None:
            self._accounts.set_password(name, password)
        if email is not None:
            self._accounts.set_email(name, email)

    def is_password(self, name: str, password: str) -> bool:
        return self._accounts.is_password(name, password)

    def is_admin(self, name: str) -> bool:
        account = self._accounts.find(name)
        return account is not None and account.is_admin and not account.is_disabled


class AccountProver:
    """Verifies accounts by password or secret; see `auth.accounts`."""

    def __init__(self, database: Database, accounts: AccountStore) -> None:
        self._database = database
        self._accounts = accounts
        self._states: SingleFlightCache[str] = SingleFlightCache(LIFE)

    def state(self, user: str) -> str:
        """Return a text that changes with password, secrets and status of an account; empty for none."""
        if not AccountName.is_valid(user):
            return ""
        return self._states.get(user, lambda: self._state(user), keep=lambda _: True)

    def groups(self, user: str, password: str, address: str) -> frozenset[str] | None:
        """Return an empty set for correct credentials, or else None. Raise Failure 403 or 503."""
        try:
            self._accounts.authenticate(user, password)
        except Failure as failure:
            if failure.status == errors.LOGIN_WRONG[0]:
                return None
            raise
        return frozenset()

    @reads
    def _state(self, connection: sa.Connection, user: str) -> str:
        query = sa.select(accounts.c.id, accounts.c.password, accounts.c.is_disabled)
        row = connection.execute(query.where(accounts.c.name == user)).first()
        # Also for an unknown name, so that timing does not reveal which names exist.
        account_id = -1 if row is None else row.id
        living = sa.or_(secrets.c.expires.is_(None), secrets.c.expires > now())
        digests = sa.select(secrets.c.digest).where(secrets.c.account_id == account_id, living)
        found = connection.scalars(digests.order_by(secrets.c.id)).all()
        if row is None:
            return ""
        return " ".join([str(row.id), row.password or "", str(row.is_disabled), *found])
