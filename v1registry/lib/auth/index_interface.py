"""The interface that the endpoints use to call the registry's own index (the package `index`)."""

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
    """A comment on a repository. `created` in seconds since the epoch."""

    id: int
    account: str
    text: str
    created: int


@dataclass(frozen=True, slots=True)
class Key:
    """A signing key, current or old; `public` as in a configuration (`lib.auth.tokens`)."""

    id: str
    public: str
    created: int
    is_signing: bool


class Users(Protocol):
    """Accounts: what users do with their own."""

    def sign_up(
        self,
        name: str,
        password: str,
        email: str | None,
        invitation: str | None = None,
        address: str = "",
    ) -> None:
        """Create an account for a client at `address`. Raise Failure 400, 403 or 429."""

    def change(self, name: str, password: str | None, email: str | None) -> None:
        """Set the values that are not None. Raise Failure 400, or 404 for an unknown account."""

    def is_password(self, name: str, password: str) -> bool:
        """Return whether this is the account's password, and not an access token in its place."""

    def is_admin(self, name: str) -> bool:
        """Return whether the account may do everything."""


class IndexCatalog(Protocol):
    """What the index knows about repositories."""

    def create(self, repository: RepositoryName) -> bool:
        """Create the repository unless it exists; return whether it is private."""

    def knows(self, repository: RepositoryName) -> bool:
        """Return whether the repository exists, for any user."""

    def admit(self, repository: RepositoryName, made: str | None) -> bool:
        """Allow a push to continue; create the repository if necessary; return whether it is private.

        `made` names the creation of the repository for which the caller's token was issued; None: no
        token. Raise Failure 404 if the repository was deleted since.
        """

    def get(self, repository: RepositoryName, user: str | None) -> Repository:
        """Return the repository. Raise Failure 404 if `user` (None: anonymous) may not see it."""

    def full_description(self, repository: RepositoryName) -> str:
        """Return the full description. Raise Failure 404."""

    def describe(
        self, repository: RepositoryName, short: str | None = None, full: str | None = None
    ) -> None:
        """Set the texts that are not None. Raise Failure 404, or 400 for a text that is too long."""

    def flag(self, repository: RepositoryName, **flags: bool) -> None:
        """Set `is_private`, `is_official` or `is_automated`. Raise Failure 404."""

    def delete(self, repository: RepositoryName) -> bool:
        """Delete the repository; return whether it existed."""


class StarsAndComments(Protocol):
    """Stars and comments on repositories that the user may see; otherwise Failure 404."""

    def star(self, repository: RepositoryName, user: str) -> None:
        """Add the user's star unless it exists."""

    def unstar(self, repository: RepositoryName, user: str) -> None:
        """Delete the user's star if it exists."""

    def is_starred(self, repository: RepositoryName, user: str) -> bool:
        """Return whether `user` starred the repository."""

    def starred(self, user: str, after: str = "", most: int = 100) -> Sequence[str]:
        """Return the names of the repositories that `user` starred, after `after`."""

    def comment(self, repository: RepositoryName, user: str, text: str) -> int:
        """Add a comment; return its id. Raise Failure 400 for an invalid text."""

    def comments(
        self, repository: RepositoryName, user: str | None, after: int = 0, most: int = 100
    ) -> Sequence[Comment]:
        """Return the comments with an id above `after`, the oldest first."""

    def remove_comment(
        self, repository: RepositoryName, comment_id: int, user: str, *, any_author: bool
    ) -> None:
        """Delete the user's comment or, with `any_author`, any comment. Raise Failure 404."""


class Tokens(Protocol):
    """The keys that sign tokens."""

    def issue(self, repository: RepositoryName, access: str, user: str | None, life: int) -> str:
        """Return a token's text, without the leading word; `life` in seconds."""

    def ensure(self) -> None:
        """Create the first key if there is none."""

    def all(self) -> Sequence[Key]:
        """Return all keys, the current signing key first."""


class PullCounter(Protocol):
    """Counts pulls."""

    def count(self, repository: RepositoryName) -> None:
        """Count one pull of the repository."""


class ImageListStore(Protocol):
    """Image lists (protocol-v1.md section 2.1)."""

    def get(self, repository: RepositoryName) -> list[dict[str, Any]]:
        """Return the image list. Raise Failure 404 if there is none."""

    def update(self, repository: RepositoryName, data: bytes, user: str | None = None) -> None:
        """Merge the list that `user` sent. Raise Failure 400 for a list of another shape."""


@dataclass(frozen=True, slots=True)
class IndexServices:
    """The registry's own index.

    `may_read(image, repository, user)` returns whether the image is readable through the repository or
    through any repository that `user` may read. `token_life` is in seconds.
    """

    users: Users
    catalog: IndexCatalog
    opinions: StarsAndComments
    tokens: Tokens
    pulls: PullCounter
    may_read: Callable[[ImageId, RepositoryName, str | None], bool]
    token_life: int
