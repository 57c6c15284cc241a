"""A random secret in the store, which all nodes share to sign values."""

from __future__ import annotations

import contextlib
import secrets

from v1registry.storage import Storage, get_or_none
from v1registry.storage.errors import Refused


class StoredSecret:
    """A secret that is read, and created unless the store is read-only, when it is first needed."""

    def __init__(self, storage: Storage, key: str, *, read_only: bool) -> None:
        self._storage = storage
        self._key = key
        self._read_only = read_only
        self._secret: bytes | None = None

    def get(self) -> bytes | None:
        """Return the secret. Return None if there is none and the store cannot be written."""
        if self._secret is None:
            self._secret = find(self._storage, self._key)
        if self._secret is None and not self._read_only:
            with contextlib.suppress(Refused):
                self._secret = create(self._storage, self._key)
        return self._secret


def find(storage: Storage, key: str) -> bytes | None:
    """Return the secret under this key; None if there is none. Raise StorageError."""
    return get_or_none(storage, key) or None


def create(storage: Storage, key: str) -> bytes | None:
    """Create a secret unless there is one; return the secret in the store. Raise StorageError.

    If the store does not create atomically, two nodes that start at the same instant may use
    different secrets, until one of them restarts.
    """
    storage.create(key, secrets.token_hex(32).encode("ascii"))
    return find(storage, key)
