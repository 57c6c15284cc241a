"""The storage contract: what `lib` may ask of a store, and what a driver must keep.

A *key* is a relative path in the 0.x layout (protocol-v1.md section 4), already
percent-encoded by `storage.keys`: drivers use it as it is. Every write is
atomic: a reader sees the old bytes or the new ones, never a part. What a method
has returned from survives the loss of power, unless asked for less.
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

    `md5` of an object's bytes, in hex, only where a listing tells it for nothing and never late:
    who has read these bytes before need not read them again. Something else there does no harm.
    """

    name: str
    is_folder: bool
    md5: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Stage:
    """Something staged and not yet committed or abandoned; `modified` in epoch seconds."""

    handle: str
    key: str
    modified: float


class Blob(Protocol):
    """One stored object, opened for reading. Close it, or use it in a `with`."""

    @property
    def size(self) -> int:
        """Bytes."""

    @property
    def file(self) -> BinaryIO | None:
        """A real file where the driver has one, for sendfile."""

    def pieces(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield the bytes `start <= i < stop`; all of them, or raise."""

    def read(self, size: int = -1) -> bytes:
        """Read on from the present position, as a file does."""

    def close(self) -> None: ...

    def __enter__(self) -> Blob: ...

    def __exit__(self, *_: object) -> None: ...


class StagedWrites:
    """Small values that are safe in the store, and only need their names.

    Each value may be named once. Use it in a `with`: what got no name is gone at its end. A name
    that was given is durable after `Storage.flush`; until then a power cut may undo it, but what
    is found under it is whole. Here, for drivers without such a step, naming is writing.
    """

    def __init__(self, storage: Storage, values: Mapping[str, bytes]) -> None:
        self._storage = storage
        self._values = values

    def put(self, key: str) -> None:
        """Show the value of `key`, replacing what is there."""
        self._storage.put(key, self._values[key])

    def create(self, key: str) -> bool:
        """Show the value of `key` unless the key exists; tell whether it is shown."""
        return self._storage.create(key, self._values[key])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Storage(ABC):
    """A driver. Methods raise `NotFound`, `Refused` (`Full`) or `Unavailable`, nothing else.

    Only `stage` may let another exception through: the one that its `pieces` raised.
    """

    #: whether `create` has exactly one winner when several nodes call it at once
    creates_atomically = True

    #: whether `open_staged` works: S3 shows nothing of an upload before it is completed
    reads_stages = True

    #: seconds for which a marker that was read is believed, see `marker`; 0 where reading is cheap
    marker_seconds = 1.0

    @abstractmethod
    def get(self, key: str) -> bytes:
        """Return the whole value; for small objects."""

    @abstractmethod
    def put(self, key: str, data: bytes, *, durable: bool = True) -> None:
        """Store a small value, replacing what is there.

        Not `durable`: a power cut may undo it, or leave a part of it, and take what else lies in a
        folder that it made, until that is flushed. For what proves itself.
        """

    def put_all(self, values: Mapping[str, bytes]) -> None:
        """Store several small values, in this order; one by one, but cheaper than so."""
        for key, data in values.items():
            self.put(key, data)

    @abstractmethod
    def create(self, key: str, data: bytes) -> bool:
        """Store a small value unless the key exists; tell whether it was stored."""

    def aside(self, values: Mapping[str, bytes], after: Iterable[str] = ()) -> StagedWrites:
        """Write small values where nobody sees them, durably, to be named soon; see `StagedWrites`.

        None of them is named on the disk before the names of the keys `after` are.
        """
        return StagedWrites(self, values)

    def flush(self, keys: Iterable[str]) -> None:  # noqa: B027 - where all is durable at once
        """Make durable what an `StagedWrites` or `commit` put under these keys, whoever called them.

        Of what was put without being durable, only that it is there.
        """

    @abstractmethod
    def open(self, key: str) -> Blob:
        """Open an object for reading in pieces or ranges."""

    @abstractmethod
    def stat(self, key: str) -> Stat:
        """Return size and time of an object."""

    @abstractmethod
    def list(self, folder: str) -> Iterator[ListEntry]:
        """Yield the direct children of a folder in no order; nothing if it does not exist."""

    @abstractmethod
    def delete(self, key: str, *, durable: bool = True) -> None:
        """Delete one object; one that is not there is no error.

        Not `durable`: after a power cut it may be there again.
        """

    def delete_if(self, key: str, data: bytes) -> bool:
        """Delete a small value, durably, if it is this one; tell whether it was.

        As it is written here, another may be deleted that was created since this was looked at.
        The driver for local files does not let that happen, among processes of one machine.
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
        """Delete everything below a folder; one that is not there is no error."""

    def url(self, key: str) -> str | None:
        """A URL where a client may fetch the object itself, or None."""
        return None

    def accel_path(self, key: str) -> str | None:
        """The path for nginx's X-Accel-Redirect to the object, or None."""
        return None

    @abstractmethod
    def stage(self, key: str, pieces: Iterable[Buffer]) -> str:
        """Take in a large object without showing it; return its handle.

        Its bytes are durable; the handle need not be, before it is committed and flushed.
        A piece is used before the next is asked for, so it may be a view into
        a buffer used again. If `pieces` raises, nothing is left behind.
        """

    @abstractmethod
    def commit(self, handle: str) -> None:
        """Make a staged object visible under its key, replacing what is there.

        Durable after `flush`; a power cut before that may leave neither key nor handle.
        Raises `NotFound` if the handle is gone: committed before, or abandoned. Where the store
        still knows that just these bytes are in place, it may return instead.
        Without `creates_atomically`: committed before, and still in place. Two
        records may follow each other, and this one's layer must come back then.
        """

    @abstractmethod
    def abandon(self, handle: str) -> None:
        """Forget a staged object; one that is gone is no error."""

    @abstractmethod
    def open_staged(self, handle: str) -> Blob:
        """Open a staged object for reading, as `open` does.

        Raises `NotFound` if the handle is gone, and always without `reads_stages`.
        """

    def is_staged(self, handle: str) -> bool:
        """Whether the handle is neither committed nor abandoned."""
        try:
            self.open_staged(handle).close()
        except NotFound:
            return False
        return True

    @abstractmethod
    def stages(self) -> Iterator[Stage]:
        """Yield all that is staged, for the cleaner."""

    def clean(self, before: float) -> int:
        """Remove the driver's own leftovers older than `before` (epoch seconds); return how many.

        Leftovers are what broken writes leave; staged objects are not among them.
        """
        return 0

    def prepare(self) -> None:
        """Make the store ready at start; raise `Refused`, saying what to do, if it is not ours."""
        self.check()

    def require_marker(self, within: float = 0.0) -> None:  # noqa: B027 - a driver has none
        """Raise Unavailable unless this is still the store of the start; see `MarkedStorage`."""

    @abstractmethod
    def check(self) -> None:
        """Raise unless the store can be read and written now."""


def exists(storage: Storage, key: str) -> bool:
    """Whether an object is stored under the key."""
    try:
        storage.stat(key)
    except NotFound:
        return False
    return True
