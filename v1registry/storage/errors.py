"""The errors that drivers raise; they raise no others."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, ClassVar


class StorageError(Exception):
    """Base class of all errors of drivers; the text names the key and the cause."""


class NotFound(StorageError):
    """Nothing is stored under the key."""


class Refused(StorageError):
    """The store answered with a refusal: no permission, read-only, or a wrong configuration."""


class StoreFull(Refused):
    """The store is full (disk, inodes or quota)."""


class ReadOnly(Refused):
    """An administrator made the store read-only; the text is meant for clients."""


class Unavailable(StorageError):
    """The store did not answer, or is overloaded. A later request may succeed."""


class NotMounted(Unavailable):
    """Another store than at start answered: the disk with the store is not mounted."""


class CorruptObject(Unavailable):
    """The bytes or the answer were damaged on the way from the store."""


class MappedErrors(AbstractContextManager["MappedErrors"]):
    """Turns exceptions of a driver's libraries in a `with` block into storage errors about `key`.

    Each driver sets `failures`, the exceptions that faults outside of this program cause, and
    `error_of`, which returns the storage error for one of them.
    """

    __slots__ = ("key",)

    failures: ClassVar[tuple[type[BaseException], ...]]

    def __init__(self, key: str) -> None:
        self.key = key

    @staticmethod
    def error_of(error: Any, key: str) -> StorageError:
        raise NotImplementedError

    def __exit__(self, _type: Any, error: BaseException | None, _tb: Any) -> None:
        if error is not None and isinstance(error, self.failures):
            raise self.error_of(error, self.key) from error


def installing(extra: str) -> str:
    """Return the command that installs an optional dependency.

    It names a file of the source code: another project may own our name on a package index.
    """
    return f"pip install -r requirements-{extra}.txt (this file comes with the source code)"
