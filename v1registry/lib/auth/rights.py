"""Who asks, and what they may do: the seam between the endpoints and whoever knows the users.

The endpoints know `Rights` alone. Who stands behind it is decided in `create_app`: nobody (`Open`),
an index whose tokens count, or accounts of our own.
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
    """What may be done with a repository; the values are the words of configuration files."""

    PULL = "pull"
    PUSH = "push"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request shows, unchecked. Nothing secret of it comes into a log by `repr`.

    `user` and `password` are those of Basic. `token` is a token's text without leading words, and
    `pairs` what stands in it (empty if it is malformed). `header` is Authorization as it came, for
    the index that gave it. `vouched` is the name that a trusted proxy found out, `vouched_groups`
    the groups.
    """

    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    pairs: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    header: str | None = field(default=None, repr=False)
    vouched: str | None = None
    vouched_groups: frozenset[str] = frozenset()

    def pair(self, name: str) -> str | None:
        """A value of the token, e.g. of `repository`."""
        return dict(self.pairs).get(name)


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token that counts allows: one access to one repository, and nothing else.

    `made` names the creation of the repository that the token was issued for, see `lib.tokens`.
    """

    repository: RepositoryName
    access: Access
    made: str = ""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as far as it is proven: an account, a token's bearer, or nobody.

    `credentials` are what was shown, for an index that is asked in the bearer's name.
    """

    user: str | None = None
    groups: frozenset[str] = frozenset()
    grant: Grant | None = None
    credentials: Credentials = field(default=Credentials(), repr=False, compare=False)

    @property
    def is_nobody(self) -> bool:
        return self.user is None and self.grant is None

    @property
    def key(self) -> str:
        """A name for "the same asker as before": bearers for one repository are one."""
        if self.grant is not None:
            return f"repository {self.grant.repository}"
        return "nobody" if self.user is None else f"user {self.user}"


NOBODY = Caller()

IsPrivate = Callable[[RepositoryName], bool]  # whether a repository is flagged so (`_private`)


class Rights(ABC):
    """Says who may do what. Called for every request: what costs time is cached behind it.

    An implementation respects the flag of private repositories: nobody pulls from one who may not
    pull from it by name.
    """

    #: whether there is nothing to check: everybody may do everything
    open = False

    #: whether somebody could show more than nothing
    knows_users = True

    #: the WWW-Authenticate of a refusal
    challenge = 'Basic realm="Docker registry"'

    #: the answer to a push upon a parent that the asker may not use: as if there were none
    parent_refused: errors.Text = errors.PARENT_NOT_FOUND

    @abstractmethod
    def identify(self, credentials: Credentials, address: str) -> Caller:
        """Who this is; NOBODY for who shows nothing.

        Raise Failure: 401 for what is shown and wrong, 403 for an account that is disabled, 429
        for `address` or an account that tries too much, 503 if who should know cannot be asked.
        """

    def of_v2(
        self, credentials: Credentials, address: str, repository: RepositoryName | None
    ) -> Caller:
        """Who this is to a v2 client that wants to pull from the repository, if it names one.

        Where tokens of v1 count alone, whoever gives them is asked with the password. Raises what
        `identify` raises.
        """
        return self.identify(credentials, address)

    def for_bearer(
        self, credentials: Credentials, address: str, repository: RepositoryName | None
    ) -> Caller:
        """As `of_v2`, for a bearer token that is shown from then on instead of the credentials.

        If the asker's credentials hold a token, that is identified at every request.
        """
        return self.of_v2(credentials, address, repository)

    def state(self, asker: Caller) -> str:
        """A text that changes when the asker's account or password does; it tells nothing of them.

        Empty where that cannot be told.
        """
        return ""

    @abstractmethod
    def may(self, asker: Caller, repository: RepositoryName | None, access: Access) -> bool:
        """Whether the asker may do that with the repository; None: with any one at all."""

    def sees(self, asker: Caller, repository: RepositoryName, *, private: bool) -> bool:
        """As `may` pull, for long lists in which the flag of each is known."""
        return self.may(asker, repository, Access.PULL)

    def expects(self, asker: Caller, image_id: ImageId) -> bool:
        """Whether the image belongs to what the asker said that it would push."""
        return True

    def vouches(self, asker: Caller, image_id: ImageId) -> bool:
        """Whether who knows the users says that the asker may pull this image from somewhere.

        Asked only where it is not known here (see `lib.imagerights`). A list of images that a
        client sent is no reason to say so.
        """
        return False

    def refusal(self, asker: Caller) -> Failure:
        """The answer to who may not: 401 to who might show more, 403 to who is known."""
        if asker.user is None and self.knows_users:
            return Failure(*errors.UNAUTHORIZED, {"WWW-Authenticate": self.challenge})
        return Failure(*errors.FORBIDDEN)


class Open(Rights):
    """Standalone without accounts, as in 0.x: who reaches the port may do everything.

    The flag of private repositories only keeps shared caches and the search from showing them:
    there is nobody whom it could let in.
    """

    open = True

    def identify(self, credentials: Credentials, address: str) -> Caller:
        return NOBODY

    def may(self, asker: Caller, repository: RepositoryName | None, access: Access) -> bool:
        return True
