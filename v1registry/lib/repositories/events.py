"""What happens to repositories in the store, told to whoever keeps a copy of it."""

from __future__ import annotations

from typing import Protocol

from v1registry.lib.names import RepositoryName


class Events(Protocol):
    """Called when it is done. Never fails, and never waits for long: nobody's push depends on it."""

    def tagged(self, repository: RepositoryName, tag: str) -> None:
        """The tag was set, or deleted."""

    def flagged(self, repository: RepositoryName, private: bool) -> None:
        """It was made private, or public."""

    def deleted(self, repository: RepositoryName) -> None:
        """All of it is gone."""


class _Nobody:
    """Keeps no copy."""

    def tagged(self, repository: RepositoryName, tag: str) -> None:
        pass

    def flagged(self, repository: RepositoryName, private: bool) -> None:
        pass

    def deleted(self, repository: RepositoryName) -> None:
        pass


NOBODY: Events = _Nobody()
