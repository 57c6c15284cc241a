"""The buffers that request bodies are received into: large if possible, always limited in total.

The more bytes one receive and one write handle, the less each byte costs. Many bodies cannot each
have a large buffer. But a worker handles only one body at any moment, and the kernel keeps what the
other clients send meanwhile. So all bodies of a worker use one large buffer in turn. A body that
must wait for its client leaves it, and moves its bytes to a small buffer of its own.
"""

from __future__ import annotations

import mmap

PIECE = 2 * 1024 * 1024
"""Size of a large buffer in bytes, and so of the largest piece."""

SMALL_PIECE = 256 * 1024
"""Largest size of a small buffer in bytes. Fewer bytes than this wait there for more, and are
yielded together."""

SMALLEST_PIECE = 16 * 1024
"""Smallest size of a small buffer in bytes: half of what Docker engines send in one chunk."""

SMALL_TOTAL = 2 * 1024 * 1024
"""Bytes that small buffers divide among them: the more bodies there are, the smaller is the buffer
of a new one."""

LARGE_BUFFERS = 1
"""Number of bodies of a worker that may have a large buffer of their own."""


class ReceiveBuffer:
    """A buffer with a part of a body: [start:end] is data, [at:filled] still has its framing."""

    __slots__ = ("_memory", "at", "end", "filled", "size", "start", "view")

    def __init__(self, size: int) -> None:
        self.size = size
        # An mmap gets its pages when they are filled, and returns them at its end. malloc would
        # keep them.
        # Only the view is public: on Debian 12's Python 3.11.2, `find` and `rfind` of an mmap read
        # past its end and crash the process (CPython gh-105235). A memoryview has neither.
        self._memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.view = memoryview(self._memory)
        self.clear()

    def release(self) -> None:
        """Return the memory to the system, even if a caller still holds a piece."""
        self._memory.madvise(mmap.MADV_DONTNEED)

    def clear(self) -> None:
        """Forget data and framed bytes."""
        self.start = self.end = self.at = self.filled = 0

    @property
    def data(self) -> memoryview:
        """The received bytes without framing."""
        return self.view[self.start : self.end]

    @property
    def has_data(self) -> bool:
        """Whether there is any data."""
        return self.end > self.start

    @property
    def framed(self) -> memoryview:
        """The received bytes whose framing is not yet removed."""
        return self.view[self.at : self.filled]

    @property
    def is_full(self) -> bool:
        """Whether nothing more can be received before `drop_data`."""
        return self.filled == self.size

    @property
    def used(self) -> int:
        """Size in bytes that another buffer needs for `take_from` this one."""
        return self.end - self.start + self.filled - self.at

    def add(self, framed: memoryview) -> int:
        """Append framed bytes, as many as there is space for; return their number."""
        count = min(len(framed), self.size - self.filled)
        self.view[self.filled : self.filled + count] = framed[:count]
        self.filled += count
        return count

    def unframe(self, most: int) -> int:
        """Turn the next framed bytes, at most `most`, into data; return their number."""
        at, end = self.at, self.end
        count = min(most, self.filled - at)
        if end == self.start:
            self.start = end = at
        elif end != at:
            self.view[end : end + count] = self.view[at : at + count]
        self.end = end + count
        self.at = at + count
        return count

    def drop_data(self) -> None:
        """Forget the data, and move the framed bytes to the front."""
        framed = self.framed
        self.start = self.end = self.at = 0
        self.filled = len(framed)
        self.view[: self.filled] = framed

    def take_from(self, other: ReceiveBuffer) -> None:
        """Move all bytes of `other` into this buffer, which must be empty and large enough."""
        self.start, self.end = 0, len(other.data)
        self.view[: self.end] = other.data
        self.at = self.filled = self.end
        self.add(other.framed)
        other.clear()


class BufferPool:
    """The buffers of one worker; `v1registry.buffers` of the WSGI environment."""

    def __init__(self, large: int = LARGE_BUFFERS) -> None:
        """`large`: how many bodies may have a large buffer of their own."""
        self._large = large
        self._small = 0
        self._shared: ReceiveBuffer | None = None
        self._is_lent = False

    def reserve(self) -> int:
        """Return the size of the buffer that a new body may have; `release` must follow."""
        if self._large:
            self._large -= 1
            return PIECE
        self._small += 1
        part = max(SMALLEST_PIECE, min(SMALL_PIECE, SMALL_TOTAL // self._small))
        return 1 << (part.bit_length() - 1)

    def release(self, size: int) -> None:
        """End the reservation of a buffer of `size` bytes."""
        if size == PIECE:
            self._large += 1
        else:
            self._small -= 1

    def borrow_shared(self) -> ReceiveBuffer | None:
        """Return the shared buffer, empty; None while another body waits with a piece in it.

        It must be returned before other greenlets run.
        """
        if self._is_lent:
            return None
        self._is_lent = True
        if self._shared is None:
            self._shared = ReceiveBuffer(PIECE)
        return self._shared

    def return_shared(self) -> None:
        """Let other bodies use the shared buffer."""
        assert self._shared is not None
        self._shared.clear()
        self._is_lent = False
