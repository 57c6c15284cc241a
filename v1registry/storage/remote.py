"""What stores that are reached over the network have in common.

`RemoteBlob` reads an object, goes on where a connection broke, and holds small ones against what
the store says of them; `RemoteStorage` knows how to look whether such a store is well, and `prefix`
where 0.x kept its keys in a bucket.
"""

from __future__ import annotations

import contextlib
import posixpath
import re
import secrets
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, BinaryIO, Generic, NamedTuple, Protocol, TypeVar
from urllib.parse import quote

from v1registry.storage import Storage, keys
from v1registry.storage.errors import CorruptObject, NotFound, Refused, StorageError, Unavailable
from v1registry.storage.reasons import described
from v1registry.storage.sums import Checksum

T = TypeVar("T")

PIECE = 256 * 1024  # bytes read at once
SMALL = 64 * 1024  # objects up to this size are read when they are opened
CONNECT_SECONDS = 3  # for which a server is waited for
URL_SECONDS = 1200  # for which a signed URL counts, as in 0.x
CONNECTIONS = 1000  # kept for use again, by each client; more would be made, not waited for
_BREAKS = 3  # in a row, without a byte between them, until we give up
CHECK = "check-"  # begins the names of objects that `check` writes
_RANGE = re.compile(r"bytes ([0-9]+)-[0-9]+/([0-9]+)")


class Body(Protocol):
    """The bytes of an answer, on their way."""

    def read(self, size: int, /) -> bytes: ...

    def close(self) -> None: ...


class StoreResponse(NamedTuple):
    """What a GET gave: the object's size, a word for this version of it, and its bytes; and what
    the store says of them, if they are all.
    """

    size: int
    version: str
    body: Body
    sum: Checksum | None = None


#: GET the object: from a byte on, of the version that is named; from its beginning without. Raise
#: Damaged for what is no answer to that.
Fetch = Callable[[int, str | None], StoreResponse]


class RemoteBlob:
    """An object opened by one GET; further GETs only for ranges, or when it breaks.

    Every further one asks for the same version, so that two objects never mix.
    Not padded and not cut short: all bytes, or an exception. `failures` are
    what the store's library raises, `storage_error` makes one of ours of them.
    """

    file: BinaryIO | None = None

    def __init__(
        self,
        key: str,
        fetch: Fetch,
        failures: tuple[type[BaseException], ...],
        storage_error: Callable[[BaseException, str], StorageError],
    ) -> None:
        self.key = key
        self._fetch = fetch
        self._failures = failures
        self._breaks: tuple[type[BaseException], ...] = (*failures, CorruptObject)
        self._storage_error = storage_error
        self._body: Body | None = None
        self._position = 0  # of read()
        self._again(self._open)

    def _open(self) -> None:
        answer = self._fetch(0, None)
        self.size, self._version, self._sum = answer.size, answer.version, answer.sum
        self._data: bytes | None = None
        self._set(answer.body, 0)
        if self.size <= SMALL:
            try:
                self._data = self._whole()
            finally:
                self.close()

    def pieces(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        end = self.size if stop is None else min(stop, self.size)
        if self._data is None:
            return self._stream(start, end)
        return iter([self._data[start:end]] if start < end else [])

    def read(self, size: int = -1) -> bytes:
        start = self._position
        end = self.size if size < 0 else min(self.size, start + size)
        self._position = end
        if self._data is None and (start, end) == (0, self.size):
            return self._again(self._whole)
        return b"".join(self.pieces(start, end))

    def close(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            with contextlib.suppress(*self._failures):
                body.close()

    def __enter__(self) -> RemoteBlob:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _again(self, call: Callable[[], T]) -> T:
        """Call once more, a few times, where what came was damaged."""
        for _ in range(_BREAKS - 1):
            with contextlib.suppress(CorruptObject):
                return call()
            self.close()
        return call()

    def _whole(self) -> bytes:
        """All bytes. Raise Damaged if they are not those of which the store tells."""
        data = b"".join(self._stream(0, self.size))
        if self._sum is not None and not self._sum.fits(data):
            raise CorruptObject(
                f"{self.key}: came with other bytes than its {self._sum.name} tells"
            )
        return data

    def _stream(self, position: int, stop: int) -> Iterator[bytes]:
        breaks = 0
        while position < stop:
            try:
                piece = self._read(position, min(PIECE, stop - position))
                reason = "the connection ended early"
            except self._breaks as error:
                piece, reason = b"", described(error)
            if piece:
                breaks = 0
                position += len(piece)
                yield piece
                continue
            self.close()
            breaks += 1
            if breaks >= _BREAKS:
                raise Unavailable(f"{self.key}: cut short at byte {position}: {reason}")

    def _read(self, position: int, size: int) -> bytes:
        body = self._body
        if body is None or self._at != position or self._thread != threading.get_native_id():
            body = self._reopen(position)
        piece = bytes(body.read(size))
        self._at += len(piece)
        return piece

    def _reopen(self, position: int) -> Body:
        # A connection of another thread's event loop must not be touched here, closing included:
        # dropping it does that.
        if self._body is not None and self._thread == threading.get_native_id():
            self.close()
        try:
            answer = self._fetch(position, self._version)
        except self._failures as error:
            raise _fatal(self._storage_error(error, self.key)) from error
        except StorageError as failure:
            raise _fatal(failure) from failure
        if answer.size != self.size:
            answer.body.close()
            raise CorruptObject(f"{self.key}: {answer.size} bytes are told of, not {self.size}")
        return self._set(answer.body, position)

    def _set(self, body: Body, position: int) -> Body:
        self._body, self._at = body, position
        self._thread = threading.get_native_id()
        return body


def _fatal(failure: StorageError) -> StorageError:
    """What a reader in the middle is told: something that was there is there no more."""
    if isinstance(failure, Unavailable):
        return failure
    kind = "deleted" if isinstance(failure, NotFound) else "replaced or refused"
    return Unavailable(f"{kind} while it was read: {failure}")


def part_of(content_range: str | None, start: int) -> int:
    """The whole object's size, by the header of an answer of 206 that must begin where we asked it
    to. Raise Damaged if it does not.
    """
    found = _RANGE.fullmatch(content_range or "")
    if not found or int(found[1]) != start:
        raise CorruptObject(f"bytes from {start} on were asked for, not {content_range}")
    return int(found[2])


class RemoteStorage(Storage):
    """A store over the network, in which many registries may write."""

    #: what to set where the store does not do what `create` rests on
    unless_atomic: str

    @property
    @abstractmethod
    def place(self) -> str:
        """The bucket or container, for messages."""

    def get(self, key: str) -> bytes:
        with self.open(key) as blob:
            return blob.read()

    def prepare(self) -> None:
        """Look whether the place is ours to use, and keeps what `create` rests on."""
        next(self.stages(), None)  # first: what is wrong with the keys, a listing says in words
        self.check()

    def check(self) -> None:
        """Write, read back and remove a small object; a second `create` must be refused."""
        key = f"{keys.OURS}/{CHECK}{secrets.token_hex(8)}"
        if not self.create(key, b"true"):
            raise Unavailable(f"{self.place}: a new key is told to exist")
        try:
            if self.get(key) != b"true":
                raise Unavailable(f"{self.place}: what was written does not read back")
            if self.create(key, b"false"):
                raise Refused(
                    f"{self.place}: the store lets a key be created twice. Set {self.unless_atomic}"
                )
        finally:
            with contextlib.suppress(StorageError):
                self.delete(key)

    def clean(self, before: float) -> int:
        removed = 0
        for entry in self.list(keys.OURS):
            key = f"{keys.OURS}/{entry.name}"
            with contextlib.suppress(NotFound):
                if entry.name.startswith(CHECK) and self.stat(key).modified < before:
                    self.delete(key)
                    removed += 1
        return removed


class PerThread(Generic[T]):
    """One value for each thread of the operating system, made when the thread first asks for it.

    Under gevent, a connection belongs to the event loop of the thread that opened it, and the
    domain reads some layers in the threads of a pool.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._values: dict[int, T] = {}
        self._lock = threading.RLock()

    def get(self) -> T:
        """Return this thread's value. Raise what `make` raises."""
        thread = threading.get_native_id()  # get_ident is the green thread's under gevent
        if thread not in self._values:
            with self._lock:
                if thread not in self._values:
                    self._values[thread] = self._make()
        return self._values[thread]


def prefix(storage_path: str | None) -> str:
    """What all keys begin with: `/registry` -> `registry/`, `/` -> nothing, unset -> `test/`."""
    return posixpath.join(storage_path or "/test", "").removeprefix("/")


def tags_first(names: Iterable[str]) -> list[str]:
    """In the order of deletion: who reads meanwhile finds no tag that leads to nothing."""
    return sorted(names, key=lambda name: not posixpath.basename(name).startswith("tag_"))


def proxies(options: Mapping[str, Any]) -> dict[str, str] | None:
    """The HTTP proxy; None: what the environment says (HTTPS_PROXY, NO_PROXY)."""
    host, port = options["boto_proxy"], options["boto_proxy_port"]
    if not host:
        return None
    user, password = options["boto_proxy_user"], options["boto_proxy_pass"]
    account = f"{quote(user, safe='')}:{quote(password or '', safe='')}@" if user else ""
    address = f"http://{account}{host}" + (f":{port}" if port else "")
    return {"http": address, "https": address}
