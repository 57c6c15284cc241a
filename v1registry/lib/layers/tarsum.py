"""TarSum: the checksum over a layer's entries that Docker from 0.6 on sends.

protocol-v1.md section 3 describes the algorithm. Engines treat entries with the same name differently,
so one layer can have several values. Each of them is accepted:

1. all digests sorted (0.6 to 0.7.2, and every engine if no name repeats);
2. only the last entry of each name (0.7.3 to 1.2);
3. all digests sorted, but entries of one name in the order of the tar (1.3 and later).

The third order is not consistent, so Go's result depends on its sorting algorithm. For up to 12
entries, this module imitates it: insertion sort (Go up to 1.4, up to 7 entries), and insertion sort
after one pass with gap 6 (Go 1.5 and later, up to 12). For any number of entries, it also accepts the
sorted digests with those of one name in the order of the tar. It does not imitate Go's quicksort for
more than 12 entries with repeated names: such engines send the payload checksum as well.

Names are compared without a leading `./` and a trailing `/`, as in engines.
"""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from array import array
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future

from v1registry.lib.layers.same_layer import MAX_ENTRIES, LayerContent, in_archive_order, split
from v1registry.lib.layers.tar_header import raw
from v1registry.lib.layers.tar_stream import (
    LayerTooLarge,
    LayerUnreadable,
    Readable,
    TarEntry,
    entries,
)
from v1registry.lib.running import sorted_in_steps

PREFIXES = ("tarsum+sha256:", "tarsum.v1+sha256:")

_SLICE = 256 * 1024  # bytes passed to the thread at once, so that few bytes wait in the queue
_WORK = 0.005  # seconds of work between two pauses
_PAUSE = 1e-4  # seconds of a pause; gevent checks sockets only after 50 sleeps of 0
_GO_SMALL = 12  # number of entries up to which Go uses insertion sort


class TarSums:
    """The digests of a layer's entries, from which the TarSum with any image JSON is computed."""

    def __init__(
        self, versions: Sequence[int] = (0, 1), content: LayerContent | None = None
    ) -> None:
        self._versions = tuple(versions)
        self._content = content
        self._digests = {version: bytearray() for version in self._versions}
        self._names = array("q")  # only hashes: names may be long and are only compared

    @classmethod
    def read(
        cls,
        file: Readable,
        versions: Sequence[int] = (0, 1),
        max_bytes: int | None = None,
        max_entries: int | None = MAX_ENTRIES,
        content: LayerContent | None = None,
        pause: Callable[[], None] | None = None,
    ) -> TarSums:
        """Read a layer, compressed or not, once, and hash each body for each version.

        `content` observes the same walk. `pause` is called from time to time (`tar_stream.entries`).

        Raise `LayerUnreadable` for a layer that is not a complete tar: it has no TarSum (0.x hashed
        only the JSON then). Raise `LayerTooLarge` beyond the limits.
        """
        sums = cls(versions, content)
        for entry in entries(file, max_bytes, max_entries, content, pause):
            sums._add(entry)
        return sums

    def _add(self, entry: TarEntry) -> None:
        hashes = [hashlib.sha256(_header(entry, version)) for version in self._versions]
        also = self._content.start(entry) if self._content else None
        for piece in entry.body():
            for running in (*hashes, also) if also else hashes:
                running.update(piece)
        if self._content:
            self._content.finish(also)
        for version, done in zip(self._versions, hashes, strict=True):
            self._digests[version] += done.digest()
        self._names.append(hash(entry.name.removeprefix("./").removesuffix("/")))

    def values(self, json: bytes, versions: Sequence[int] | None = None) -> list[str]:
        """Return all accepted header values with this image JSON, that of all digests sorted first.

        `versions` selects from those that were read; v0 comes first.
        """
        found: dict[str, None] = {}
        for version in versions or self._versions:
            digests = self._list(version)
            for order in self._orders(digests):
                total = hashlib.sha256(json)
                for digest in order:
                    total.update(digest.hex().encode())
                found[PREFIXES[version] + total.hexdigest()] = None
        return list(found)

    def matches(self, json: bytes, header_value: str) -> bool:
        """Return whether an `X-Docker-Checksum` value belongs to this layer and this JSON."""
        return any(
            header_value.startswith(PREFIXES[version])
            and header_value in self.values(json, (version,))
            for version in self._versions
        )

    def _list(self, version: int) -> list[bytes]:
        return split(self._digests[version])

    def _orders(self, digests: list[bytes]) -> Iterable[Sequence[bytes]]:
        yield sorted_in_steps(digests)
        last = {name: position for position, name in enumerate(self._names)}
        if len(last) == len(digests):
            return  # no name repeats: all orders are the same
        yield sorted_in_steps([digests[position] for position in last.values()])
        if len(digests) <= _GO_SMALL:
            for gaps in ((1,), (6, 1)):
                yield [digests[position] for position in self._go_sort(digests, gaps)]
        yield in_archive_order(digests, self._names)

    def _go_sort(self, digests: list[bytes], gaps: Sequence[int]) -> list[int]:
        """Return the positions as Go sorts few elements; gap 6 makes only one pass."""

        def less(one: int, other: int) -> bool:
            if self._names[one] == self._names[other]:
                return one < other
            return digests[one] < digests[other]

        order = list(range(len(digests)))
        for gap in gaps:
            for start in range(gap, len(order)):
                at = start
                while at >= gap and less(order[at], order[at - gap]):
                    order[at], order[at - gap] = order[at - gap], order[at]
                    at -= gap
        return order


def _header(entry: TarEntry, version: int) -> bytes:
    """Return the bytes hashed before an entry's body (protocol-v1.md section 3)."""
    head = b"name%bmode%duid%dgid%dsize%d" % (
        raw(entry.name),
        entry.mode,
        entry.uid,
        entry.gid,
        entry.size,
    )
    if version == 0:
        head += b"mtime%d" % entry.mtime
    head += b"typeflag%blinkname%buname%bgname%bdevmajor%ddevminor%d" % (
        entry.typeflag.encode("latin-1"),
        raw(entry.linkname),
        raw(entry.uname),
        raw(entry.gname),
        entry.devmajor,
        entry.devminor,
    )
    if version > 0 and entry.xattrs:
        pairs = sorted((raw(name), value) for name, value in entry.xattrs.items())
        head += b"".join(name + value for name, value in pairs)
    return head


class _Pipe:
    """The reading end of a feed: a file whose bytes come from a bounded queue."""

    def __init__(self, depth: int) -> None:
        self.pieces: queue.Queue[bytes] = queue.Queue(depth)
        self.over = False  # whether the reader has stopped
        self._rest = b""
        self._ended = False

    def read(self, size: int, /) -> bytes:
        if not self._rest and not self._ended:
            self._rest = self.pieces.get()
            self._ended = not self._rest
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece

    def drain(self) -> None:
        """Discard the rest up to the end, so that the writer never blocks."""
        self.over = True
        while not self._ended:
            self._ended = not self.pieces.get()


class _Pauses:
    """Lets other threads run every few milliseconds.

    Under gevent, the thread of a feed is a greenlet, and a small piece of a compressed layer may unpack
    to seconds of work.
    """

    def __init__(self) -> None:
        self._end = time.monotonic() + _WORK

    def __call__(self) -> None:
        if time.monotonic() >= self._end:
            time.sleep(_PAUSE)
            self._end = time.monotonic() + _WORK


class TarSumFeed:
    """Computes the TarSums of a layer that arrives in pieces: `write` them, then `finish` or `close`.

    The walk runs in its own thread, at most `depth` slices behind. When it ends early (not a tar,
    garbage at the end, limits), `write` no longer blocks. Use a feed in a `with` statement or call
    `close`: a feed that is neither finished nor closed keeps its thread.
    """

    def __init__(
        self,
        versions: Sequence[int] = (0, 1),
        max_bytes: int | None = None,
        max_entries: int | None = MAX_ENTRIES,
        depth: int = 8,
        content: LayerContent | None = None,
    ) -> None:
        self._pipe = pipe = _Pipe(depth)
        self._sums: Future[TarSums | None] = Future()
        self._open = True

        def read() -> TarSums:
            return TarSums.read(pipe, versions, max_bytes, max_entries, content, _Pauses())

        arguments = (pipe, read, self._sums)
        self._thread = threading.Thread(target=_run, args=arguments, name="tarsum", daemon=True)
        self._thread.start()

    def write(self, piece: bytes | bytearray | memoryview) -> None:
        """Pass on a piece; it is copied, so the caller may reuse its buffer."""
        if not self._open:
            raise ValueError("the feed is closed")
        view = memoryview(piece)
        for start in range(0, len(view), _SLICE):
            if not self._pipe.over:
                self._pipe.pieces.put(bytes(view[start : start + _SLICE]))

    def finish(self) -> TarSums | None:
        """Return the sums of the written bytes, None if they are not a tar or exceed the limits."""
        if not self._open:
            return None
        self.close()
        return self._sums.result()

    def close(self) -> None:
        """End the walk and wait for its thread; may be called again."""
        if self._open:
            self._open = False
            self._pipe.pieces.put(b"")
            self._thread.join()

    def __enter__(self) -> TarSumFeed:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _run(pipe: _Pipe, read: Callable[[], TarSums], sums: Future[TarSums | None]) -> None:
    try:
        sums.set_result(read())
    except (LayerUnreadable, LayerTooLarge):
        sums.set_result(None)
    except BaseException as error:  # a bug: `finish` raises it
        sums.set_exception(error)
    finally:
        pipe.drain()
