"""A random secret in the store, which all nodes share to sign values."""

from __future__ import annotations

import secrets

from v1registry.storage import Storage
from v1registry.storage.errors import NotFound


def find(storage: Storage, key: str) -> bytes | None:
    """Return the secret under this key; None if there is none. Raise StorageError."""
    try:
        return storage.get(key) or None
    except NotFound:
        return None


def create(storage: Storage, key: str) -> bytes | None:
    """Create a secret unless there is one; return the secret in the store. Raise StorageError.

    If the store does not create atomically, two nodes that start at the same instant may use
    different secrets, until one of them restarts.
    """
    storage.create(key, secrets.token_hex(32).encode("ascii"))
    return find(storage, key)
