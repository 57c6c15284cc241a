"""Who may do what, as the index knows it: by password, by secret, or by a token that it signed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from v1registry.index import deletions
from v1registry.index.database import Database
from v1registry.index.namespaces import PULL, PUSH, ROLES, role
from v1registry.index.repositories import is_for
from v1registry.index.schema import accounts, repositories
from v1registry.index.tokenkeys import TokenKeys
from v1registry.lib import errors
from v1registry.lib.auth.rights import NOBODY, Access, Caller, Credentials, Grant, Rights
from v1registry.lib.auth.tokens import TokenError, refused
from v1registry.lib.errors import Failure
from v1registry.lib.names import ImageId, RepositoryName
from v1registry.lib.repositories.references import RepositoryReferences
from v1registry.lib.support.single_flight import SingleFlightCache

LIFE = 5.0  # seconds for which a role is believed after it was taken away

#: what a token says, and what it takes to get one
TOKEN_ACCESS = {"read": Access.PULL, "write": Access.PUSH, "delete": Access.DELETE}
_LEAST = {Access.PULL: PULL, Access.PUSH: PUSH, Access.DELETE: ROLES[-1]}

_log = logging.getLogger(__name__)

Prove = Callable[[Credentials, str], Caller]  # by name and password, from an address


class OwnIndexRights(Rights):
    """Roles of accounts, and the flag of private repositories, both in the database."""

    challenge = 'Basic realm="auth required",Token'

    def __init__(
        self,
        database: Database,
        keys: TokenKeys,
        prove: Prove,
        reach: RepositoryReferences | None = None,
        state: Callable[[Caller], str] = lambda _: "",
    ) -> None:
        """`prove` finds out who shows a name and a password, `state` is that of the accounts;
        `reach` knows the store's images.
        """
        self._database = database
        self._keys = keys
        self._prove = prove
        self._state = state
        self._reach = reach
        self._answers: SingleFlightCache[bool] = SingleFlightCache(LIFE)

    def identify(self, credentials: Credentials, address: str) -> Caller:
        if credentials.token is not None:
            return self._bearer(credentials)
        return self._prove(credentials, address)

    def state(self, asker: Caller) -> str:
        return self._state(asker)

    def may(self, asker: Caller, repository: RepositoryName | None, access: Access) -> bool:
        """What a token grants counts as long as its bearer has the role, and no longer."""
        if asker.grant is not None and not _grants(asker.grant, repository, access):
            return False
        if repository is None:
            return access is Access.PULL or asker.user is not None
        made = asker.grant.made if asker.grant is not None else None
        key = f"{asker.user or ''} {access.value} {repository} {made}"
        return self._answers.get(key, lambda: self._may(asker.user, repository, access, made))

    def vouches(self, asker: Caller, image_id: ImageId) -> bool:
        """A token's bearer may pull from other repositories, too, and build upon what is there."""
        if self._reach is None:
            return False
        bearer = Caller(asker.user)
        return any(
            self.may(bearer, repository, Access.PULL) and self._reach.holds(repository, image_id)
            for repository in self._reach.claiming(image_id)
        )

    def refusal(self, asker: Caller) -> Failure:
        """To a token 401, whosever it is: another one may do."""
        return super().refusal(asker if asker.grant is None else NOBODY)

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
            raise self.refusal(NOBODY) from None
        return Caller(token.user, grant=grant, credentials=credentials)

    def _may(
        self, user: str | None, repository: RepositoryName, access: Access, made: str | None
    ) -> bool:
        """`made`: of a token, which creation of the repository it is for; None: no token."""

        def work(connection: sa.Connection) -> bool:
            account = _account(connection, user)
            if user is not None and account is None:
                return False  # disabled, or gone, while its token or its password is still good
            known = _known(connection, repository)
            if known is None and made is not None:
                if deletions.find(connection, repository) is not None:
                    return False  # the token is from before the deletion
            elif known is not None and not is_for(made, known):
                return False  # likewise, and there is a new one
            if access is Access.PULL and known is not None and not known.is_private:
                return True
            held = role(connection, account, repository) if account is not None else None
            return held is not None and ROLES.index(held) >= ROLES.index(_LEAST[access])

        return self._database.read(work)


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
