"""The storage contract: the methods that `lib` calls and that every driver implements.

A *key* is a relative path in the layout of 0.x (protocol-v1.md section 4). `storage.keys` has
percent-encoded it already, so drivers use it unchanged. Every write is atomic: a reader sees the old
bytes or the new bytes, never a mixture. Every write is durable when its method returns, unless the
method says otherwise.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol, Self

from v1registry.storage.errors import NotFound

Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Stat:
    """Size in bytes and time of the last change in seconds since the epoch."""

    size: int
    modified: float


@dataclass(frozen=True, slots=True)
class ListEntry:
    """One direct child of a folder: its last path component, still encoded.

    `md5`: the hexadecimal MD5 of an object's bytes, if the listing includes it and is never stale.
    A caller that has read these bytes before need not read them again. A wrong value does no harm:
    the caller only reads the object once more.
    """

    name: str
    is_folder: bool
    md5: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Stage:
    """A staged object that is neither committed nor abandoned; `modified` in epoch seconds."""

    handle: str
    key: str
    modified: float


@dataclass(frozen=True, slots=True)
class Space:
    """The free and the total bytes of the disk that holds a store."""

    free: int
    total: int


class Blob(Protocol):
    """One stored object, opened for reading. Close it, or use it in a `with` block."""

    @property
    def size(self) -> int:
        """Size in bytes."""

    @property
    def file(self) -> BinaryIO | None:
        """The local file that holds the object, for sendfile; None if there is none."""

    def pieces(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from `start` up to `stop`, without `stop` itself; all of them, or raise."""

    def read(self, size: int = -1) -> bytes:
        """Read from the current position, as a file does."""

    def close(self) -> None: ...

    def __enter__(self) -> Blob: ...

    def __exit__(self, *_: object) -> None: ...


class StagedWrites:
    """Small values that are durable in the store but not yet visible under their keys.

    Make each value visible at most once, in a `with` block; the rest is deleted at its end. A
    visible key is durable after `Storage.flush`. Until then power loss may remove the key, but its
    value is never incomplete. This class is for drivers without such a step: it writes the values
    only when they become visible.
    """

    def __init__(self, storage: Storage, values: Mapping[str, bytes]) -> None:
        self._storage = storage
        self._values = values

    def put(self, key: str) -> None:
        """Make the value of `key` visible; replace an older value."""
        self._storage.put(key, self._values[key])

    def create(self, key: str) -> bool:
        """Make the value of `key` visible unless the key exists; return whether it is visible."""
        return self._storage.create(key, self._values[key])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Storage(ABC):
    """A driver. Its methods raise `NotFound`, `Refused` (`StoreFull`) or `Unavailable`, nothing else.

    `stage` also passes on an exception that its argument `pieces` raises.
    """

    #: whether exactly one of several simultaneous calls of `create` succeeds, on all nodes together
    creates_atomically = True

    #: whether `open_staged` works: S3 cannot read an upload that is not completed
    reads_stages = True

    #: seconds for which a store marker that was read stays valid; 0 if reading it is cheap
    marker_seconds = 1.0

    @abstractmethod
    def get(self, key: str) -> bytes:
        """Return the whole value; for small objects."""

    @abstractmethod
    def put(self, key: str, data: bytes, *, durable: bool = True) -> None:
        """Store a small value; replace an older value.

        `durable=False`: power loss may remove or truncate the value, and remove other objects in a
        folder that this call made, until that folder is flushed. Use it only for content that can
        be verified.
        """

    def put_all(self, values: Mapping[str, bytes]) -> None:
        """Store several small values in this order. A driver may do it at less cost than `put`."""
        for key, data in values.items():
            self.put(key, data)

    @abstractmethod
    def create(self, key: str, data: bytes) -> bool:
        """Store a small value unless the key exists; return whether it was stored."""

    def stage_values(self, values: Mapping[str, bytes], after: Iterable[str] = ()) -> StagedWrites:
        """Write small values durably, but not yet visibly; see `StagedWrites`.

        The directory entries of the keys `after` become durable before this method returns.
        """
        return StagedWrites(self, values)

    def flush(self, keys: Iterable[str]) -> None:  # noqa: B027 - for drivers whose writes are durable
        """Make durable what `StagedWrites` or `commit` made visible under these keys, in any process.

        After `put` with `durable=False`, only the existence of the key becomes durable.
        """

    @abstractmethod
    def open(self, key: str) -> Blob:
        """Open an object, to read it in pieces or ranges."""

    @abstractmethod
    def stat(self, key: str) -> Stat:
        """Return the size and time of an object."""

    @abstractmethod
    def list(self, folder: str) -> Iterator[ListEntry]:
        """Yield the direct children of a folder, in any order; nothing if it does not exist."""

    @abstractmethod
    def delete(self, key: str, *, durable: bool = True) -> None:
        """Delete one object; a missing object is no error.

        `durable=False`: the object may be back after power loss.
        """

    def delete_if(self, key: str, data: bytes) -> bool:
        """Delete a small value durably if it equals `data`; return whether it did.

        This implementation may delete a value that was created after the comparison. The driver for
        local files prevents that among the processes of one machine.
        """
        try:
            if self.get(key) != data:
                return False
        except NotFound:
            return False
        self.delete(key)
        return True

    @abstractmethod
    def delete_folder(self, folder: str) -> None:
        """Delete everything below a folder; a missing folder is no error."""

    def url(self, key: str) -> str | None:
        """Return a URL from which a client can fetch the object, or None."""
        return None

    def accel_path(self, key: str) -> str | None:
        """Return the path of the object for nginx's X-Accel-Redirect, or None."""
        return None

    def space(self) -> Space | None:
        """Return the space of the store's disk; None for a store without a known limit."""
        return None

    @abstractmethod
    def stage(self, key: str, pieces: Iterable[Buffer]) -> str:
        """Receive a large object without making it visible; return its handle.

        Its bytes are durable. The handle becomes durable only by `commit` and `flush`. Each piece is
        used before the next one is taken, so it may be a view into a buffer that is reused. If
        `pieces` raises, nothing stays in the store.
        """

    @abstractmethod
    def commit(self, handle: str) -> None:
        """Make a staged object visible under its key; replace an older object.

        Durable after `flush`; power loss before that may leave neither key nor handle. Raise
        `NotFound` if the handle was committed before or abandoned. A store that still knows that
        these bytes are in place may return instead. Without `creates_atomically`, a handle that was
        committed stays valid until its object is in place for good: another commit record may
        replace the object, and repeating this commit must then bring it back.
        """

    @abstractmethod
    def abandon(self, handle: str) -> None:
        """Delete a staged object; a missing one is no error."""

    @abstractmethod
    def open_staged(self, handle: str) -> Blob:
        """Open a staged object for reading, as `open` does.

        Raise `NotFound` if the handle was committed or abandoned, and always without `reads_stages`.
        """

    def is_staged(self, handle: str) -> bool:
        """Return whether the handle is neither committed nor abandoned."""
        try:
            self.open_staged(handle).close()
        except NotFound:
            return False
        return True

    @abstractmethod
    def stages(self) -> Iterator[Stage]:
        """Yield all staged objects, for the cleaner."""

    def clean(self, before: float) -> int:
        """Delete the remains of failed writes from before `before` (epoch seconds); return how many.

        Staged objects are not among them.
        """
        return 0

    def prepare(self) -> None:
        """Prepare the store at start. Raise `Refused`, with the remedy, if it cannot be used."""
        self.check()

    def require_marker(self, within: float = 0.0) -> None:  # noqa: B027 - drivers have no marker
        """Raise Unavailable unless this is the store that was there at start; see `MarkedStorage`."""

    @abstractmethod
    def check(self) -> None:
        """Raise a storage error unless the store can be read and written now."""


def get_or_none(storage: Storage, key: str) -> bytes | None:
    """Return a small value; None if there is none."""
    try:
        return storage.get(key)
    except NotFound:
        return None


def exists(storage: Storage, key: str) -> bool:
    """Return whether an object is stored under the key."""
    try:
        storage.stat(key)
    except NotFound:
        return False
    return True
