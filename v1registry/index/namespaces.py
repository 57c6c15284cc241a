"""Namespaces, their members and roles.

A role is given for a whole namespace or for one repository in it; the higher role applies. Each user
has the role `admin` in the namespace of the same name. The namespace of an organisation has only members.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from v1registry.index.database import Database
from v1registry.index.rows import get, insert_new, now, reads, upsert, writes
from v1registry.index.schema import accounts, grants, namespaces, repositories
from v1registry.lib import errors
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName, check_namespace

PULL, PUSH, ADMIN = ROLES = ("pull", "push", "admin")  # each role includes the ones before it


@dataclass(frozen=True, slots=True)
class Namespace:
    """One namespace. `owner` is the account of the same name; None for an organisation."""

    name: str
    owner: str | None
    members: int
    repositories: int


@dataclass(frozen=True, slots=True)
class Member:
    """A role of an account; `repository` is empty for the whole namespace."""

    account: str
    namespace: str
    repository: str
    role: str


class Namespaces:
    """The namespaces and their members."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, name: str) -> None:
        """Add an organisation's namespace. Raise Failure 400 if the name is taken or not legal."""
        check_namespace(name)
        values = {"name": name, "created": now()}
        if self._database.write(lambda c: insert_new(c, namespaces, values)) is None:
            raise Failure(*errors.NAMESPACE_EXISTS)

    @writes
    def remove(self, connection: sa.Connection, name: str) -> None:
        """Remove a namespace. Raise Failure 404, or 400 if it has an owner or repositories."""
        row = _get(connection, name)
        if row.account_id is not None:
            raise Failure(400, f"The namespace {name} belongs to the account {name}")
        query = sa.select(repositories.c.id).where(repositories.c.namespace_id == row.id)
        if connection.execute(query.limit(1)).first() is not None:
            raise Failure(400, f"The namespace {name} has repositories")
        connection.execute(namespaces.delete().where(namespaces.c.id == row.id))

    @reads
    def new_are_private(self, connection: sa.Connection, name: str) -> bool | None:
        """Return whether new repositories are private; None: index.private decides. Raise Failure 404."""
        found = _get(connection, name).is_private
        return None if found is None else bool(found)

    @writes
    def set_private(self, connection: sa.Connection, name: str, private: bool | None) -> None:
        """Set whether new repositories are private; None: index.private decides.

        Raise Failure 404 if there is no such namespace.
        """
        this = namespaces.c.id == _get(connection, name).id
        connection.execute(namespaces.update().where(this).values(is_private=private))

    def all(self, after: str = "", most: int = 1000) -> list[Namespace]:
        """Return at most `most` namespaces by name, starting after the name `after`."""
        members = sa.select(sa.func.count(grants.c.account_id.distinct())).where(
            grants.c.namespace_id == namespaces.c.id
        )
        held = sa.select(sa.func.count()).where(repositories.c.namespace_id == namespaces.c.id)
        query = (
            sa.select(
                namespaces.c.name,
                accounts.c.name.label("owner"),
                members.scalar_subquery().label("members"),
                held.scalar_subquery().label("repositories"),
            )
            .join(accounts, accounts.c.id == namespaces.c.account_id, isouter=True)
            .where(namespaces.c.name > after)
            .order_by(namespaces.c.name)
            .limit(most)
        )
        rows = self._database.rows(query)
        return [Namespace(r.name, r.owner, r.members, r.repositories) for r in rows]

    @reads
    def owner(self, connection: sa.Connection, name: str) -> str | None:
        """Return the account that owns the namespace; None for an organisation. Raise Failure 404."""
        owned = accounts.c.id == _get(connection, name).account_id
        return connection.execute(sa.select(accounts.c.name).where(owned)).scalar_one_or_none()

    @reads
    def members(self, connection: sa.Connection, name: str) -> list[Member]:
        """Return the members without the owner. Raise Failure 404."""
        query = (
            sa.select(accounts.c.name, grants.c.repository, grants.c.role)
            .join(grants, grants.c.account_id == accounts.c.id)
            .where(grants.c.namespace_id == _get(connection, name).id)
            .order_by(accounts.c.name, grants.c.repository)
        )
        rows = connection.execute(query).all()
        return [Member(row.name, name, row.repository, row.role) for row in rows]

    @reads
    def roles(self, connection: sa.Connection, account: str) -> list[Member]:
        """Return the roles of an account: as owner, and given roles by namespace.

        An administrator has the role `admin` in the namespace `*`, which stands for all of them.
        Raise Failure 404.
        """
        found = get(connection, accounts, "account", account)
        everywhere = [Member(account, "*", "", ADMIN)] if found.is_admin else []
        owned = sa.select(namespaces.c.name).where(namespaces.c.account_id == found.id)
        own = [Member(account, name, "", ADMIN) for name in connection.scalars(owned)]
        given = (
            sa.select(namespaces.c.name, grants.c.repository, grants.c.role)
            .join(grants, grants.c.namespace_id == namespaces.c.id)
            .where(grants.c.account_id == found.id)
            .order_by(namespaces.c.name, grants.c.repository)
        )
        rows = connection.execute(given).all()
        return [*everywhere, *own, *(Member(account, r[0], r[1], r[2]) for r in rows)]

    @writes
    def grant(self, connection: sa.Connection, account: str, role: str, target: str) -> None:
        """Give a role in a namespace, or in a repository `ns/repo`, and replace an older role there.

        Raise Failure 404 if the account or namespace does not exist, 400 for an unknown role.
        """
        _grant(connection, account, role, target)

    @writes
    def revoke(self, connection: sa.Connection, account: str, target: str) -> None:
        """Take a role away. Raise Failure 404 if there is none."""
        _revoke(connection, account, target)

    @writes
    def replace_role(
        self, connection: sa.Connection, account: str, target: str, role: str, seen: str
    ) -> None:
        """Give a role as `grant`, or take it away if `role` is empty.

        Raise Failure 409 if the account's role in the target is not `seen` (empty: none), because
        another administrator has changed it.
        """
        namespace, repository = _target(target)
        this = namespaces.c.name == namespace
        connection.execute(sa.select(namespaces.c.id).where(this).with_for_update())
        query = sa.select(grants.c.role).where(
            grants.c.account_id == account_id(connection, account),
            grants.c.namespace_id == _get(connection, namespace).id,
            grants.c.repository == repository,
        )
        held = connection.execute(query).scalar_one_or_none() or ""
        if held != seen:
            found = f"the role {held}" if held else "no role"
            raise Failure(409, f"{account} has {found} in {target} now, so nothing was changed")
        if role:
            _grant(connection, account, role, target)
        else:
            _revoke(connection, account, target)


def role(connection: sa.Connection, account: Any, repository: RepositoryName) -> str | None:
    """Return the role of an account (`id`, `is_admin`) in a repository; None if it has none."""
    if account.is_admin:
        return ADMIN
    query = (
        sa.select(namespaces.c.account_id, grants.c.role)
        .join(
            grants,
            sa.and_(
                grants.c.namespace_id == namespaces.c.id,
                grants.c.account_id == account.id,
                grants.c.repository.in_(["", repository.name]),
            ),
            isouter=True,
        )
        .where(namespaces.c.name == repository.namespace)
    )
    rows = connection.execute(query).all()
    if any(row.account_id == account.id for row in rows):
        return ADMIN
    return max((row.role for row in rows if row.role), key=ROLES.index, default=None)


def namespace_id(connection: sa.Connection, name: str) -> int:
    """Return the id of a namespace; create it without an owner if it is missing."""
    query = sa.select(namespaces.c.id).where(namespaces.c.name == name)
    found = connection.execute(query).scalar_one_or_none()
    if found is None:
        insert_new(connection, namespaces, {"name": name, "created": now()})
        found = connection.execute(query).scalar_one()
    return int(found)


def _grant(connection: sa.Connection, account: str, role: str, target: str) -> None:
    if role not in ROLES:
        raise Failure(400, f"A role is one of {', '.join(ROLES)}")
    namespace, repository = _target(target)
    key = {
        "account_id": account_id(connection, account),
        "namespace_id": _get(connection, namespace).id,
        "repository": repository,
    }
    upsert(connection, grants, key, {"role": role})


def _revoke(connection: sa.Connection, account: str, target: str) -> None:
    namespace, repository = _target(target)
    revoked = grants.delete().where(
        grants.c.account_id == account_id(connection, account),
        grants.c.namespace_id == _get(connection, namespace).id,
        grants.c.repository == repository,
    )
    if not connection.execute(revoked).rowcount:
        raise Failure(404, f"{account} has no role in {target}")


def _target(target: str) -> tuple[str, str]:
    namespace, slash, repository = target.partition("/")
    if slash:
        parsed = RepositoryName.parse_stored(target)
        return parsed.namespace, parsed.name
    check_namespace(namespace)
    return namespace, repository


def account_id(connection: sa.Connection, name: str) -> int:
    """Return the id of an account. Raise Failure 404."""
    return int(get(connection, accounts, "account", name).id)


def _get(connection: sa.Connection, name: str) -> Any:
    return get(connection, namespaces, "namespace", name)
