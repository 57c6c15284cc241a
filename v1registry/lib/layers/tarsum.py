"""TarSum: the checksum over a layer's entries that engines from 0.6 on send.

protocol-v1.md section 3 has the algorithm. Engines disagreed on entries of the
same name, so one layer can have several values, and each of them is accepted:

1. all digests sorted (0.6 to 0.7.2, and every engine when no name repeats);
2. only the last entry of each name (0.7.3 to 1.2);
3. all, but entries of one name in the archive's order (1.3 and later). That is
   no consistent order, so Go's result depends on its sort. For up to 12 entries
   we do what it does: insertion sort (Go to 1.4 up to 7 entries), and the same
   after one pass with gap 6 (Go 1.5 and later, up to 12). For any number we also
   accept the sorted digests with those of one name put into the archive's order
   within the places they take. What Go's quicksort makes of more than 12 entries
   with repeated names is not imitated: such engines send the payload checksum.

A name is compared without a leading `./` and a trailing `/`, as engines do.
"""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from array import array
from collections.abc import Callable, Iterable, Sequence

from v1registry.lib.layers.same_layer import MAX_ENTRIES, LayerContent, in_archive_order, split
from v1registry.lib.layers.tar_stream import (
    LayerTooLarge,
    LayerUnreadable,
    Readable,
    TarEntry,
    entries,
)
from v1registry.lib.running import sorted_in_steps

PREFIXES = ("tarsum+sha256:", "tarsum.v1+sha256:")

_SLICE = 256 * 1024  # bytes that are handed over at once, so that what waits stays small
_TURN = 0.005  # seconds of work before others get a turn
_REST = 1e-4  # seconds; gevent looks at sockets only after 50 sleeps of 0
_GO_SMALL = 12  # Go's sort is an insertion sort up to this number


class TarSums:
    """The digests of one layer's entries, from which a TarSum with any JSON follows."""

    def __init__(
        self, versions: Sequence[int] = (0, 1), content: LayerContent | None = None
    ) -> None:
        self._versions = tuple(versions)
        self._content = content
        self._digests = {version: bytearray() for version in self._versions}
        self._names = array("q")  # hashes only: names may be long, and are only compared

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
        """Read a layer, compressed or not, once, hashing each body for each version wanted.

        `content` gets the same walk. `pause` is called now and then (`tarstream.entries`).

        Raises `LayerUnreadable` for what is no whole tar: that has no TarSum (0.x
        took the JSON alone then), and `LayerTooLarge` past the limits.
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
        """Every header value accepted with this image JSON; the one of all digests sorted first.

        `versions` picks from those that were read; v0 comes first.
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
        """Whether an `X-Docker-Checksum` value belongs to this layer and this JSON."""
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
        """Positions in the order of Go's sort of few elements; gap 6 makes one pass only."""

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


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _header(entry: TarEntry, version: int) -> bytes:
    """What is hashed before an entry's body. Fields and order: protocol-v1.md section 3."""
    head = b"name%bmode%duid%dgid%dsize%d" % (
        _bytes(entry.name),
        entry.mode,
        entry.uid,
        entry.gid,
        entry.size,
    )
    if version == 0:
        head += b"mtime%d" % entry.mtime
    head += b"typeflag%blinkname%buname%bgname%bdevmajor%ddevminor%d" % (
        entry.typeflag.encode("latin-1"),
        _bytes(entry.linkname),
        _bytes(entry.uname),
        _bytes(entry.gname),
        entry.devmajor,
        entry.devminor,
    )
    if version > 0 and entry.xattrs:
        pairs = sorted((_bytes(name), value) for name, value in entry.xattrs.items())
        head += b"".join(name + value for name, value in pairs)
    return head


class _Pipe:
    """The reading end of a feed: a file whose bytes come through a bounded queue."""

    def __init__(self, depth: int) -> None:
        self.pieces: queue.Queue[bytes] = queue.Queue(depth)
        self.over = False  # nobody reads any more
        self._rest = b""
        self._ended = False

    def read(self, size: int, /) -> bytes:
        if not self._rest and not self._ended:
            self._rest = self.pieces.get()
            self._ended = not self._rest
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece

    def drain(self) -> None:
        """Take what is still written, up to the end, so that the writer never waits in vain."""
        self.over = True
        while not self._ended:
            self._ended = not self.pieces.get()


class _Turns:
    """Lets others run every few milliseconds: under gevent the thread of a feed is a greenlet, and
    a small piece of a compressed layer may unpack to seconds of work.
    """

    def __init__(self) -> None:
        self._end = time.monotonic() + _TURN

    def __call__(self) -> None:
        if time.monotonic() >= self._end:
            time.sleep(_REST)
            self._end = time.monotonic() + _TURN


class TarSumFeed:
    """A TarSum over a layer that arrives in pieces: `write` them, then `finish` or `close`.

    The walk runs in a thread of its own, at most `depth` slices behind. However
    it ends (no tar, garbage at the end, limits), writing goes on without waiting.
    Use it in a `with`, or call `close`: a feed that is neither finished nor closed
    keeps its thread.
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
        self._result: list[TarSums] = []
        self._failure: list[BaseException] = []
        self._open = True
        self._thread = threading.Thread(
            target=_run,
            args=(
                pipe,
                lambda: TarSums.read(pipe, versions, max_bytes, max_entries, content, _Turns()),
                self._result,
                self._failure,
            ),
            name="tarsum",
            daemon=True,
        )
        self._thread.start()

    def write(self, piece: bytes | bytearray | memoryview) -> None:
        """Hand on a piece; it is copied, so its buffer may be used again."""
        if not self._open:
            raise ValueError("the feed is closed")
        view = memoryview(piece)
        for start in range(0, len(view), _SLICE):
            if not self._pipe.over:
                self._pipe.pieces.put(bytes(view[start : start + _SLICE]))

    def finish(self) -> TarSums | None:
        """The sums of what was written, or None if that is no tar or passes the limits."""
        if not self._open:
            return None
        self.close()
        if self._failure:
            raise self._failure[0]
        return self._result[0] if self._result else None

    def close(self) -> None:
        """End the walk, whatever came so far, and wait for its thread; may be repeated."""
        if self._open:
            self._open = False
            self._pipe.pieces.put(b"")
            self._thread.join()

    def __enter__(self) -> TarSumFeed:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _run(
    pipe: _Pipe,
    read: Callable[[], TarSums],
    result: list[TarSums],
    failure: list[BaseException],
) -> None:
    try:
        result.append(read())
    except (LayerUnreadable, LayerTooLarge):
        pass
    except BaseException as error:  # a fault of ours: told to whoever finishes
        failure.append(error)
    finally:
        pipe.drain()
