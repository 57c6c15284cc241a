"""What a process needs to work, looked at for `_status`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from v1registry.storage import Storage
from v1registry.storage.errors import StorageError


class Service(Protocol):
    """Something that we need, and that may fail."""

    @property
    def name(self) -> str: ...

    def check(self) -> str | None:
        """Why it cannot be used now, for everybody to read; None if it can."""


@dataclass(frozen=True, slots=True)
class Store:
    """The store, as a service."""

    storage: Storage
    name: str = "storage"

    def check(self) -> str | None:
        try:
            self.storage.check()
        except StorageError as error:
            return str(error)
        return None
