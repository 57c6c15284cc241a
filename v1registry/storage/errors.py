"""What can go wrong in a store, seen from above: a driver raises nothing else."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, ClassVar


class StorageError(Exception):
    """Base of every failure that a driver raises; the text names the key and the cause."""


class NotFound(StorageError):
    """Nothing is stored under the key."""


class Refused(StorageError):
    """The store answered, and will not: no permission, read-only, broken object."""


class StoreFull(Refused):
    """The store has no room left (disk, inodes or quota)."""


class Unavailable(StorageError):
    """The store did not answer, or answered that it cannot now: try again later."""


class NotMounted(Unavailable):
    """The store answered, and is not the store of the start: its disk is not mounted."""


class CorruptObject(Unavailable):
    """What came is not what the store has, or no answer of its: changed on the way."""


class MappedErrors(AbstractContextManager["MappedErrors"]):
    """Turns what a driver's libraries raise in a `with` block into storage errors about `key`.

    Each driver says what they raise when something is wrong outside of this program, `failures`,
    and what it means, `error_of`.
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
    """How to install an optional dependency. It names a file that v1registry ships, because the
    name v1registry on a package index may belong to somebody else.
    """
    return f"pip install -r requirements-{extra}.txt (this file comes with the source code)"
