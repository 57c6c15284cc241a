"""A store that creates by looking and then writing, like Swift: the driver's steps, one by one.

A commit does not move staged segments: it puts a list of them in place, which names their upload. A mark
exists while segments are neither committed nor abandoned. See v1registry/storage/swift/large_objects.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from tests.lib.worlds import Remote, Still
from v1registry.storage import Stage, StagedWrites, Stat, Storage, exists
from v1registry.storage.errors import NotFound
from v1registry.storage.memory import MemoryBlob

_LIST = b"list of "  # the content of a layer's object, before the handle of its segments


class Loose(Storage):
    """The driver's operations of several requests; the methods below are one request each."""

    creates_atomically = False
    delete_if = Storage.delete_if

    def create(self, key: str, data: bytes) -> bool:
        if exists(self, key):
            return False
        self.put(key, data)
        return self.get(key) == data

    def commit(self, handle: str) -> None:
        if self.is_in_place(handle):
            if not self.unmark(handle):
                raise NotFound(handle)
            return
        self.get(f"list {handle}")
        self.place(handle)
        self.unmark(handle)

    def abandon(self, handle: str) -> None:
        if self.is_staged(handle):
            if not self.is_in_place(handle):
                self.delete(f"list {handle}")
            self.unmark(handle)

    def is_staged(self, handle: str) -> bool:
        return exists(self, f"mark {handle}")

    def is_in_place(self, handle: str) -> bool:
        """Return whether the object in place consists of these segments."""
        raise NotImplementedError

    def place(self, handle: str) -> None:
        """Put the list of the segments in place."""
        raise NotImplementedError

    def unmark(self, handle: str) -> bool:
        """Delete the mark; return whether it existed."""
        raise NotImplementedError


class LooseRemote(Loose, Remote):
    """The store as a client uses it."""

    def stage_values(self, values: Mapping[str, bytes], after: Iterable[str] = ()) -> StagedWrites:
        return StagedWrites(self, values)

    def is_in_place(self, handle: str) -> bool:
        return bool(self._step("is_in_place", handle))

    def place(self, handle: str) -> None:
        self._step("place", handle)

    def unmark(self, handle: str) -> bool:
        return bool(self._step("unmark", handle))


class LooseStore(Loose, Still):
    """The contents of the store; `_staged` are the segments, including committed ones."""

    def look(self, key: str) -> bytes | None:
        found = super().look(key)
        if found is None or not found.startswith(_LIST):
            return found
        return self._staged[found.removeprefix(_LIST).decode()][1]

    def get(self, key: str) -> bytes:
        found = self.look(key)
        if found is None:
            raise NotFound(key)
        return found

    def stat(self, key: str) -> Stat:
        return Stat(len(self.get(key)), 0.0)

    def _stage(self, key: str, data: bytes, handle: str) -> str:
        self.put(f"mark {handle}", b"")
        self.put(f"list {handle}", b"")
        return super()._stage(key, data, handle)

    def stage(self, key: str, pieces: Iterable[bytes]) -> str:
        return self._stage(key, b"".join(pieces), f"later-{len(self._staged)}")

    def open_staged(self, handle: str) -> MemoryBlob:
        if not self.is_staged(handle):
            raise NotFound(handle)
        return super().open_staged(handle)

    def stages(self) -> Iterator[Stage]:
        return (stage for stage in super().stages() if self.is_staged(stage.handle))

    def is_in_place(self, handle: str) -> bool:
        found = self._staged.get(handle)
        return found is not None and super().look(found[0]) == _LIST + handle.encode()

    def place(self, handle: str) -> None:
        self.put(self._staged[handle][0], _LIST + handle.encode())

    def unmark(self, handle: str) -> bool:
        found = self.is_staged(handle)
        self.delete(f"mark {handle}")
        return found

    def clean(self, before: float) -> int:
        for handle in list(self._staged):
            if not self.is_staged(handle) and not self.is_in_place(handle):
                del self._staged[handle]
                self.delete(f"list {handle}")
        return 0
