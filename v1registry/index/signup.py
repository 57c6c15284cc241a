"""Sign-up: open, by invitation, or closed."""

from __future__ import annotations

import secrets as random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from v1registry.index.accounts import check_email, create, digest
from v1registry.index.database import Database
from v1registry.index.rows import now
from v1registry.index.schema import accounts, invitations
from v1registry.lib import errors
from v1registry.lib.auth import passwords
from v1registry.lib.errors import Failure
from v1registry.lib.names import AccountName
from v1registry.lib.support.throttle import Throttle

OPEN, INVITATION, CLOSED = MODES = ("open", "invitation", "closed")

_SIGNING_UP = "/"  # no account name begins so: sign-ups have their own throttle key

_RESERVED = frozenset({"library"})  # clients pull `busybox` from this namespace


@dataclass(frozen=True, slots=True)
class Invitation:
    """An invitation that is still valid, without its code."""

    id: int
    email: str | None
    created: int
    expires: int


@dataclass(frozen=True, slots=True)
class SignUp:
    """Sign-up. `mode` is one of MODES; `is_taken` returns whether the store has a namespace."""

    database: Database
    run_in_thread: Callable[..., Any]
    mode: str
    is_taken: Callable[[str], bool]
    throttle: Throttle | None = None

    def sign_up(
        self,
        name: str,
        password: str,
        email: str | None,
        invitation: str | None = None,
        address: str = "",
    ) -> None:
        """Add the account.

        Raise Failure 400 if the name or e-mail address is taken, or if sign-up is closed: Docker
        then tries to log in. Also raise Failure 400 for a bad name or password, 403 for a wrong
        invitation, 429 for too many sign-ups from an address.

        `docker login` has no field for an invitation, so it may be in the field of the e-mail
        address.
        """
        # The name is checked first: the account may have an old, short password.
        if self.mode == CLOSED or self._exists(name):
            raise Failure(*errors.ACCOUNT_EXISTS)
        if self.mode == INVITATION:
            if invitation is None and "@" not in (email or ""):
                email, invitation = None, email
            if not self._is_invited(invitation or ""):  # before the expensive hash of the password
                raise Failure(*errors.INVITATION_WRONG)
        AccountName.parse(name)
        check_email(email)
        passwords.check_new(password)
        if name in _RESERVED or self.is_taken(name):
            raise Failure(*errors.NAMESPACE_EXISTS)
        if self.throttle is not None:
            with self.throttle.attempt(f"{_SIGNING_UP} {address}", address):
                pass  # each sign-up counts like a wrong password
        values = {
            "name": name,
            "email": email,
            "password": self.run_in_thread(passwords.hash, password),
            "is_robot": False,
            "is_admin": False,
            "created": now(),
        }

        def work(connection: sa.Connection) -> None:
            if self.mode == INVITATION:
                invited = _use(connection, invitation or "")
                values["email"] = values["email"] or invited
            create(connection, values)

        self.database.write(work)

    def invite(self, email: str | None, life: int) -> str:
        """Create an invitation, valid once within `life` seconds, and return its code."""
        check_email(email)
        code = random.token_urlsafe(18)
        values = {"digest": digest(code), "email": email, "created": now(), "expires": now() + life}

        def work(connection: sa.Connection) -> None:
            connection.execute(invitations.delete().where(invitations.c.expires <= now()))
            connection.execute(invitations.insert().values(values))

        self.database.write(work)
        return code

    def invitations(self, most: int = 1000) -> list[Invitation]:
        """Return at most `most` valid invitations, the newest first."""
        valid = sa.select(invitations).where(invitations.c.expires > now())
        rows = self.database.rows(valid.order_by(invitations.c.id.desc()).limit(most))
        return [Invitation(row.id, row.email, row.created, row.expires) for row in rows]

    def revoke_invitation(self, invitation_id: int) -> None:
        """Delete an invitation. Raise Failure 404."""
        statement = invitations.delete().where(invitations.c.id == invitation_id)
        if not self.database.change(statement):
            raise Failure(*errors.INVITATION_GONE)

    def _is_invited(self, code: str) -> bool:
        query = sa.select(invitations.c.id).where(
            invitations.c.digest == digest(code), invitations.c.expires > now()
        )
        return self.database.row(query) is not None

    def _exists(self, name: str) -> bool:
        query = sa.select(accounts.c.id).where(accounts.c.name == name)
        return AccountName.is_valid(name) and self.database.row(query) is not None


def _use(connection: sa.Connection, code: str) -> str | None:
    """Use up the invitation, and return its e-mail address. Raise Failure 403."""
    used = (
        invitations.delete()
        .where(invitations.c.digest == digest(code), invitations.c.expires > now())
        .returning(invitations.c.email)
    )
    row = connection.execute(used).first()
    if row is None:
        raise Failure(*errors.INVITATION_WRONG)
    return None if row.email is None else str(row.email)
