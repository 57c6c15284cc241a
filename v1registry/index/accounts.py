"""Accounts: people, who have a password and a namespace of their own, and robots, who have neither.

Robots log in with secrets, which people may have beside their password, too: long random texts, so
that a plain digest of each is enough and logging in with one costs next to nothing.
"""

from __future__ import annotations

import hashlib
import secrets as random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from v1registry.index.counts import reserve, reserved_until
from v1registry.index.database import Database
from v1registry.index.rows import insert_new, now
from v1registry.index.schema import accounts, namespaces, repositories, secrets, stars
from v1registry.lib import errors
from v1registry.lib.auth import passwords
from v1registry.lib.errors import Failure
from v1registry.lib.names import AccountName
from v1registry.lib.support.single_flight import SingleFlightCache

SECRET = "v1r_"  # begins every secret

_REMOVED = "removed account"  # begins the key under which a removed name is reserved
_COST_LIFE = 60.0  # seconds for which the highest cost of all hashes is kept


@dataclass(frozen=True, slots=True)
class AccountRecord:
    """One account, without what is secret."""

    id: int
    name: str
    email: str | None
    is_robot: bool
    is_admin: bool
    is_disabled: bool
    created: int


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret without itself."""

    id: int
    account: str
    label: str
    created: int
    expires: int | None


class AccountStore:
    """Keeps accounts. `offload(function, *args)` runs what computes for long: password hashes."""

    def __init__(self, database: Database, offload: Callable[..., Any]) -> None:
        self._database = database
        self._offload = offload
        self._costs: SingleFlightCache[int] = SingleFlightCache(_COST_LIFE)

    # -- who is it ------------------------------------------------------------

    def authenticate(self, name: str, password: str) -> AccountRecord:
        """The account that this is. Raise Failure 401 for a wrong pair, 403 if it is disabled."""
        row = self._database.read(lambda connection: _row(connection, name))
        # The same steps for an unknown name, so that the time does not tell it.
        if not self._is_secret(-1 if row is None else row.id, password):
            hashed = None if row is None else row.password
            most = self._costs.get("", self._highest_cost)
            if not self._offload(passwords.verify, password, hashed, most) or row is None:
                raise Failure(*errors.LOGIN_WRONG)
        if row.is_disabled:
            raise Failure(*errors.ACCOUNT_DISABLED)
        return _account(row)

    def is_password(self, name: str, password: str) -> bool:
        """Whether this is the account's password itself, and no secret that stands in for it."""
        row = self._database.read(lambda connection: _row(connection, name))
        hashed = None if row is None else row.password
        return bool(self._offload(passwords.verify, password, hashed))

    def find(self, name: str) -> AccountRecord | None:
        row = self._database.read(lambda connection: _row(connection, name))
        return None if row is None else _account(row)

    def get(self, name: str) -> AccountRecord:
        """Raise Failure 404 if there is no such account."""
        account = self.find(name)
        if account is None:
            raise Failure(404, f"There is no account {name}")
        return account

    def all(self, after: str = "", most: int = 1000) -> list[AccountRecord]:
        """Accounts by name, at most so many, those that come behind `after`."""
        query = sa.select(accounts).where(accounts.c.name > after).order_by(accounts.c.name)
        rows = self._database.read(lambda c: c.execute(query.limit(most)).all())
        return [_account(row) for row in rows]

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
        """Make an account; a robot, if without a password.

        The namespace of a person's name becomes that person's. Raise Failure 400 if it is there
        already, unless `adopt`; or if name or e-mail address are taken.
        """
        AccountName.parse(name)
        check_email(email)
        if password is not None:
            passwords.check_new(password)
        hashed = None if password is None else self._offload(passwords.hash, password)
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
        """Raise Failure 404 for no such account, 400 for a robot or a password we don't take."""
        if self.get(name).is_robot:
            raise Failure(400, f"{name} is a robot: give it a secret instead")
        passwords.check_new(password)
        self._update(name, password=self._offload(passwords.hash, password))

    def set_email(self, name: str, email: str | None) -> None:
        """Raise Failure 400 if another account has it."""
        check_email(email)

        def work(connection: sa.Connection) -> None:
            _email_is_free(connection, email, but=name)
            connection.execute(accounts.update().where(accounts.c.name == name).values(email=email))

        self._database.write(work)

    def set_disabled(self, name: str, disabled: bool) -> None:
        """A disabled account can do nothing; what it has stays. Raise Failure 404."""
        self._update(name, is_disabled=disabled)

    def set_admin(self, name: str, admin: bool) -> None:
        """Whether the account may do everything everywhere. Raise Failure 404."""
        self._update(name, is_admin=admin)

    def remove(self, name: str, reserved: int) -> bool:
        """Delete an account with its secrets, roles, stars and comments. Raise Failure 404.

        Its namespace stays, without an owner, so that repositories, their settings and the roles of
        others stay as they are; return whether there is one. For `reserved` seconds, the life of
        tokens, nobody can make an account of this name, to which tokens of the old one would apply.
        """

        def work(connection: sa.Connection) -> bool:
            row = connection.execute(
                sa.select(accounts.c.id).where(accounts.c.name == name)
            ).first()
            if row is None:
                raise Failure(404, f"There is no account {name}")
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

        return self._database.write(work)

    def _update(self, name: str, **values: Any) -> None:
        statement = accounts.update().where(accounts.c.name == name).values(values)
        changed = self._database.write(lambda c: c.execute(statement).rowcount)
        if not changed:
            raise Failure(404, f"There is no account {name}")

    # -- secrets ------------------------------------------------------------------

    def issue_secret(self, name: str, label: str = "", life: int | None = None) -> str:
        """A new secret for the account, to be shown once; `life` in seconds, None: for ever."""
        secret = SECRET + random.token_urlsafe(32)
        values = {
            "account_id": self.get(name).id,
            "digest": digest(secret),
            "label": label,
            "created": now(),
            "expires": None if life is None else now() + life,
        }
        self._database.write(lambda c: c.execute(secrets.insert().values(values)))
        return secret

    def secrets(self, name: str | None = None) -> list[Secret]:
        """The secrets of one account, or of all. Raise Failure 404."""
        query = (
            sa.select(secrets, accounts.c.name.label("account"))
            .join(accounts)
            .order_by(accounts.c.name, secrets.c.id)
        )
        if name is not None:
            query = query.where(secrets.c.account_id == self.get(name).id)
        rows = self._database.read(lambda connection: connection.execute(query).all())
        return [Secret(r.id, r.account, r.label, r.created, r.expires) for r in rows]

    def revoke_secret(self, secret_id: int) -> None:
        """Raise Failure 404."""
        statement = secrets.delete().where(secrets.c.id == secret_id)
        if not self._database.write(lambda c: c.execute(statement).rowcount):
            raise Failure(404, f"There is no secret {secret_id}")

    def _highest_cost(self) -> int:
        """Return the highest cost of all password hashes, at least that of new ones."""
        digits = sa.func.substr(accounts.c.password, 5, 2)
        query = sa.select(sa.func.max(digits)).where(accounts.c.password.like("$2_$__$%"))
        found = self._database.read(lambda connection: connection.execute(query).scalar_one())
        return max(passwords.COST, passwords.cost(f"$2b${found}$"))

    def _is_secret(self, account_id: int, secret: str) -> bool:
        if not secret.startswith(SECRET):
            return False
        query = sa.select(secrets.c.expires).where(
            secrets.c.digest == digest(secret), secrets.c.account_id == account_id
        )
        row = self._database.read(lambda connection: connection.execute(query).first())
        return row is not None and (row.expires is None or row.expires > now())


def create(connection: sa.Connection, values: dict[str, Any], *, adopt: bool = False) -> None:
    """Insert an account, and the namespace of a person. Raise Failure 400 if something is taken."""
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


def check_email(email: str | None) -> None:
    """Raise Failure 400 unless it looks like one, or is None."""
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


def _row(connection: sa.Connection, name: str) -> Any:
    if not AccountName.is_valid(name):
        return None
    return connection.execute(sa.select(accounts).where(accounts.c.name == name)).first()


def _account(row: Any) -> AccountRecord:
    return AccountRecord(
        row.id, row.name, row.email, row.is_robot, row.is_admin, row.is_disabled, row.created
    )
