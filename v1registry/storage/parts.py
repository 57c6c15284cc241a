"""Large objects cut into parts on their way to a store, within a bound for all uploads together.

Stores that take an object in parts want each as a whole, of some MiB. What comes in lies in memory
while there is room; where many come in at once, or slowly, the rest lies in temporary files (in
TMPDIR), a part an upload. So a slow client keeps no memory from others, and nobody waits for it.
Half of the memory is for what comes in, half for reading such files again when they are sent.
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

AT_ONCE = 3  # parts of one upload that are on their way beside each other

Send = Callable[[int, bytearray], None]  # a part's number, from 1, and its bytes


class PartBuffer:
    """What all uploads of a process share: `memory` bytes for parts of `part_size`."""

    def __init__(self, memory: int, part_size: int) -> None:
        self.part_size = part_size
        self._free = memory // 2
        self._lock = threading.Lock()
        self._readers = threading.Semaphore(max(1, (memory - self._free) // part_size))

    def take(self, size: int) -> bool:
        """Reserve memory if there is some; to be given back."""
        with self._lock:
            if size > self._free:
                return False
            self._free -= size
            return True

    def give(self, size: int) -> None:
        with self._lock:
            self._free += size

    @contextlib.contextmanager
    def read(self, file: BinaryIO, size: int) -> Iterator[bytearray]:
        """The file's bytes in memory, when there is room for them."""
        with self._readers:
            data = bytearray(size)
            view, filled = memoryview(data), 0
            file.seek(0)
            while filled < size:
                count = file.readinto(view[filled:])  # type: ignore[attr-defined]
                if not count:
                    raise Unavailable(f"a temporary file has {size - filled} bytes too few")
                filled += count
            view.release()
            yield data


class Part:
    """A part that is being received: in memory, or from where the room ends in a file."""

    def __init__(self, room: PartBuffer) -> None:
        self.size = 0
        self._room = room
        self._data = bytearray()
        self._file: BinaryIO | None = None

    @property
    def in_file(self) -> bool:
        return self._file is not None

    def write(self, piece: memoryview) -> None:
        if self._file is None and not self._room.take(len(piece)):
            self._move()
        if self._file is None:
            self._data += piece
        else:
            _write(self._file, piece)
        self.size += len(piece)

    def data(self) -> contextlib.AbstractContextManager[bytearray]:
        """All bytes at once, for sending."""
        if self._file is None:
            return contextlib.nullcontext(self._data)
        return self._room.read(self._file, self.size)

    def close(self) -> None:
        """Give back what it took; may be called more than once."""
        if self._file is not None:
            self._file.close()
        self._room.give(len(self._data))
        self._data = bytearray()

    def _move(self) -> None:
        try:
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
        except OSError as error:
            raise _no_room(error) from error
        _write(self._file, memoryview(self._data))
        self._room.give(len(self._data))
        self._data = bytearray()


def send_parts(pieces: Iterable[Buffer], room: PartBuffer, send: Send) -> int:
    """Cut the pieces into parts and send each; return how many there were.

    All are of the room's size but the last, which may be short. Nothing at all is one empty part.
    `send` is called from several threads at once. If it fails, or `pieces` does, what is on its way
    is waited for, and the failure raised.
    """
    sender = _Sender(send)
    part = Part(room)
    try:
        for piece in pieces:
            view = memoryview(piece)
            while view:
                taken = view[: room.part_size - part.size]
                part.write(taken)
                view = view[len(taken) :]
                if part.size == room.part_size:
                    sender.take(part)
                    part = Part(room)
        if part.size or not sender.count:
            sender.take(part, last=True)
        sender.finish()
    except BaseException:
        sender.wait()
        raise
    finally:
        part.close()
    return sender.count


class _Sender:
    """Sends one upload's parts, some at a time. A part that is handed to it is closed by it."""

    def __init__(self, send: Send) -> None:
        self.count = 0
        self._send = send
        self._running: deque[threading.Thread] = deque()
        self._failure: BaseException | None = None

    def take(self, part: Part, *, last: bool = False) -> None:
        """Send a part in a thread of its own, or here: the last, and what lies in a file, so that
        an upload has one file at most.
        """
        self.count += 1
        if last or part.in_file:
            self._run(self.count, part)
        else:
            while len(self._running) >= AT_ONCE:
                self._running[0].join()
                self._running.popleft()
            thread = threading.Thread(target=self._run, args=(self.count, part), daemon=True)
            self._running.append(thread)
            thread.start()
        self._raise()

    def finish(self) -> None:
        """Wait for all; raise the first failure."""
        self.wait()
        self._raise()

    def wait(self) -> None:
        while self._running:
            self._running[0].join()
            self._running.popleft()

    def _run(self, number: int, part: Part) -> None:
        try:
            if self._failure is None:
                with part.data() as data:
                    self._send(number, data)
        except BaseException as error:
            self._failure = self._failure or error
        finally:
            part.close()

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure


def _write(file: BinaryIO, data: memoryview) -> None:
    try:
        while data:
            data = data[file.write(data) :]
    except OSError as error:
        raise _no_room(error) from error


def _no_room(error: OSError) -> Unavailable:
    return Unavailable(f"no temporary file for a part of an upload (TMPDIR): {error}")
