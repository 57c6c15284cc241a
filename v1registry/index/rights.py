"""Rights by roles of the index, for passwords, secrets and tokens that the index signed."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from v1registry.index import deletions
from v1registry.index.database import Database
from v1registry.index.namespaces import PULL, PUSH, ROLES, role
from v1registry.index.repositories import is_for
from v1registry.index.rows import reads
from v1registry.index.schema import accounts, repositories
from v1registry.index.tokenkeys import TokenKeys
from v1registry.lib import errors
from v1registry.lib.auth.rights import ANONYMOUS, Access, Caller, Credentials, Grant, Rights
from v1registry.lib.auth.tokens import TokenError, refused
from v1registry.lib.errors import Failure
from v1registry.lib.names import ImageId, RepositoryName
from v1registry.lib.repositories.references import RepositoryReferences
from v1registry.lib.support.single_flight import SingleFlightCache

LIFE = 5.0  # seconds until servers notice a changed role

#: access named in a token, and the role that it requires
TOKEN_ACCESS = {"read": Access.PULL, "write": Access.PUSH, "delete": Access.DELETE}
_REQUIRED_ROLE = {Access.PULL: PULL, Access.PUSH: PUSH, Access.DELETE: ROLES[-1]}

_log = logging.getLogger(__name__)

Prove = Callable[[Credentials, str], Caller]  # credentials, client address


class OwnIndexRights(Rights):
    """Rights by roles of accounts and by the visibility of repositories in the database."""

    challenge = 'Basic realm="auth required",Token'
    has_passwords = True

    def __init__(
        self,
        database: Database,
        keys: TokenKeys,
        prove: Prove,
        references: RepositoryReferences | None = None,
        state: Callable[[Caller], str] = lambda _: "",
    ) -> None:
        """`prove` verifies a name and a password. `state` returns the state of an account.

        `references` are the repository references of the store.
        """
        self._database = database
        self._keys = keys
        self._prove = prove
        self._state = state
        self._references = references
        self._answers: SingleFlightCache[bool] = SingleFlightCache(LIFE)

    def identify(self, credentials: Credentials, address: str) -> Caller:
        if credentials.token is not None:
            return self._bearer(credentials)
        return self._prove(credentials, address)

    def state(self, caller: Caller) -> str:
        return self._state(caller)

    def session_state(self, caller: Caller) -> str:
        """Return a text that changes with the password and the status of the account, not cached."""

        def work(connection: sa.Connection) -> str:
            columns = accounts.c.id, accounts.c.password, accounts.c.is_disabled
            query = sa.select(*columns).where(accounts.c.name == caller.user)
            row = connection.execute(query).first()
            return "" if row is None else repr(tuple(row))

        found = self._database.read(work) if caller.user is not None else ""
        return hashlib.sha256(found.encode()).hexdigest()[:16] if found else ""

    def may(self, caller: Caller, repository: RepositoryName | None, access: Access) -> bool:
        """Return whether the caller has access. A token is valid only while its user has the role."""
        if caller.grant is not None and not _grants(caller.grant, repository, access):
            return False
        if repository is None:
            return access is Access.PULL or caller.user is not None
        made = caller.grant.made if caller.grant is not None else None
        key = f"{caller.user or ''} {access.value} {repository} {made}"
        return self._answers.get(key, lambda: self._may(caller.user, repository, access, made))

    def index_allows(self, caller: Caller, image_id: ImageId) -> bool:
        """Return whether the user of a token may pull the image from any other repository."""
        if self._references is None:
            return False
        bearer = Caller(caller.user)
        return any(
            self.may(bearer, repository, Access.PULL)
            and self._references.contains(repository, image_id)
            for repository in self._references.candidates(image_id)
        )

    def refusal(self, caller: Caller) -> Failure:
        """Return the refusal; 401 for every token, because another token may have access."""
        return super().refusal(caller if caller.grant is None else ANONYMOUS)

    def _bearer(self, credentials: Credentials) -> Caller:
        try:
            token = self._keys.verify(credentials.token or "")
            repository = RepositoryName.parse_quoted(token.repository)
            grant = Grant(repository, TOKEN_ACCESS[token.access], token.made)
        except (TokenError, KeyError, Failure) as error:
            if isinstance(error, Failure) and error.status == errors.INDEX_UNAVAILABLE[0]:
                raise
            if isinstance(error, TokenError):
                _log.warning("%s", refused(error))
            raise self.refusal(ANONYMOUS) from None
        return Caller(token.user, grant=grant, credentials=credentials)

    @reads
    def _may(
        self,
        connection: sa.Connection,
        user: str | None,
        repository: RepositoryName,
        access: Access,
        made: str | None,
    ) -> bool:
        """`made`: the creation of the repository that a token was issued for; None: no token."""
        account = _account(connection, user)
        if user is not None and account is None:
            return False  # disabled or removed, while its token is still valid
        known = _known(connection, repository)
        if known is None and made is not None:
            if deletions.find(connection, repository) is not None:
                return False  # the token is from before the deletion
        elif known is not None and not is_for(made, known):
            return False  # the same, and the repository was created again
        if access is Access.PULL and known is not None and not known.is_private:
            return True
        held = role(connection, account, repository) if account is not None else None
        return held is not None and ROLES.index(held) >= ROLES.index(_REQUIRED_ROLE[access])


def _grants(grant: Grant, repository: RepositoryName | None, access: Access) -> bool:
    return access is grant.access and repository in (None, grant.repository)


def _account(connection: sa.Connection, name: str | None) -> Any:
    query = sa.select(accounts.c.id, accounts.c.is_admin).where(
        accounts.c.name == name, accounts.c.is_disabled == sa.false()
    )
    return connection.execute(query).first() if name is not None else None


def _known(connection: sa.Connection, repository: RepositoryName) -> Any:
    query = sa.select(repositories.c.is_private, repositories.c.made)
    return connection.execute(query.where(repositories.c.name == str(repository))).first()
