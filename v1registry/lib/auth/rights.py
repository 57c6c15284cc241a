"""Callers and their access rights: the interface between the endpoints and an implementation.

The endpoints know only `Rights`. `create_app` chooses the implementation: none (`Open`), an index whose
tokens grant access, or accounts of the registry.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from v1registry.lib import errors
from v1registry.lib.errors import Failure
from v1registry.lib.names import ImageId, RepositoryName


class Access(Enum):
    """A kind of access to a repository; the values are the words of configuration files."""

    PULL = "pull"
    PUSH = "push"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Credentials:
    """The credentials of a request, not verified. `repr` shows no secret, so a log cannot.

    `user` and `password` are those of Basic authentication. `token` is a token's text without leading
    words, and `pairs` its contents (empty if malformed). `header` is the Authorization header, for the
    index that issued the token. `proxy_user` and `proxy_groups` are the user and groups that a trusted
    proxy has authenticated.
    """

    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    pairs: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    header: str | None = field(default=None, repr=False)
    proxy_user: str | None = None
    proxy_groups: frozenset[str] = frozenset()

    def pair(self, name: str) -> str | None:
        """Return a value of the token, for example of `repository`."""
        return dict(self.pairs).get(name)


@dataclass(frozen=True, slots=True)
class Grant:
    """The access that a valid token grants: one kind of access to one repository.

    `made` names the creation of the repository for which the token was issued, see `lib.auth.tokens`.
    """

    repository: RepositoryName
    access: Access
    made: str = ""


@dataclass(frozen=True, slots=True)
class Caller:
    """The authenticated sender of a request: a user, the bearer of a token, or anonymous.

    `credentials` are those of the request, for an index that is asked in the caller's name.
    """

    user: str | None = None
    groups: frozenset[str] = frozenset()
    grant: Grant | None = None
    credentials: Credentials = field(default=Credentials(), repr=False, compare=False)

    @property
    def is_anonymous(self) -> bool:
        """Whether the caller is anonymous."""
        return self.user is None and self.grant is None

    @property
    def key(self) -> str:
        """A key for this caller; all bearers of tokens for one repository share one."""
        if self.grant is not None:
            return f"repository {self.grant.repository}"
        return "nobody" if self.user is None else f"user {self.user}"


ANONYMOUS = Caller()

IsPrivate = Callable[
    [RepositoryName], bool
]  # whether a repository has the private flag (`_private`)


class Rights(ABC):
    """Decides which caller may do what. Called for every request, so implementations cache.

    An implementation respects the private flag: only callers with a rule for the repository by name
    may pull from a private repository.
    """

    #: whether every caller may do everything
    open = False

    #: whether a client could send credentials at all
    knows_users = True

    #: whether a name and a password identify a user, for more than one repository
    has_passwords = False

    #: the WWW-Authenticate header of a refusal
    challenge = 'Basic realm="Docker registry"'

    #: the answer to a push on a parent that the caller may not use: as if it did not exist
    parent_refused: errors.Text = errors.PARENT_NOT_FOUND

    @abstractmethod
    def identify(self, credentials: Credentials, address: str) -> Caller:
        """Return the caller with these credentials; ANONYMOUS if there are none.

        Raise Failure: 401 for wrong credentials, 403 for a disabled account, 429 for too many attempts
        from `address` or for the account, 503 if the accounts cannot be looked up.
        """

    def of_v2(
        self, credentials: Credentials, address: str, repository: RepositoryName | None
    ) -> Caller:
        """Return the caller for a v2 client that wants to pull from `repository`, if it names one.

        If only v1 tokens grant access, the index is asked with the password. Raise as `identify`.
        """
        return self.identify(credentials, address)

    def for_bearer(
        self, credentials: Credentials, address: str, repository: RepositoryName | None
    ) -> Caller:
        """Return the caller for a bearer token, which replaces the credentials from then on.

        If the caller's credentials contain a v1 token, it is checked at every request.
        """
        return self.of_v2(credentials, address, repository)

    def state(self, caller: Caller) -> str:
        """Return a text that changes with the caller's account or password and discloses neither.

        Empty if changes cannot be detected.
        """
        return ""

    def session_state(self, caller: Caller) -> str:
        """Return `state` for a session on the pages, which new access tokens of a robot do not end."""
        return self.state(caller)

    @abstractmethod
    def may(self, caller: Caller, repository: RepositoryName | None, access: Access) -> bool:
        """Return whether the caller has this access to the repository; None: to any repository."""

    def may_see(self, caller: Caller, repository: RepositoryName, *, private: bool) -> bool:
        """Return `may` pull, for long lists in which the private flag is known."""
        return self.may(caller, repository, Access.PULL)

    def expects(self, caller: Caller, image_id: ImageId) -> bool:
        """Return whether the image belongs to the push that the caller has announced."""
        return True

    def index_allows(self, caller: Caller, image_id: ImageId) -> bool:
        """Return whether the index says that the caller may pull this image from some repository.

        Called only if this is not known here (see `ImageRights`). An image list that a client sent is
        not sufficient.
        """
        return False

    def refusal(self, caller: Caller) -> Failure:
        """Return the refusal: 401 for an anonymous caller who could authenticate, otherwise 403."""
        if caller.user is None and self.knows_users:
            return Failure(*errors.UNAUTHORIZED, {"WWW-Authenticate": self.challenge})
        return Failure(*errors.FORBIDDEN)


class Open(Rights):
    """Standalone without accounts, as in 0.x: every client that reaches the port may do everything.

    Here the private flag only keeps a repository out of shared caches and the search.
    """

    open = True

    def identify(self, credentials: Credentials, address: str) -> Caller:
        return ANONYMOUS

    def may(self, caller: Caller, repository: RepositoryName | None, access: Access) -> bool:
        return True
