"""Events: changes of repositories in the store, for a listener that keeps a copy, such as the index."""

from __future__ import annotations

from typing import Protocol

from v1registry.lib.names import RepositoryName


class Events(Protocol):
    """Called after each change. Must not fail or wait long: pushes must not depend on it."""

    def tagged(self, repository: RepositoryName, tag: str) -> None:
        """A tag was set or deleted."""

    def flagged(self, repository: RepositoryName, private: bool) -> None:
        """The repository was made private or public."""

    def deleted(self, repository: RepositoryName) -> None:
        """The repository was deleted."""


class _Ignore:
    """A listener that ignores all events."""

    def tagged(self, repository: RepositoryName, tag: str) -> None:
        pass

    def flagged(self, repository: RepositoryName, private: bool) -> None:
        pass

    def deleted(self, repository: RepositoryName) -> None:
        pass


NO_EVENTS: Events = _Ignore()
