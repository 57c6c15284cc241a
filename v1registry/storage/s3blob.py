"""A stored object that is read over the network: resumed when the connection breaks."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from v1registry.storage.errors import NotFound, StorageError, Unavailable
from v1registry.storage.s3client import FAILURES, storage_error

PIECE = 256 * 1024  # bytes read at once
SMALL = 64 * 1024  # objects up to this size are read when they are opened
_BREAKS = 3  # in a row, without a byte between them, until we give up

Fetch = Callable[..., Any]  # get_object for this key; arguments such as Range


class S3Blob:
    """An object opened by one GET; further GETs only for ranges, or when it breaks.

    Every further one asks for the same version by its ETag, so that two objects
    never mix. Not padded and not cut short: all bytes, or an exception.
    """

    file: BinaryIO | None = None

    def __init__(self, key: str, fetch: Fetch) -> None:
        self.key = key
        self._fetch = fetch
        answer = fetch()
        self.size = int(answer["ContentLength"])
        self._etag = answer["ETag"]
        self._position = 0  # of read()
        self._body: Any = None
        self._set(answer["Body"], 0)
        self._data: bytes | None = None
        if self.size <= SMALL:
            try:
                self._data = b"".join(self._stream(0, self.size))
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
        return b"".join(self.pieces(start, end))

    def close(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            with contextlib.suppress(*FAILURES):
                body.close()

    def __enter__(self) -> S3Blob:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _stream(self, position: int, stop: int) -> Iterator[bytes]:
        breaks = 0
        while position < stop:
            try:
                piece = self._read(position, min(PIECE, stop - position))
                reason = "the connection ended early"
            except FAILURES as error:
                piece, reason = b"", str(error)
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
        if self._body is None or self._at != position or self._thread != threading.get_native_id():
            self._reopen(position)
        piece = bytes(self._body.read(size))
        self._at += len(piece)
        return piece

    def _reopen(self, position: int) -> None:
        # A connection of another thread's event loop must not be touched here, closing included:
        # dropping it does that.
        if self._body is not None and self._thread == threading.get_native_id():
            self.close()
        try:
            answer = self._fetch(Range=f"bytes={position}-{self.size - 1}", IfMatch=self._etag)
        except FAILURES as error:
            failure = storage_error(error, self.key)
            raise _fatal(failure) from error
        self._set(answer["Body"], position)

    def _set(self, body: Any, position: int) -> None:
        self._body, self._at = body, position
        self._thread = threading.get_native_id()


def _fatal(failure: StorageError) -> StorageError:
    """What a reader in the middle is told: something that was there is there no more."""
    if isinstance(failure, Unavailable):
        return failure
    kind = "deleted" if isinstance(failure, NotFound) else "replaced or refused"
    return Unavailable(f"{kind} while it was read: {failure}")
