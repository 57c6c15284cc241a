"""Administration of accounts by several administrators at once, whose pages may be out of date.

A change names the `version` of the account that its author saw. If the account has changed since, the
change is refused, so that it cannot undo the other one silently.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from v1registry.index.accounts import (
    AccountRecord,
    change_email,
    record,
    remove_account,
)
from v1registry.index.database import Database
from v1registry.index.namespaces import ADMIN
from v1registry.index.rows import get, reads, writes
from v1registry.index.schema import accounts, grants, namespaces, repositories
from v1registry.lib import errors
from v1registry.lib.errors import Failure


@dataclass(frozen=True, slots=True)
class AccountPage:
    """A page of accounts by name, and the number of all that match."""

    rows: list[AccountRecord]
    total: int


class Administration:
    """Searches and changes accounts. The caller has checked that an administrator asks."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @reads
    def search(self, connection: sa.Connection, text: str, number: int, size: int) -> AccountPage:
        """Return page `number` (from 1) of the accounts whose name or e-mail address contains `text`."""
        query = sa.select(accounts)
        if text:
            columns = accounts.c.name, accounts.c.email
            query = query.where(sa.or_(*(c.icontains(text, autoescape=True) for c in columns)))
        total = connection.execute(sa.select(sa.func.count()).select_from(query.subquery()))
        rows = query.order_by(accounts.c.name).limit(size).offset((number - 1) * size)
        return AccountPage([record(row) for row in connection.execute(rows)], total.scalar_one())

    @reads
    def administers(self, connection: sa.Connection, user: str, namespace: str) -> bool:
        """Return whether a user has the role `admin` in the whole namespace."""
        this = accounts.c.name == user, accounts.c.is_disabled == sa.false()
        account = connection.execute(
            sa.select(accounts.c.id, accounts.c.is_admin).where(*this)
        ).first()
        if account is None:
            return False
        owned = namespaces.c.account_id == account.id
        given = sa.exists().where(
            grants.c.namespace_id == namespaces.c.id,
            grants.c.account_id == account.id,
            grants.c.repository == "",
            grants.c.role == ADMIN,
        )
        query = sa.select(namespaces.c.id).where(
            namespaces.c.name == namespace, sa.or_(owned, given)
        )
        return bool(account.is_admin) or connection.execute(query).first() is not None

    @reads
    def repositories_in(self, connection: sa.Connection, names: Iterable[str]) -> dict[str, int]:
        """Return the numbers of repositories in these namespaces; those without any are left out."""
        query = (
            sa.select(namespaces.c.name, sa.func.count().label("held"))
            .join(repositories, repositories.c.namespace_id == namespaces.c.id)
            .where(namespaces.c.name.in_(list(names)))
            .group_by(namespaces.c.name)
        )
        return {row.name: row.held for row in connection.execute(query)}

    @writes
    def set_email(self, connection: sa.Connection, name: str, email: str | None, seen: str) -> None:
        """Set the e-mail address. Raise Failure 409 if the account is not as `seen`, 400 or 404."""
        _current(connection, name, seen)
        change_email(connection, name, email)

    @writes
    def set_status(
        self, connection: sa.Connection, name: str, seen: str, *, is_admin: bool, is_disabled: bool
    ) -> None:
        """Set both flags. Raise Failure 409 as `set_email`, 400 for the last administrator."""
        row = _current(connection, name, seen)
        if not is_admin or is_disabled:
            _another_administrates(connection, row)
        values = {"is_admin": is_admin, "is_disabled": is_disabled}
        connection.execute(accounts.update().where(accounts.c.id == row.id).values(values))

    @writes
    def remove(self, connection: sa.Connection, name: str, reserved: int, seen: str) -> bool:
        """Remove an account as `AccountStore.remove`. Raise Failure 409 and 400 as `set_status`."""
        _another_administrates(connection, _current(connection, name, seen))
        return remove_account(connection, name, reserved)


def _current(connection: sa.Connection, name: str, seen: str) -> Any:
    """Lock and return the row of an account. Raise Failure 409 unless it is as `seen`."""
    connection.execute(sa.select(accounts.c.id).where(accounts.c.name == name).with_for_update())
    row = get(connection, accounts, "account", name)
    if record(row).version != seen:
        raise Failure(*errors.ACCOUNT_CHANGED)
    return row


def _another_administrates(connection: sa.Connection, row: Any) -> None:
    """Raise Failure 400 if this account is the only active administrator."""
    if not row.is_admin or row.is_disabled:
        return
    active = accounts.c.is_admin == sa.true(), accounts.c.is_disabled == sa.false()
    # The lock: two administrators could otherwise remove each other at the same time.
    query = sa.select(accounts.c.id).where(*active).order_by(accounts.c.id).with_for_update()
    if all(found == row.id for found in connection.scalars(query)):
        raise Failure(*errors.LAST_ADMINISTRATOR)
