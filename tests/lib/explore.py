"""Explores every interleaving and every crash of a few clients that share one store.

Each client is a greenlet that runs the real code over a store in memory; before
every call to the store it hands control back. From the outside, then, a run is a
*schedule*: who makes the next call, or who dies for good at that point. All
schedules are tried, save those that lead to a state already seen: the bytes in
the store, and where each client stands, with all that its frames hold in names.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, is_dataclass
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet

from v1registry.storage import Buffer, Entry, Stage, Stat
from v1registry.storage.errors import NotFound
from v1registry.storage.memory import MemoryBlob, MemoryStorage

Step = tuple[str, int]  # ("step" or "kill", number of the client)


@dataclass
class Client:
    """One process: what it runs, what it has seen, how it ended."""

    run: Callable[[SteppingStorage], Any]
    greenlet: greenlet | None = None
    dead: bool = False
    outcome: Any = None

    def state(self) -> Any:
        """Where it stands: every frame's position and named values. Clients keep
        nothing that matters unnamed over a call to the store."""
        if self.dead or self.greenlet is None:
            return self.dead, _shown(self.outcome)
        frames, frame = [], self.greenlet.gr_frame
        while frame is not None:
            if "v1registry" in frame.f_code.co_filename or "test_" in frame.f_code.co_filename:
                names = tuple((name, _shown(value)) for name, value in frame.f_locals.items())
                frames.append((frame.f_code.co_name, frame.f_lasti, names))
            frame = frame.f_back
        return tuple(frames)


class SteppingStorage(MemoryStorage):
    """A store in memory that waits for the scheduler before every call."""

    def __init__(self, constant: str) -> None:
        super().__init__()
        self.clients: dict[greenlet, Client] = {}
        self.constant = constant  # prefix of keys that no client writes: no need to wait there

    def _do(self, function: Callable[..., Any], *args: Any) -> Any:
        client = self.clients.get(getcurrent())
        if client is not None:
            if not (args and args[0].startswith(self.constant)):
                getcurrent().parent.switch()
            if client.dead:
                raise GreenletExit
        return function(self, *args)

    def get(self, key: str) -> bytes:
        return self._do(MemoryStorage.get, key)

    def put(self, key: str, data: bytes, *, durable: bool = True) -> None:
        self._do(MemoryStorage.put, key, data)

    def create(self, key: str, data: bytes) -> bool:
        return self._do(MemoryStorage.create, key, data)

    def stat(self, key: str) -> Stat:
        return Stat(
            self._do(MemoryStorage.stat, key).size, 0.0
        )  # no clock: states must compare equal

    def list(self, folder: str) -> Iterator[Entry]:
        return iter(self._do(_list, folder))

    def delete(self, key: str, *, durable: bool = True) -> None:
        self._do(MemoryStorage.delete, key)

    def stage(self, key: str, pieces: Iterable[Buffer]) -> str:
        data = b"".join(bytes(piece) for piece in pieces)
        return self._do(_stage, key, data)

    def commit(self, handle: str) -> None:
        self._do(_commit, handle)

    def abandon(self, handle: str) -> None:
        self._do(MemoryStorage.abandon, handle)

    def open_staged(self, handle: str) -> MemoryBlob:
        return self._do(MemoryStorage.open_staged, handle)

    def stages(self) -> Iterator[Stage]:
        return iter(self._do(_stages))

    def state(self) -> tuple[Any, ...]:
        objects = sorted((key, data) for key, (data, _) in self._objects.items())
        staged = sorted((handle, data) for handle, (_, data, _) in self._staged.items())
        return tuple(objects), tuple(staged)

    def look(self, key: str) -> bytes | None:
        """What lies under a key, for the test's own eyes."""
        found = self._objects.get(key)
        return found[0] if found else None


def _list(store: SteppingStorage, folder: str) -> list[Entry]:
    return sorted(MemoryStorage.list(store, folder), key=lambda entry: entry.name)


def _stage(store: SteppingStorage, key: str, data: bytes) -> str:
    """A handle that is the same in every run in which the same client stages the same."""
    names = list(store.clients)
    handle = f"{names.index(getcurrent()) if getcurrent() in names else 'x'}-{len(data)}"
    store._staged[handle] = (key, data, 0.0)
    return handle


def _commit(store: SteppingStorage, handle: str) -> None:
    if handle not in store._staged:
        raise NotFound(handle)
    key, data, _ = store._staged.pop(handle)
    MemoryStorage.put(store, key, data)


def _stages(store: SteppingStorage) -> list[Stage]:
    return list(MemoryStorage.stages(store))


def _shown(value: Any) -> str:
    """A value as text, without addresses; containers with what is in them."""
    if isinstance(value, list | tuple | set | frozenset):
        return f"{type(value).__name__}({', '.join(map(_shown, value))})"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_shown(key)}: {_shown(item)}' for key, item in value.items())}}}"
    if isinstance(value, type(iter([]))):
        return f"iter{_shown(list(copy.copy(value)))}"
    if is_dataclass(value) or isinstance(value, Exception):
        return repr(value)
    if isinstance(value, str | bytes | int | float | None):
        return repr(value)
    return type(value).__name__


class Explorer:
    """Runs all schedules. `prepare(store)` fills the store, `programs` are the clients.

    `finished(store)` tells whether the image is finished; `parts(store)` is what
    must never change from then on; `finish(store, clients)` checks the end of every run.
    """

    def __init__(
        self,
        prepare: Callable[[MemoryStorage], None],
        programs: list[Callable[[SteppingStorage], Any]],
        finished: Callable[[SteppingStorage], bool],
        parts: Callable[[SteppingStorage], Any],
        finish: Callable[[SteppingStorage, list[Client]], None],
        kills: int = 0,
        constant: str = "-",
    ) -> None:
        self.prepare, self.programs = prepare, programs
        self.finished, self.parts = finished, parts
        self.finish, self.kills = finish, kills
        self.constant = constant
        self.states = self.ends = 0

    def explore(self) -> None:
        seen: set[Any] = set()
        waiting: list[tuple[Step, ...]] = [()]
        while waiting:
            schedule = waiting.pop()
            store, clients = self._replay(schedule)
            while True:
                key = hash((store.state(), tuple(client.state() for client in clients)))
                if key in seen:
                    break
                seen.add(key)
                steps = self._steps(clients, schedule)
                if not steps:
                    self.ends += 1
                    self._guarded(schedule, self.finish, store, clients)
                    break
                waiting.extend((*schedule, step) for step in steps[1:])
                schedule = (*schedule, steps[0])
                self._guarded(schedule, self._make, store, clients, steps[0])
            self._end(clients)
        self.states = len(seen)

    def _steps(self, clients: list[Client], schedule: tuple[Step, ...]) -> list[Step]:
        alive = [i for i, client in enumerate(clients) if client.greenlet and not client.dead]
        steps: list[Step] = [("step", i) for i in alive]
        if sum(kind == "kill" for kind, _ in schedule) < self.kills:
            steps += [("kill", i) for i in alive]
        return steps

    def _replay(self, schedule: tuple[Step, ...]) -> tuple[SteppingStorage, list[Client]]:
        store = SteppingStorage(self.constant)
        self.prepare(store)
        clients = [Client(program) for program in self.programs]
        for client in clients:
            client.greenlet = greenlet(lambda client=client: self._run(client, store))
            store.clients[client.greenlet] = client
        for client in clients:
            client.greenlet.switch()
        for step in schedule:
            self._guarded(schedule, self._make, store, clients, step)
        return store, clients

    @staticmethod
    def _run(client: Client, store: SteppingStorage) -> None:
        try:
            client.outcome = client.run(store)
        except GreenletExit:
            return
        except Exception as error:
            client.outcome = error
        client.greenlet = None

    def _make(self, store: SteppingStorage, clients: list[Client], step: Step) -> None:
        kind, number = step
        client = clients[number]
        before = self.parts(store) if self.finished(store) else None
        if kind == "kill":
            client.dead = True
        else:
            assert client.greenlet is not None
            client.greenlet.switch()
        if before is not None:
            assert self.parts(store) == before, "a finished image changed"

    @staticmethod
    def _guarded(schedule: tuple[Step, ...], function: Callable[..., None], *args: Any) -> None:
        try:
            function(*args)
        except AssertionError as error:
            error.add_note(f"schedule: {schedule}")
            raise

    @staticmethod
    def _end(clients: list[Client]) -> None:
        for client in clients:
            client.dead = True
            if client.greenlet is not None:
                client.greenlet.throw(GreenletExit)
