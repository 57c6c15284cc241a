"""Reads an object of a store over the network, resumes after a broken connection, and verifies small ones."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple, Protocol, TypeVar

from v1registry.storage.checksums import Checksum
from v1registry.storage.errors import CorruptObject, NotFound, StorageError, Unavailable
from v1registry.storage.reasons import described

T = TypeVar("T")

PIECE = 256 * 1024  # bytes read at once
SMALL = 64 * 1024  # objects up to this size are read when they are opened
_BREAKS = 3  # broken connections in a row, without a byte between them, before reading fails
_RANGE = re.compile(r"bytes ([0-9]+)-[0-9]+/([0-9]+)")


class Body(Protocol):
    """The body of a response that is being received."""

    def read(self, size: int, /) -> bytes: ...

    def close(self) -> None: ...


class StoreResponse(NamedTuple):
    """The response to a GET: size and version of the object, the body, and the checksum of a
    complete object, if the store sent one.
    """

    size: int
    version: str
    body: Body
    sum: Checksum | None = None


#: Send a GET for the object from a byte on, in the given version; without a version, from its start.
#: Raise CorruptObject for any response that is not a valid answer.
Fetch = Callable[[int, str | None], StoreResponse]


class RemoteBlob:
    """An object that was opened by one GET. Ranges and broken connections take further GETs.

    Each further GET asks for the same version, so that two objects are never mixed. A reader gets
    all bytes or an exception, never fewer or other bytes. `failures` are the exceptions of the
    store's library; `storage_error` turns one into a storage error.
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
        self._retry_damaged(self._open)

    def _open(self) -> None:
        answer = self._fetch(0, None)
        self.size, self._version, self._sum = answer.size, answer.version, answer.sum
        self._data: bytes | None = None
        self._set(answer.body, 0)
        if self.size <= SMALL:
            try:
                self._data = self._read_all()
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
            return self._retry_damaged(self._read_all)
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

    def _retry_damaged(self, call: Callable[[], T]) -> T:
        """Return what `call` returns; repeat it a few times if the bytes were damaged."""
        for _ in range(_BREAKS - 1):
            with contextlib.suppress(CorruptObject):
                return call()
            self.close()
        return call()

    def _read_all(self) -> bytes:
        """Return all bytes. Raise CorruptObject if they do not match the store's checksum."""
        data = b"".join(self._stream(0, self.size))
        if self._sum is not None and not self._sum.matches(data):
            raise CorruptObject(f"{self.key}: the bytes do not match its {self._sum.name}")
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
        # A connection belongs to its thread's event loop, so another thread must not even close it;
        # dropping the last reference closes it.
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
            raise CorruptObject(
                f"{self.key}: its size is {answer.size} bytes now, and was {self.size}"
            )
        return self._set(answer.body, position)

    def _set(self, body: Body, position: int) -> Body:
        self._body, self._at = body, position
        self._thread = threading.get_native_id()
        return body


def _fatal(failure: StorageError) -> StorageError:
    """Return the error for a reader of an object that is gone or replaced before its end."""
    if isinstance(failure, Unavailable):
        return failure
    kind = "deleted" if isinstance(failure, NotFound) else "replaced or refused"
    return Unavailable(f"{kind} while it was being read: {failure}")


def response_of(
    key: str, answer: Any, start: int, version: str, sum_of: Callable[[Any], Checksum | None]
) -> StoreResponse:
    """Return the content of a response of `requests` to a GET from byte `start` on.

    Raise CorruptObject if it has other bytes. `sum_of` returns the checksum in the headers.
    """
    size = answer.headers.get("Content-Length", "")
    try:
        if answer.status_code != (206 if start else 200) or not size.isdecimal():
            raise CorruptObject(
                f"{key}: the response has another range than the request: status"
                f" {answer.status_code}, {size or 'no'} bytes"
            )
        if start:
            size = part_of(answer.headers.get("Content-Range"), start)
        return StoreResponse(
            int(size), version, answer.raw, None if start else sum_of(answer.headers)
        )
    except StorageError:
        answer.close()
        raise


def part_of(content_range: str | None, start: int) -> int:
    """Return the size of the whole object from the `Content-Range` of a response with status 206.

    Raise CorruptObject if the range does not begin at `start`.
    """
    found = _RANGE.fullmatch(content_range or "")
    if not found or int(found[1]) != start:
        raise CorruptObject(f"the store sent {content_range} instead of the bytes from {start} on")
    return int(found[2])
