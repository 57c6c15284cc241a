"""The memory that request bodies are received into: large where it can be, bounded always.

The more bytes one receive and one write take, the less each byte costs (the kernel answers every
receive with a packet). Many bodies cannot have large buffers of their own. But only one of them is
worked on at any moment, and what its client has sent meanwhile waits in the kernel; so all bodies
of a process take turns with one large room. A body that has to wait leaves it, and takes what it
has not handed on yet to a small room of its own.
"""

from __future__ import annotations

import mmap

PIECE = 2 * 1024 * 1024
"""Bytes of a large room, and so of the largest piece."""

SMALL_PIECE = 256 * 1024
"""Bytes of a small room, the most: what is less is kept there while more may come, and handed on
together."""

SMALLEST_PIECE = 16 * 1024
"""Bytes of a small room, the least: half of what engines send at once."""

SHARED_OUT = 2 * 1024 * 1024
"""Bytes of which each small room is a fair part when it is taken: the more bodies there are, the
smaller is the room of a new one."""

OWN_ROOMS = 1
"""Bodies of one process that may have a large room of their own, and wait until it is full."""


class ReceiveBuffer:
    """A buffer with a part of a body: [start:end] is its data, [at:filled] still has its framing."""

    __slots__ = ("_memory", "at", "end", "filled", "size", "start", "view")

    def __init__(self, size: int) -> None:
        self.size = size
        # Its pages come when they are filled, and go with it: malloc would keep them.
        # Only the view is public. On Debian 12's Python 3.11.2, `find` and `rfind` of an mmap read
        # past its end and crash the process (CPython gh-105235). A memoryview has neither.
        self._memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.view = memoryview(self._memory)
        self.clear()

    def release(self) -> None:
        """Give the memory back, also if somebody still holds a piece: while the disk is waited for."""
        self._memory.madvise(mmap.MADV_DONTNEED)

    def clear(self) -> None:
        self.start = self.end = self.at = self.filled = 0

    @property
    def data(self) -> memoryview:
        return self.view[self.start : self.end]

    @property
    def framed(self) -> memoryview:
        return self.view[self.at : self.filled]

    @property
    def held(self) -> int:
        """Bytes that another room must have to take what is in this one."""
        return self.end - self.start + self.filled - self.at

    def add(self, framed: memoryview) -> int:
        """Put in bytes with their framing, as many as there is room for; return how many."""
        count = min(len(framed), self.size - self.filled)
        self.view[self.filled : self.filled + count] = framed[:count]
        self.filled += count
        return count

    def handed_on(self) -> None:
        """Forget the data; what has its framing still moves to the front."""
        framed = self.framed
        self.start = self.end = self.at = 0
        self.filled = len(framed)
        self.view[: self.filled] = framed

    def take_over(self, other: ReceiveBuffer) -> None:
        """Take all that is in `other`; nothing else is in here."""
        self.start, self.end = 0, len(other.data)
        self.view[: self.end] = other.data
        self.at = self.filled = self.end
        self.add(other.framed)
        other.clear()


class BufferPool:
    """The rooms of a process. The worker keeps them, as `v1registry.rooms` of the environment."""

    def __init__(self, own: int = OWN_ROOMS) -> None:
        self._own = own
        self._small = 0
        self._shared: ReceiveBuffer | None = None
        self._lent = False

    def take(self) -> int:
        """Bytes of the room that a body may have for itself; to be given back."""
        if self._own:
            self._own -= 1
            return PIECE
        self._small += 1
        part = max(SMALLEST_PIECE, min(SMALL_PIECE, SHARED_OUT // self._small))
        return 1 << (part.bit_length() - 1)

    def give(self, size: int) -> None:
        if size == PIECE:
            self._own += 1
        else:
            self._small -= 1

    def borrow(self) -> ReceiveBuffer | None:
        """The room that all share, empty, to be returned before others get to run; None if one who
        had to wait with a piece of his in it still has it."""
        if self._lent:
            return None
        self._lent = True
        if self._shared is None:
            self._shared = ReceiveBuffer(PIECE)
        return self._shared

    def give_back(self) -> None:
        assert self._shared is not None
        self._shared.clear()
        self._lent = False
