"""A store as a value: its numbered contents, and the effect and the answer of each call."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import fields, is_dataclass
from types import BuiltinFunctionType, FunctionType, GeneratorType, MethodType
from typing import Any

from v1registry.lib.images.cleaner import Cleaner
from v1registry.lib.images.commit import Commits
from v1registry.lib.images.hidden import HiddenImages
from v1registry.lib.images.images import Images
from v1registry.lib.images.staged_layers import StagedLayers
from v1registry.lib.images.upload import Uploads
from v1registry.lib.maintenance.collector import GarbageCollector
from v1registry.lib.repositories.immutable import ImmutableTags
from v1registry.lib.repositories.references import RepositoryReferences
from v1registry.lib.repositories.repositories import Repositories
from v1registry.lib.repositories.tags import Tags
from v1registry.storage import Buffer, ListEntry, Stage, StagedWrites, Stat, Storage
from v1registry.storage.errors import NotFound
from v1registry.storage.memory import MemoryBlob, MemoryStorage

Op = tuple[Any, ...]  # the method's name, then its arguments
Ask = Callable[[Op], Any]
Contents = tuple[frozenset[Any], frozenset[Any], frozenset[Any]]

_ITERATORS = tuple(type(iter(x)) for x in ((), [], set(), {}, {}.items(), {}.values(), range(0)))
# Nothing is cached here: the tests switch all caches off.
_WITHOUT_MEMORY = (
    Storage,
    Cleaner,
    Commits,
    StagedLayers,
    Images,
    Uploads,
    HiddenImages,
    GarbageCollector,
    ImmutableTags,
    Repositories,
    RepositoryReferences,
    Tags,
    Executor,
)


class Asked(BaseException):
    """Raised in a client whose call to the store has no answer yet."""


class Incomparable(BaseException):
    """Raised if the test cannot compare two values; no client catches it."""


class Remote(Storage):
    """The store as a client uses it: every call is one step, answered through `ask`."""

    def __init__(self, ask: Ask, number: int, power: bool) -> None:
        self._ask = ask
        self._number = number
        self._power = power

    def _step(self, *op: Any) -> Any:
        answer = self._ask(op)
        if isinstance(answer, NotFound):
            raise NotFound(*answer.args)
        return answer

    def get(self, key: str) -> bytes:
        return self._step("get", key)

    def put(self, key: str, data: bytes, *, durable: bool = True) -> None:
        self._step("put", key, data, durable)

    def create(self, key: str, data: bytes) -> bool:
        return self._step("create", key, data)

    def stage_values(self, values: Mapping[str, bytes], after: Iterable[str] = ()) -> StagedWrites:
        self.flush(after)
        return RemoteAside(self, values)

    def flush(self, keys: Iterable[str]) -> None:
        if self._power:  # otherwise it has no visible effect
            self._step("flush", *keys)

    def stat(self, key: str) -> Stat:
        return self._step("stat", key)

    def list(self, folder: str) -> Iterator[ListEntry]:
        return iter(self._step("list", folder))

    def delete(self, key: str, *, durable: bool = True) -> None:
        self._step("delete", key, durable)

    def delete_if(self, key: str, data: bytes) -> bool:
        return self._step("delete_if", key, data)

    def delete_folder(self, folder: str) -> None:
        self._step("delete_folder", folder)

    def open(self, key: str) -> MemoryBlob:
        raise NotImplementedError

    def stage(self, key: str, pieces: Iterable[Buffer]) -> str:
        data = b"".join(bytes(piece) for piece in pieces)
        return self._step("stage", key, data, f"{self._number}-{len(data)}")

    def commit(self, handle: str) -> None:
        self._step("commit", handle)

    def abandon(self, handle: str) -> None:
        self._step("abandon", handle)

    def open_staged(self, handle: str) -> MemoryBlob:
        return MemoryBlob(self._step("open_staged", handle))

    def stages(self) -> Iterator[Stage]:
        return iter(self._step("stages"))

    def check(self) -> None:
        raise NotImplementedError


class RemoteAside(StagedWrites):
    """Naming what was written aside, as a client has it."""

    _storage: Remote

    def put(self, key: str) -> None:
        self._storage._step("put_aside", key, self._values[key])

    def create(self, key: str) -> bool:
        return self._storage._step("create_aside", key, self._values[key])


class Still(MemoryStorage):
    """A store in memory without a clock: equal histories result in equal stores.

    With `power`, it keeps for each value what the disk may contain if the power fails now.
    """

    def __init__(self, power: bool = False) -> None:
        super().__init__(clock=float)
        self._power = power
        self._unsure: dict[str, frozenset[Any]] = {}  # key or handle -> what the disk may contain

    def look(self, key: str) -> bytes | None:
        """Return the value of a key, for the test itself."""
        found = self._objects.get(key)
        return found[0] if found else None

    def contents(self) -> Contents:
        return (
            frozenset((key, data) for key, (data, _) in self._objects.items()),
            frozenset((handle, value[:2]) for handle, value in self._staged.items()),
            frozenset(self._unsure.items()),
        )

    @classmethod
    def of(cls, contents: Contents, power: bool = False) -> Still:
        store = cls(power)
        store._objects = {key: (data, 0.0) for key, data in sorted(contents[0])}
        store._staged = {handle: (*value, 0.0) for handle, value in sorted(contents[1])}
        store._unsure = dict(contents[2])
        return store

    def do(self, op: Op) -> Any:
        """Run a client's call; return its answer, or the exception if it raises one."""
        name, *args = op
        try:
            answer = getattr(self, f"_{name}", None) or getattr(self, name)
            answer = answer(*args)
        except NotFound as error:
            return error
        return tuple(answer) if isinstance(answer, Iterator) else answer

    def cuts(self) -> Iterator[Still]:
        """Yield the stores that a power loss may leave now."""
        names, held = list(self._unsure), (self._unsure[name] for name in self._unsure)
        for values in itertools.product(*held):
            store = Still.of(self.contents())
            store._unsure = {}
            for name, value in zip(names, values, strict=True):
                into: dict[str, Any] = store._staged if isinstance(value, tuple) else store._objects
                store._objects.pop(name, None)
                store._staged.pop(name, None)
                if value is not None:
                    into[name] = (*value, 0.0) if isinstance(value, tuple) else (value, 0.0)
            yield store

    # -- calls, and what they leave undefined -----------------------------------------

    def _put(self, key: str, data: bytes, durable: bool) -> None:
        before = self.look(key)
        self.put(key, data)
        self._changed(key, before, data, durable, torn=True)

    def _put_aside(self, key: str, data: bytes) -> None:
        before = self.look(key)
        self.put(key, data)
        self._changed(key, before, data, False)

    def _create(self, key: str, data: bytes) -> bool:
        created = self.create(key, data)
        self._changed(key, None, data, True)
        return created

    def _create_aside(self, key: str, data: bytes) -> bool:
        created = self.create(key, data)
        if created:
            self._changed(key, None, data, False)
        return created

    def _delete(self, key: str, durable: bool) -> None:
        before = self.look(key)
        self.delete(key)
        self._changed(key, before, None, durable)

    def _delete_folder(self, folder: str) -> None:
        for key in [key for key in self._objects if key.startswith(f"{folder}/")]:
            self._delete(key, durable=False)

    def _delete_if(self, key: str, data: bytes) -> bool:
        deleted = self.delete_if(key, data)
        if deleted:
            self._changed(key, data, None, True)
        return deleted

    def _stage(self, key: str, data: bytes, handle: str) -> str:
        self._staged[handle] = (key, data, 0.0)
        self._changed(handle, None, (key, data), False)
        return handle

    def _commit(self, handle: str) -> None:
        key, data, _ = self._staged.get(handle, ("", b"", 0.0))
        before = self.look(key)
        self.commit(handle)
        self._changed(handle, (key, data), None, False)
        self._changed(key, before, data, False)

    def _abandon(self, handle: str) -> None:
        before = self._staged.get(handle)
        self.abandon(handle)
        if before is not None:
            self._changed(handle, before[:2], None, False)

    def _open_staged(self, handle: str) -> bytes:
        return self.open_staged(handle).read()

    def _flush(self, *keys: str) -> None:
        for key in keys:
            now = self.look(key)
            torn = _torn(now) if now is not None else None
            left = {value for value in self._unsure.pop(key, ()) if value in (now, torn)}
            if len(left) > 1:
                self._unsure[key] = frozenset(left)

    def _changed(self, name: str, before: Any, now: Any, durable: bool, torn: bool = False) -> None:
        if self._power:
            held = set() if durable else {before, *self._unsure.get(name, ())}
            if torn and not durable:
                held.add(_torn(now))
            held.add(now)
            self._unsure.pop(name, None)
            if len(held) > 1:
                self._unsure[name] = frozenset(held)


def _torn(data: bytes) -> bytes:
    return data[: len(data) // 2]


class Worlds:
    """All contents of the store that were reached, and the results of calls, each by a number.

    `kind` is the class of the store, `remote_kind` the class that a client uses.
    """

    def __init__(
        self,
        prepare: Callable[[MemoryStorage], None],
        constant: str,
        power: bool,
        kind: type[Still] = Still,
        remote_kind: type[Remote] = Remote,
    ) -> None:
        self._kind, self._remote_kind = kind, remote_kind
        start = kind(power)
        prepare(start)
        self._power = power
        self._constant = constant
        self._start = start
        self._contents: list[Contents] = []
        self._numbers: dict[Contents, int] = {}
        self._answers: dict[Any, int] = {}
        self._after: dict[tuple[int, Op], tuple[int, int, Any]] = {}
        self._cuts: dict[int, list[int]] = {}
        self.first = self._number(start.contents())

    def after(self, world: int, op: Op) -> tuple[int, int, Any]:
        """Return the world after the call, the number of its answer, and the answer."""
        found = self._after.get((world, op))
        if found is None:
            store = self.store(world)
            answer = store.do(op)
            number = self._answers.setdefault(shown(answer), len(self._answers))
            found = self._number(store.contents()), number, answer
            self._after[world, op] = found
        return found

    def store(self, world: int) -> Still:
        """Return a store with the contents of that world."""
        return self._kind.of(self._contents[world], self._power)

    def cuts(self, world: int) -> Iterator[int]:
        """Return the worlds that a power loss may lead to."""
        if world not in self._cuts:
            cuts = {self._number(store.contents()) for store in self.store(world).cuts()}
            self._cuts[world] = sorted(cuts)
        return iter(self._cuts[world])

    def remote(self, number: int) -> Callable[[Ask], Remote]:
        """Return the store for client `number`, whose calls `ask` answers."""

        def make(ask: Ask) -> Remote:
            def asking(op: Op) -> Any:
                return self._start.do(op) if op[1:] and self._is_constant(op[1]) else ask(op)

            return self._remote_kind(asking, number, self._power)

        return make

    def _is_constant(self, key: str) -> bool:
        return key.startswith(self._constant)

    def _number(self, contents: Contents) -> int:
        number = self._numbers.setdefault(contents, len(self._contents))
        if number == len(self._contents):
            self._contents.append(contents)
        return number


def shown(value: Any) -> Any:
    """Return a value in a form that compares by content."""
    if value is None or isinstance(value, str | bytes | int | float):
        return value
    if isinstance(value, list | tuple | set | frozenset | dict):
        items = value.items() if isinstance(value, dict) else value
        return type(value).__name__, tuple(shown(item) for item in items)
    if isinstance(value, Exception):
        return type(value).__name__, str(value), shown(vars(value))
    if isinstance(value, _ITERATORS):
        return "iterator", shown(list(copy.copy(value)))
    if isinstance(value, GeneratorType):
        frame = value.gi_frame
        return ("ended",) if frame is None else (frame.f_lasti, shown(frame.f_locals))
    if isinstance(value, FunctionType | MethodType | BuiltinFunctionType | type):
        return value.__qualname__
    if hasattr(value, "hexdigest"):
        return value.hexdigest()
    if is_dataclass(value):
        return type(value).__name__, tuple(shown(getattr(value, f.name)) for f in fields(value))
    if isinstance(value, _WITHOUT_MEMORY):
        return type(value).__name__
    if isinstance(value, StagedWrites) or type(value).__module__.startswith("v1registry."):
        return type(value).__name__, shown(vars(value))
    raise Incomparable(f"how are two {type(value)} compared?")


def changes(value: Any) -> bool:
    """Return whether a function that receives the value may change it."""
    return not (value is None or isinstance(value, (str, bytes, int, float, *_WITHOUT_MEMORY)))
