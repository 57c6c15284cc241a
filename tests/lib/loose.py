"""A store that creates by looking and then writing, as Swift does: the driver's steps, one by one.

What is staged stays where it is when it is committed: a list of it is put in place, which says whose
it is. A mark tells what is neither committed nor abandoned. See v1registry/storage/swift/large_objects.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from tests.lib.worlds import Remote, Still
from v1registry.storage import Stage, StagedWrites, Stat, Storage, exists
from v1registry.storage.errors import NotFound
from v1registry.storage.memory import MemoryBlob

_LIST = b"list of "  # what lies in place of a layer, before the handle of its segments


class Loose(Storage):
    """What the driver does in several requests; the methods below are one request each."""

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
        """Whether the object under the final name is made of these segments."""
        raise NotImplementedError

    def place(self, handle: str) -> None:
        """Write the list of the segments under the final name."""
        raise NotImplementedError

    def unmark(self, handle: str) -> bool:
        """Take the mark away; tell whether it was there."""
        raise NotImplementedError


class LooseRemote(Loose, Remote):
    """The store as a client has it."""

    def aside(self, values: Mapping[str, bytes], after: Iterable[str] = ()) -> StagedWrites:
        return StagedWrites(self, values)

    def is_in_place(self, handle: str) -> bool:
        return bool(self._step("is_in_place", handle))

    def place(self, handle: str) -> None:
        self._step("place", handle)

    def unmark(self, handle: str) -> bool:
        return bool(self._step("unmark", handle))


class LooseStore(Loose, Still):
    """What lies in it; `_staged` are the segments, committed ones included."""

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
