"""What the endpoints ask an index of our own: the seam between HTTP and the room `index`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from v1registry.lib.names import ImageId, RepositoryName


@dataclass(frozen=True, slots=True)
class Repository:
    """One repository, with its namespace in the name. Times in seconds since the epoch."""

    name: str
    description: str
    is_private: bool
    is_official: bool
    is_automated: bool
    stars: int
    pulls: int
    created: int
    updated: int
    missing: int | None
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Comment:
    """`created` in seconds since the epoch."""

    id: int
    account: str
    text: str
    created: int


@dataclass(frozen=True, slots=True)
class Key:
    """A key that signs or signed tokens; `public` as in a configuration (`lib.tokens`)."""

    id: str
    public: str
    created: int
    is_signing: bool


class Users(Protocol):
    """Accounts, as far as people see to their own."""

    def sign_up(
        self,
        name: str,
        password: str,
        email: str | None,
        invitation: str | None = None,
        address: str = "",
    ) -> None:
        """Make an account for who asks from `address`. Raise Failure 400, 403 or 429."""

    def change(self, name: str, password: str | None, email: str | None) -> None:
        """Set what is not None. Raise Failure 400, or 404 for an unknown account."""

    def is_password(self, name: str, password: str) -> bool:
        """Whether this is the account's password itself, and no secret that stands in for it."""

    def is_admin(self, name: str) -> bool:
        """Whether the account may do everything."""


class IndexCatalog(Protocol):
    """What is known about repositories."""

    def create(self, repository: RepositoryName) -> bool:
        """Make it known, unless it is; return whether it is private."""

    def knows(self, repository: RepositoryName) -> bool:
        """Whether there is such a repository, whoever may see it."""

    def admit(self, repository: RepositoryName, made: str | None) -> bool:
        """Let a push go on, and return whether the repository is private; a new one is made.

        `made` tells for which creation of it the pusher's token was issued; None: no token.
        Raise Failure 404 if it was deleted since.
        """

    def get(self, repository: RepositoryName, user: str | None) -> Repository:
        """Raise Failure 404 for one that `user` (None: anybody) may not see."""

    def full_description(self, repository: RepositoryName) -> str:
        """Raise Failure 404."""

    def describe(
        self, repository: RepositoryName, short: str | None = None, full: str | None = None
    ) -> None:
        """Set what is not None. Raise Failure 404, or 400 for a text that is too long."""

    def flag(self, repository: RepositoryName, **flags: bool) -> None:
        """Set `is_private`, `is_official` or `is_automated`. Raise Failure 404."""

    def delete(self, repository: RepositoryName) -> bool:
        """Delete it, and return whether it was known."""


class StarsAndComments(Protocol):
    """Stars and comments, of accounts on repositories that they may see; else Failure 404."""

    def star(self, repository: RepositoryName, user: str) -> None:
        """Once an account; again is no error."""

    def unstar(self, repository: RepositoryName, user: str) -> None:
        """Where there is no star it is no error."""

    def is_starred(self, repository: RepositoryName, user: str) -> bool:
        """Whether `user` starred it."""

    def starred(self, user: str, after: str = "", most: int = 100) -> Sequence[str]:
        """The names of what `user` starred, behind `after`."""

    def comment(self, repository: RepositoryName, user: str, text: str) -> int:
        """Add a comment; return its id. Raise Failure 400 for an odd text."""

    def comments(
        self, repository: RepositoryName, user: str | None, after: int = 0, most: int = 100
    ) -> Sequence[Comment]:
        """The oldest first, those with an id above `after`."""

    def remove_comment(
        self, repository: RepositoryName, comment_id: int, user: str, *, any_author: bool
    ) -> None:
        """Remove one's own, or, with `any_author`, anybody's. Raise Failure 404."""


class Tokens(Protocol):
    """The keys that sign tokens."""

    def issue(self, repository: RepositoryName, access: str, user: str | None, life: int) -> str:
        """A token's text, without the leading word; `life` in seconds."""

    def ensure(self) -> None:
        """Make the first key, if there is none."""

    def all(self) -> Sequence[Key]:
        """Every key, the signing one first."""


class PullCounter(Protocol):
    """Counts pulls."""

    def count(self, repository: RepositoryName) -> None:
        """One more."""


class ImageListStore(Protocol):
    """Image lists (protocol-v1.md section 2.1)."""

    def get(self, repository: RepositoryName) -> list[dict[str, Any]]:
        """Raise Failure 404 if there is none."""

    def update(self, repository: RepositoryName, data: bytes, user: str | None = None) -> None:
        """Merge the list that `user` sent. Raise Failure 400 for a list of odd shape."""


@dataclass(frozen=True, slots=True)
class IndexServices:
    """An index of our own. `may_read(image, repository, user)` says whether an image is readable
    for who may read the repository and everything that `user` may; `token_life` in seconds.
    """

    users: Users
    catalog: IndexCatalog
    opinions: StarsAndComments
    tokens: Tokens
    pulls: PullCounter
    may_read: Callable[[ImageId, RepositoryName, str | None], bool]
    token_life: int
