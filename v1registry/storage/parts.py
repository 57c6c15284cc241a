"""Splits large objects into parts for a store, within one memory limit for all uploads of a process.

A store takes each part as a whole, some MiB at once. A part that is being received is kept in memory
as long as the limit allows. Beyond it, each upload writes its current part to a temporary file (in
TMPDIR), so that slow clients do not use up the memory of others. Half of the memory is for receiving,
half for reading such files when they are sent.
"""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

from v1registry.storage import Buffer
from v1registry.storage.errors import Unavailable

AT_ONCE = 3  # parts of one upload that are sent at the same time

Send = Callable[[int, bytearray], None]  # a part's number, from 1, and its bytes


class PartBuffer:
    """The memory that all uploads of a process share: `memory` bytes for parts of `part_size`."""

    def __init__(self, memory: int, part_size: int) -> None:
        self.part_size = part_size
        self._free = memory // 2
        self._lock = threading.Lock()
        self._readers = threading.Semaphore(max(1, (memory - self._free) // part_size))

    def reserve(self, size: int) -> bool:
        """Reserve memory; return False if there is not enough. `release` it later."""
        with self._lock:
            if size > self._free:
                return False
            self._free -= size
            return True

    def release(self, size: int) -> None:
        with self._lock:
            self._free += size

    @contextlib.contextmanager
    def read(self, file: BinaryIO, size: int) -> Iterator[bytearray]:
        """Wait for memory, then yield the file's bytes."""
        with self._readers:
            data = bytearray(size)
            view, filled = memoryview(data), 0
            file.seek(0)
            while filled < size:
                count = file.readinto(view[filled:])  # type: ignore[attr-defined]
                if not count:
                    raise Unavailable(
                        f"a temporary file of an upload is {size - filled} bytes short"
                    )
                filled += count
            view.release()
            yield data


class Part:
    """A part that is being received, in memory or in a temporary file."""

    def __init__(self, buffer: PartBuffer) -> None:
        self.size = 0
        self._buffer = buffer
        self._data = bytearray()
        self._file: BinaryIO | None = None

    @property
    def in_file(self) -> bool:
        return self._file is not None

    def write(self, piece: memoryview) -> None:
        if self._file is None and not self._buffer.reserve(len(piece)):
            self._move()
        if self._file is None:
            self._data += piece
        else:
            _write(self._file, piece)
        self.size += len(piece)

    def data(self) -> contextlib.AbstractContextManager[bytearray]:
        """Return a context that yields all bytes, for sending."""
        if self._file is None:
            return contextlib.nullcontext(self._data)
        return self._buffer.read(self._file, self.size)

    def close(self) -> None:
        """Release memory and file; may be called more than once."""
        if self._file is not None:
            self._file.close()
        self._buffer.release(len(self._data))
        self._data = bytearray()

    def _move(self) -> None:
        try:
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
        except OSError as error:
            raise _no_temporary_file(error) from error
        _write(self._file, memoryview(self._data))
        self._buffer.release(len(self._data))
        self._data = bytearray()


def split(pieces: Iterable[Buffer], buffer: PartBuffer) -> Iterator[tuple[Part, bool]]:
    """Yield the pieces as parts, each with whether it is the last; the caller closes each part.

    Each part but the last has the part size of `buffer`. Empty `pieces` make one empty part.
    """
    part = Part(buffer)
    try:
        for piece in pieces:
            view = memoryview(piece)
            while view:
                if part.size == buffer.part_size:
                    full, part = part, Part(buffer)
                    yield full, False
                taken = view[: buffer.part_size - part.size]
                part.write(taken)
                view = view[len(taken) :]
    except BaseException:
        part.close()
        raise
    yield part, True


def send_parts(pieces: Iterable[Buffer], buffer: PartBuffer, send: Send) -> int:
    """Split the pieces into parts and send each; return the number of parts.

    Each part is sent in a new thread, some at the same time. The last part, and any part in a file,
    is sent in this thread: so an upload never has more than one temporary file. If `send` or
    `pieces` raises, wait for the parts that are being sent, then raise that exception.
    """
    count, failures, running = 0, list[BaseException](), deque[threading.Thread]()

    def run(number: int, part: Part) -> None:
        try:
            if not failures:
                with part.data() as data:
                    send(number, data)
        except BaseException as error:
            failures.append(error)
        finally:
            part.close()

    try:
        for part, is_last in split(pieces, buffer):
            count += 1
            if is_last or part.in_file:
                run(count, part)
            else:
                if len(running) >= AT_ONCE:
                    running.popleft().join()
                thread = threading.Thread(target=run, args=(count, part), daemon=True)
                thread.start()
                running.append(thread)
            if failures:
                break
    finally:
        for started in running:
            started.join()
    if failures:
        raise failures[0]
    return count


def _write(file: BinaryIO, data: memoryview) -> None:
    try:
        while data:
            data = data[file.write(data) :]
    except OSError as error:
        raise _no_temporary_file(error) from error


def _no_temporary_file(error: OSError) -> Unavailable:
    return Unavailable(f"cannot write a temporary file for an upload (TMPDIR): {error}")
