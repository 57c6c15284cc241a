"""Accounts: users have a password and a namespace of their own, robots have neither.

Robots log in with secrets, and users may have secrets too. A secret is a long random text, so a plain
digest of it is safe to store and fast to check.
"""

from __future__ import annotations

import hashlib
import secrets as random
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from v1registry.index.counts import reserve, reserved_until
from v1registry.index.database import Database
from v1registry.index.rows import get, insert_new, now, writes
from v1registry.index.schema import accounts, namespaces, repositories, secrets, stars
from v1registry.lib import errors
from v1registry.lib.auth import passwords
from v1registry.lib.errors import Failure
from v1registry.lib.names import AccountName
from v1registry.lib.support.single_flight import SingleFlightCache

SECRET = "v1r_"  # prefix of every secret

_REMOVED = "removed account"  # prefix of the key that reserves a removed name
_COST_LIFE = 60.0  # seconds for which the highest cost of all hashes is cached


@dataclass(frozen=True, slots=True)
class AccountRecord:
    """One account, without its password and secrets."""

    id: int
    name: str
    email: str | None
    is_robot: bool
    is_admin: bool
    is_disabled: bool
    created: int

    @property
    def version(self) -> str:
        """A text that changes with the account, for forms that were filled in a moment ago."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Secret:
    """The data about a secret, without its text."""

    id: int
    account: str
    label: str
    created: int
    expires: int | None


class AccountStore:
    """The accounts. `run_in_thread(function, *args)` computes password hashes."""

    def __init__(self, database: Database, run_in_thread: Callable[..., Any]) -> None:
        self._database = database
        self._run_in_thread = run_in_thread
        self._costs: SingleFlightCache[int] = SingleFlightCache(_COST_LIFE)

    # -- login ------------------------------------------------------------

    def authenticate(self, name: str, password: str) -> AccountRecord:
        """Return the account. Raise Failure 401 for wrong credentials, 403 if it is disabled."""
        row = self._row(name)
        # An unknown name takes the same steps, so that timing does not reveal which names exist.
        if not self._is_secret(-1 if row is None else row.id, password):
            hashed = None if row is None else row.password
            most = self._costs.get("", self._highest_cost)
            if not self._run_in_thread(passwords.verify, password, hashed, most) or row is None:
                raise Failure(*errors.LOGIN_WRONG)
        if row.is_disabled:
            raise Failure(*errors.ACCOUNT_DISABLED)
        return record(row)

    def is_password(self, name: str, password: str) -> bool:
        """Return whether this is the password of the account, and not one of its secrets."""
        row = self._row(name)
        hashed = None if row is None else row.password
        return bool(self._run_in_thread(passwords.verify, password, hashed))

    def find(self, name: str) -> AccountRecord | None:
        row = self._row(name)
        return None if row is None else record(row)

    def get(self, name: str) -> AccountRecord:
        """Return an account. Raise Failure 404 if there is none."""
        account = self.find(name)
        if account is None:
            raise Failure(404, f"There is no account {name}")
        return account

    def all(self, after: str = "", most: int = 1000) -> list[AccountRecord]:
        """Return at most `most` accounts by name, starting after the name `after`."""
        query = sa.select(accounts).where(accounts.c.name > after).order_by(accounts.c.name)
        return [record(row) for row in self._database.rows(query.limit(most))]

    # -- changes ----------------------------------------------------------------

    def add(
        self,
        name: str,
        password: str | None,
        *,
        email: str | None = None,
        is_admin: bool = False,
        adopt: bool = False,
    ) -> None:
        """Add an account; without a password, it is a robot.

        A user owns the namespace of the same name. Raise Failure 400 if that namespace exists,
        unless `adopt`, or if the name or e-mail address is taken.
        """
        AccountName.parse(name)
        check_email(email)
        if password is not None:
            passwords.check_new(password)
        hashed = None if password is None else self._run_in_thread(passwords.hash, password)
        values = {
            "name": name,
            "email": email,
            "password": hashed,
            "is_robot": password is None,
            "is_admin": is_admin,
            "created": now(),
        }
        self._database.write(lambda connection: create(connection, values, adopt=adopt))

    def set_password(self, name: str, password: str) -> None:
        """Set a password. Raise Failure 404 for no account, 400 for a robot or a bad password."""
        if self.get(name).is_robot:
            raise Failure(400, f"{name} is a robot: give it a secret instead")
        passwords.check_new(password)
        self._update(name, password=self._run_in_thread(passwords.hash, password))

    @writes
    def set_email(self, connection: sa.Connection, name: str, email: str | None) -> None:
        """Set the e-mail address. Raise Failure 400 if another account has it."""
        change_email(connection, name, email)

    def set_disabled(self, name: str, disabled: bool) -> None:
        """Disable or enable an account; its data stays. Raise Failure 404."""
        self._update(name, is_disabled=disabled)

    def set_admin(self, name: str, admin: bool) -> None:
        """Make an account an administrator, or undo it. Raise Failure 404."""
        self._update(name, is_admin=admin)

    @writes
    def remove(self, connection: sa.Connection, name: str, reserved: int) -> bool:
        """Delete an account with its secrets, roles, stars and comments. Raise Failure 404.

        Its namespace stays without an owner, and with its repositories, settings and roles; return
        whether there is one. For `reserved` seconds, the lifetime of tokens, the name cannot be used
        for a new account, because tokens of the old account would be valid for it.
        """
        return remove_account(connection, name, reserved)

    def _update(self, name: str, **values: Any) -> None:
        statement = accounts.update().where(accounts.c.name == name).values(values)
        if not self._database.change(statement):
            raise Failure(404, f"There is no account {name}")

    # -- secrets ------------------------------------------------------------------

    def issue_secret(self, name: str, label: str = "", life: int | None = None) -> str:
        """Add a secret and return its text. `life` is in seconds; None: no end. Raise Failure 404."""
        secret = SECRET + random.token_urlsafe(32)
        values = {
            "account_id": self.get(name).id,
            "digest": digest(secret),
            "label": label,
            "created": now(),
            "expires": None if life is None else now() + life,
        }
        self._database.change(secrets.insert().values(values))
        return secret

    def secrets(self, name: str | None = None) -> list[Secret]:
        """Return the secrets of one account, or of all. Raise Failure 404."""
        query = (
            sa.select(secrets, accounts.c.name.label("account"))
            .join(accounts)
            .order_by(accounts.c.name, secrets.c.id)
        )
        if name is not None:
            query = query.where(secrets.c.account_id == self.get(name).id)
        rows = self._database.rows(query)
        return [Secret(r.id, r.account, r.label, r.created, r.expires) for r in rows]

    def revoke_secret(self, secret_id: int) -> None:
        """Delete a secret. Raise Failure 404."""
        statement = secrets.delete().where(secrets.c.id == secret_id)
        if not self._database.change(statement):
            raise Failure(404, f"There is no secret {secret_id}")

    def _row(self, name: str) -> Any:
        if not AccountName.is_valid(name):
            return None
        return self._database.row(sa.select(accounts).where(accounts.c.name == name))

    def _highest_cost(self) -> int:
        """Return the highest cost of all password hashes, at least that of new ones."""
        digits = sa.func.substr(accounts.c.password, 5, 2)
        query = sa.select(sa.func.max(digits)).where(accounts.c.password.like("$2_$__$%"))
        return max(passwords.COST, passwords.cost(f"$2b${self._database.row(query)[0]}$"))

    def _is_secret(self, account_id: int, secret: str) -> bool:
        if not secret.startswith(SECRET):
            return False
        query = sa.select(secrets.c.expires).where(
            secrets.c.digest == digest(secret), secrets.c.account_id == account_id
        )
        row = self._database.row(query)
        return row is not None and (row.expires is None or row.expires > now())


def create(connection: sa.Connection, values: dict[str, Any], *, adopt: bool = False) -> None:
    """Insert an account, and the namespace of a user. Raise Failure 400 if a name is taken."""
    _email_is_free(connection, values["email"])
    if until := reserved_until(connection, f"{_REMOVED} {values['name']}"):
        when = datetime.fromtimestamp(until, UTC).strftime("%Y-%m-%d %H:%M UTC")
        reason = f"The account {values['name']} was removed, and its tokens may still be in use"
        raise Failure(400, f"{reason}: add it after {when}, or choose another name")
    account_id = insert_new(connection, accounts, values)
    if account_id is None:
        raise Failure(*errors.ACCOUNT_EXISTS)
    if values["is_robot"]:
        return
    own = {"name": values["name"], "account_id": account_id, "created": values["created"]}
    if insert_new(connection, namespaces, own) is not None:
        return
    if not adopt:
        raise Failure(*errors.NAMESPACE_EXISTS)
    connection.execute(
        namespaces.update().where(namespaces.c.name == values["name"]).values(account_id=account_id)
    )


def change_email(connection: sa.Connection, name: str, email: str | None) -> None:
    """Do what `AccountStore.set_email` does."""
    check_email(email)
    _email_is_free(connection, email, but=name)
    connection.execute(accounts.update().where(accounts.c.name == name).values(email=email))


def remove_account(connection: sa.Connection, name: str, reserved: int) -> bool:
    """Do what `AccountStore.remove` does."""
    row = get(connection, accounts, "account", name)
    starred = sa.select(stars.c.repository_id).where(stars.c.account_id == row.id)
    connection.execute(
        repositories.update()
        .where(repositories.c.id.in_(starred))
        .values(stars=repositories.c.stars - 1)
    )
    own = namespaces.update().where(namespaces.c.account_id == row.id)
    kept = connection.execute(own.values(account_id=None)).rowcount
    connection.execute(accounts.delete().where(accounts.c.id == row.id))
    reserve(connection, f"{_REMOVED} {name}", reserved)
    return bool(kept)


def check_email(email: str | None) -> None:
    """Raise Failure 400 unless `email` looks like an e-mail address, or is None."""
    if email is None:
        return
    user, at, host = email.rpartition("@")
    if not (user and at and host) or len(email) > 254 or not email.isprintable() or " " in email:
        raise Failure(*errors.EMAIL_INVALID)


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _email_is_free(connection: sa.Connection, email: str | None, but: str = "") -> None:
    if email is None:
        return
    query = sa.select(accounts.c.id).where(accounts.c.email == email, accounts.c.name != but)
    if connection.execute(query).first() is not None:
        raise Failure(*errors.EMAIL_EXISTS)


def record(row: Any) -> AccountRecord:
    """Return the account of a row."""
    return AccountRecord(
        **{field.name: getattr(row, field.name) for field in fields(AccountRecord)}
    )
