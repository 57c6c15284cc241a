"""A store as a value: what lies in it by number, and what each call to it changes and answers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, is_dataclass
from types import BuiltinFunctionType, FunctionType, GeneratorType, MethodType
from typing import Any

from v1registry.lib.cleaner import Cleaner
from v1registry.lib.commits import Commits
from v1registry.lib.copies import Copies
from v1registry.lib.images import Images
from v1registry.lib.uploads import Uploads
from v1registry.storage import Buffer, Entry, Stage, Stat, Storage
from v1registry.storage.errors import NotFound
from v1registry.storage.memory import MemoryBlob, MemoryStorage

Op = tuple[Any, ...]  # the method's name, then its arguments
Ask = Callable[[Op], Any]
Contents = tuple[frozenset[tuple[str, bytes]], frozenset[tuple[str, str, bytes]]]

_ITERATORS = tuple(type(iter(x)) for x in ((), [], set(), {}, {}.items(), {}.values(), range(0)))
_WITHOUT_MEMORY = (Storage, Cleaner, Commits, Copies, Images, Uploads)  # nothing cached here


class Asked(BaseException):
    """Raised in a client whose call has no answer yet."""


class Incomparable(BaseException):
    """Raised where the test does not know how to tell two values apart; no client takes it."""


class Remote(Storage):
    """The store as a client has it: every call is one step, answered through `ask`."""

    def __init__(self, ask: Ask, number: int) -> None:
        self._ask = ask
        self._number = number

    def _step(self, *op: Any) -> Any:
        answer = self._ask(op)
        if isinstance(answer, NotFound):
            raise NotFound(*answer.args)
        return answer

    def get(self, key: str) -> bytes:
        return self._step("get", key)

    def put(self, key: str, data: bytes, *, durable: bool = True) -> None:
        self._step("put", key, data)

    def create(self, key: str, data: bytes) -> bool:
        return self._step("create", key, data)

    def stat(self, key: str) -> Stat:
        return self._step("stat", key)

    def list(self, folder: str) -> Iterator[Entry]:
        return iter(self._step("list", folder))

    def delete(self, key: str, *, durable: bool = True) -> None:
        self._step("delete", key)

    def delete_folder(self, folder: str) -> None:
        raise NotImplementedError

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


class Still(MemoryStorage):
    """A store in memory without a clock: equal histories leave equal stores."""

    def __init__(self) -> None:
        super().__init__(clock=float)

    def look(self, key: str) -> bytes | None:
        """What lies under a key, for the test's own eyes."""
        found = self._objects.get(key)
        return found[0] if found else None

    def contents(self) -> Contents:
        return (
            frozenset((key, data) for key, (data, _) in self._objects.items()),
            frozenset((handle, key, data) for handle, (key, data, _) in self._staged.items()),
        )

    @classmethod
    def of(cls, contents: Contents) -> Still:
        store = cls()
        store._objects = {key: (data, 0.0) for key, data in sorted(contents[0])}
        store._staged = {handle: (key, data, 0.0) for handle, key, data in sorted(contents[1])}
        return store

    def do(self, op: Op) -> Any:
        """Carry out a client's call; return its answer, which is the exception if there is one."""
        name, *args = op
        try:
            answer = getattr(self, f"_{name}", getattr(self, name))(*args)
        except NotFound as error:
            return error
        return tuple(answer) if isinstance(answer, Iterator) else answer

    def _stage(self, key: str, data: bytes, handle: str) -> str:
        self._staged[handle] = (key, data, 0.0)
        return handle

    def _open_staged(self, handle: str) -> bytes:
        return self.open_staged(handle).read()


class Worlds:
    """All contents of the store that were seen, and what calls made of them, each by a number."""

    def __init__(self, prepare: Callable[[MemoryStorage], None], constant: str) -> None:
        start = Still()
        prepare(start)
        self._constant = constant
        self._start = start
        self._contents: list[Contents] = []
        self._numbers: dict[Contents, int] = {}
        self._answers: dict[Any, int] = {}
        self._after: dict[tuple[int, Op], tuple[int, int, Any]] = {}
        self.first = self._number(start.contents())

    def after(self, world: int, op: Op) -> tuple[int, int, Any]:
        """The world after the call, the number of its answer, and the answer."""
        found = self._after.get((world, op))
        if found is None:
            store = self.store(world)
            answer = store.do(op)
            number = self._answers.setdefault(shown(answer), len(self._answers))
            found = self._number(store.contents()), number, answer
            self._after[world, op] = found
        return found

    def store(self, world: int) -> Still:
        """A store with what lies in that world."""
        return Still.of(self._contents[world])

    def remote(self, number: int) -> Callable[[Ask], Remote]:
        """Makes the store for client `number` from what answers its calls."""

        def make(ask: Ask) -> Remote:
            def asking(op: Op) -> Any:
                return self._start.do(op) if op[1:] and self._is_constant(op[1]) else ask(op)

            return Remote(asking, number)

        return make

    def _is_constant(self, key: str) -> bool:
        return key.startswith(self._constant)

    def _number(self, contents: Contents) -> int:
        number = self._numbers.setdefault(contents, len(self._contents))
        if number == len(self._contents):
            self._contents.append(contents)
        return number


def shown(value: Any) -> Any:
    """A value in a form that compares by what is in it."""
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
    if type(value).__module__.startswith("v1registry."):
        return type(value).__name__, shown(vars(value))
    raise Incomparable(f"how are two {type(value)} compared?")


def changes(value: Any) -> bool:
    """Whether a function that is given the value may leave something in it for its caller."""
    return not (value is None or isinstance(value, (str, bytes, int, float, *_WITHOUT_MEMORY)))
