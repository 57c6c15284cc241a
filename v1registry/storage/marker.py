"""The store marker: the proof that the store that was there at start is still mounted.

The object `_v1registry/store` holds the store's id. The registry creates it when it first uses a
store, also in an old store; 0.x never reads it. While the marker is missing or holds another id, no
disk or the wrong disk is mounted. Every write is then refused: it would succeed in the empty mount
point and be hidden as soon as the disk is back.
"""

from __future__ import annotations

import contextlib
import logging
import re
import secrets
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast

from v1registry.storage import Storage, keys
from v1registry.storage.errors import NotFound, NotMounted, Refused, StorageError, Unavailable
from v1registry.storage.readonly import ReadOnlySwitch

KEY = f"{keys.OURS}/store"

_FORM = re.compile(r"store-[0-9a-f]{32}")
# seconds in which nodes may overwrite each other's first marker if `create` is not atomic
_SETTLE = 60.0
_NONE = f"The store has no marker {KEY}, and read_only is set, so the registry does not write one"
_log = logging.getLogger(__name__)

Method = TypeVar("Method", bound=Callable[..., Any])


class Memory(Protocol):
    """Keeps a store's id for longer than one process runs."""

    def get(self, place: str) -> str | None: ...

    def set(self, place: str, store_id: str) -> None: ...


def read(storage: Storage) -> str | None:
    """Return the id in the store's marker; None if the marker is missing or unreadable."""
    try:
        text = storage.get(KEY).decode("ascii", "replace").strip()
    except NotFound:
        return None
    return text if _FORM.fullmatch(text) else None


def is_there(storage: Storage) -> bool:
    """Return whether there is a store: one with a marker, or an old store."""
    return read(storage) is not None or any(
        True for folder in (keys.IMAGES, keys.REPOSITORIES) for _ in storage.list(folder)
    )


def _passed_on(method: Method) -> Method:
    """Return a method of `MarkedStorage` that calls the same method of the driver."""
    name = method.__name__

    def call(self: MarkedStorage, *arguments: Any, **named: Any) -> Any:
        return getattr(self._storage, name)(*arguments, **named)

    return cast(Method, call)


def _guarded(method: Method) -> Method:
    """Return a method that does the same, but only while writes are accepted."""
    name = method.__name__

    def call(self: MarkedStorage, *arguments: Any, **named: Any) -> Any:
        self._may_write()
        return getattr(self._storage, name)(*arguments, **named)

    return cast(Method, call)


class MarkedStorage(Storage):
    """A driver's store that refuses writes unless its marker is the one from the start.

    It also refuses them while an administrator's `switch` makes it read-only.

    `pinned` is the id that the configuration requires. `memory` makes a process that starts later
    expect the same id in the same `place`. Call `prepare` before any other method.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        place: str = "",
        read_only: bool = False,
        pinned: str | None = None,
        memory: Memory | None = None,
    ) -> None:
        self._storage = storage
        self._place = place
        self._read_only = read_only
        self._pinned = pinned
        self._memory = memory
        self.switch = ReadOnlySwitch(storage, self._require_marker_to_write)
        self._expected: str | None = None
        self._checked = float("-inf")
        self._settles_until = float("-inf")
        self._is_missing = False
        self._is_prepared = read_only
        self.creates_atomically = storage.creates_atomically
        self.reads_stages = storage.reads_stages
        self.marker_seconds = storage.marker_seconds

    # -- the marker ------------------------------------------------------------

    def prepare(self) -> None:
        """Prepare the store and read its id.

        If another process of this server has read an id that the store does not have now, write
        nothing: this process serves reads, and accepts writes when the store is back.
        """
        self._expected = self._memory.get(self._place) if self._memory else None
        if self._expected is not None and not self._is_back():
            return
        if self._pinned is not None:
            self._refuse_another(self._pinned)
        if self._read_only:
            self._take_existing()
            return
        self._prepare_driver()
        self._expect(self._expected or read(self._storage) or self._created())
        if not self._storage.creates_atomically:
            age = time.time() - self._storage.stat(KEY).modified
            self._settles_until = time.monotonic() + _SETTLE if age < _SETTLE else 0.0

    def _is_back(self) -> bool:
        """Return whether the marker has the expected id; write a log message if not."""
        if read(self._storage) == self._expected:
            return True
        with contextlib.suppress(Unavailable):
            self.require_marker()
        return False

    def _prepare_driver(self) -> None:
        self._storage.prepare()
        self._is_prepared = True

    def _expect(self, store_id: str) -> None:
        self._expected = store_id
        if self._memory is not None:
            self._memory.set(self._place, store_id)

    def _take_existing(self) -> None:
        """Expect the id of a read-only store. It may have no marker, or be away until later."""
        if self._expected is None:
            with contextlib.suppress(StorageError):
                if found := read(self._storage):
                    self._expect(found)

    def require_marker(self, within: float = 0.0) -> None:
        """Raise Unavailable unless the marker had the id from the start `within` these seconds.

        Raise NotMounted if another store is there, or none.
        """
        if time.monotonic() - self._checked < within:
            return
        found = read(self._storage)
        if found and found != self._expected and time.monotonic() < self._settles_until:
            self._expect(found)  # another node created the first marker at the same moment
        try:
            if self._expected is None:
                raise Unavailable(_NONE)
            if found != self._expected:
                raise NotMounted(self._reason(found))
            if not self._is_prepared:  # this process started while the store was away
                self._prepare_driver()
            self._storage.require_marker()
        except Unavailable as error:
            self._checked = float("-inf")
            if not self._is_missing:
                self._is_missing = True
                _log.error("Writes are refused with 503. %s", error)
            raise
        self._checked = time.monotonic()
        if self._is_missing:
            self._is_missing = False
            _log.warning("The store %s is back: writes are accepted again", found)

    def _reason(self, found: str | None) -> str:
        what = "is missing" if found is None else f"holds {found}"
        return (
            f"The store's marker {KEY} {what}, but at start it held {self._expected}."
            " Mount that store again; if this is really the store to serve, restart the registry"
        )

    def _refuse_another(self, pinned: str) -> None:
        found = read(self._storage)
        if found != pinned:
            what = "no marker" if found is None else f"the marker {found}"
            raise Refused(
                f"store_id: the store has {what}, not {pinned}."
                " Mount the disk with that store, or correct store_id"
            )

    def _created(self) -> str:
        new = f"store-{secrets.token_hex(16)}".encode("ascii")
        if not self._storage.create(KEY, new) and read(self._storage) is None:
            self._storage.put(KEY, new)  # replace an unreadable marker
        found = read(self._storage)
        if found is None:
            raise Unavailable(f"{KEY}: the store does not return what was written")
        return found

    def _may_write(self) -> None:
        """Raise ReadOnly if the switch is on, and what `_require_marker_to_write` raises."""
        self._require_marker_to_write()
        self.switch.require_off()

    def _require_marker_to_write(self) -> None:
        """Raise Unavailable unless the marker was right within the last `marker_seconds`.

        Without a marker, a read-only registry may still write its file lists.
        """
        if self._expected is not None or not self._read_only:
            self.require_marker(self.marker_seconds)

    def check(self) -> None:
        """Raise what the driver raises, and Unavailable if the marker is not the one from the start."""
        if not self._read_only:
            self.require_marker()
            self._storage.check()
            return
        self._take_existing()
        if self._expected is not None:
            self.require_marker()
        next(self._storage.list(keys.IMAGES), None)

    # -- methods that write, so that they need the marker -------------------------------

    put = _guarded(Storage.put)
    put_all = _guarded(Storage.put_all)
    create = _guarded(Storage.create)
    stage_values = _guarded(Storage.stage_values)
    delete_if = _guarded(Storage.delete_if)
    delete_folder = _guarded(Storage.delete_folder)
    stage = _guarded(Storage.stage)
    commit = _guarded(Storage.commit)
    clean = _guarded(Storage.clean)

    def delete(self, key: str, *, durable: bool = True) -> None:
        """Delete an object. A lease may be released although the store is read-only."""
        self._require_marker_to_write()
        if not key.startswith(f"{keys.LEASES}/"):
            self.switch.require_off()
        self._storage.delete(key, durable=durable)

    # -- methods that do not need the marker --------------------------------------------

    get = _passed_on(Storage.get)
    flush = _passed_on(Storage.flush)
    open = _passed_on(Storage.open)
    stat = _passed_on(Storage.stat)
    list = _passed_on(Storage.list)
    url = _passed_on(Storage.url)
    accel_path = _passed_on(Storage.accel_path)
    space = _passed_on(Storage.space)
    abandon = _passed_on(
        Storage.abandon
    )  # called after a failure, whose error must not be replaced
    open_staged = _passed_on(Storage.open_staged)
    is_staged = _passed_on(Storage.is_staged)
    stages = _passed_on(Storage.stages)
