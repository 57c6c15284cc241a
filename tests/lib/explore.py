"""Explores every interleaving and every crash of a few clients that share one store.

Each client runs the real code, and each of its calls to the store is a step. A client's behaviour
depends only on the answers of the store. So its code runs only once for each sequence of answers: it
receives the answers of that sequence, one by one, until it makes another call (`Client`). An answer of
the store depends only on its contents (`Worlds`). Both are cached by number, so exploring the
interleavings mostly looks up numbers in tables.

Schedules that lead to the same state are explored once: the same bytes in the store, and each client at
the same place with the same knowledge (`Memory`).
"""

from __future__ import annotations

import dis
import inspect
import sys
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

from tests.lib.worlds import Ask, Asked, Op, Remote, Still, Worlds, changes, shown
from v1registry.storage.memory import MemoryStorage

Program = Callable[[Any], Any]
Step = tuple[str, int]  # ("step" or "kill", number of the client)

_BITS = 21  # of the number of a world, or of a place in a client's code
_MASK = (1 << _BITS) - 1
_DEAD = 0  # the place of a client that was killed


@dataclass(frozen=True)
class End:
    """How a client ended; `outcome` is what its program returned or raised."""

    dead: bool
    outcome: Any = None


class Client:
    """One client process, with the numbered places in its code that it has reached."""

    def __init__(self, program: Program, remote: Callable[[Ask], Remote]) -> None:
        self._program = program
        self._remote = remote
        self._places: dict[Any, int] = {"dead": _DEAD}
        self._paths: list[tuple[Any, ...]] = [()]  # by place: the answers that lead there
        self._next: dict[tuple[int, int], int] = {}  # place, number of the answer -> place
        self.waiting: list[Op | End] = [
            End(dead=True)
        ]  # by place: the next call, or how the client ended
        self.start = self._look(())

    def after(self, place: int, number: int, answer: Any) -> int:
        """Return the client's place after `place` if the store gives `answer`, which has this number."""
        found = self._next.get((place, number))
        if found is None:
            found = self._look((*self._paths[place], answer))
            self._next[place, number] = found
        return found

    def _look(self, path: tuple[Any, ...]) -> int:
        """Run the program with these answers; return the place where it makes the next call."""
        given = iter(path)
        asked: Op | None = None

        def ask(op: Op) -> Any:
            nonlocal asked
            if asked is None:
                for answer in given:
                    return answer
                asked = op
                memory.stop()
            raise Asked

        memory = Memory(ask.__code__)
        waiting: Op | End
        try:
            with memory:
                waiting = End(False, self._program(self._remote(ask)))
        except Asked:
            assert asked is not None
            waiting = asked
        except Exception as error:
            waiting = End(False, error)
        key = shown(waiting) if asked is None else (asked, memory.state())
        if key not in self._places:
            self._places[key] = len(self._paths)
            self._paths.append(path)
            self.waiting.append(waiting)
        return self._places[key]


class Memory:
    """What a running program has learnt from the store and may still use.

    A function's behaviour depends on its arguments and on the results of the functions that it called.
    So for a call that has ended, only its result counts, and changes to its arguments. For calls that
    still run, all answers so far count. `source` is the function that learns.
    """

    def __init__(self, source: CodeType) -> None:
        self._source = source
        self._running: list[list[Any]] = [[]]

    def __enter__(self) -> None:
        sys.setprofile(self._event)

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def stop(self) -> None:
        """Stop recording: from now on the program only unwinds."""
        sys.setprofile(None)

    def state(self) -> Any:
        return tuple(map(tuple, self._running))

    def _event(self, frame: FrameType, event: str, result: Any) -> None:
        if event == "call":
            self._running.append([])
        elif event == "return" and len(self._running) > 1:
            learnt = self._running.pop()
            if learnt or frame.f_code is self._source:
                self._running[-1] += self._rest(frame, learnt, result)

    @staticmethod
    def _rest(frame: FrameType, learnt: list[Any], result: Any) -> list[Any]:
        """Return what the caller can know of a call that has learnt something."""
        code = frame.f_code
        how = dis.opname[code.co_code[frame.f_lasti]]
        if not how.startswith("RETURN") or code.co_flags & inspect.CO_GENERATOR:
            return [*learnt, how]  # an exception, or a generator that continues later
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        given = [frame.f_locals.get(name) for name in names]
        return [shown(result), *(shown(value) for value in given if changes(value))]


class Explorer:
    """Runs all schedules. `prepare(store)` fills the store, `programs` are the clients.

    `finished(store)` returns whether the image is complete; `parts(store)` must not change from then on;
    `finish(store, ends)` checks the end of every run. At most `kills` clients are killed. `constant` is
    a prefix of keys that no client writes, so reading them is not a step.

    With `power`, the power also fails at every point, and any write that is not durable may be lost:
    `finish` must hold then, too. `power(ends)` returns whether a client was told success before; if so,
    the image must be unchanged.

    `worlds` are the store and the remote of another kind of store.
    """

    def __init__(
        self,
        prepare: Callable[[MemoryStorage], None],
        programs: list[Program],
        finished: Callable[[MemoryStorage], bool],
        parts: Callable[[MemoryStorage], Any],
        finish: Callable[[MemoryStorage, list[End]], None],
        kills: int = 0,
        constant: str = "-",
        power: Callable[[list[End]], bool] | None = None,
        worlds: tuple[type[Still], type[Remote]] = (Still, Remote),
    ) -> None:
        self.worlds = Worlds(prepare, constant, power is not None, *worlds)
        self.clients = [
            Client(program, self.worlds.remote(number)) for number, program in enumerate(programs)
        ]
        self._finished, self._parts, self._finish = finished, parts, finish
        self._kills = kills
        self._whole: dict[int, Any] = {}  # world -> the finished image's parts, None if open
        self._start = 0
        for client in reversed(self.clients):
            self._start = self._start << _BITS | client.start
        self._start = self._start << _BITS | self.worlds.first
        self._power = power
        self._cut: set[tuple[int, tuple[int, ...]]] = (
            set()
        )  # the world after it, and which clients had ended where
        self.states = self.ends = self.cuts = 0

    def explore(self) -> None:
        """Visit every state once. A failure has a shortest path to it in its notes."""
        seen, ends = {self._start}, 0
        waiting = [self._start]
        while waiting:
            state = waiting.pop()
            moved = False
            for after in self._moves(state):
                moved = True
                if after not in seen:
                    seen.add(after)
                    waiting.append(after)
                    self._guarded(after, self._kept, state & _MASK, after & _MASK)
                    if self._power:
                        self._guarded(after, self._lose_power, after)
            if not moved:
                ends += 1
                self._guarded(state, self._ended, state)
        self.states, self.ends, self.cuts = len(seen), ends, len(self._cut)

    def _moves(self, state: int) -> Iterator[int]:
        """Yield the states that one step or one kill leads to."""
        world, rest = state & _MASK, state >> _BITS
        shift, killed, alive = _BITS, 0, []
        for client in self.clients:
            place = rest & _MASK
            rest >>= _BITS
            if place == _DEAD:
                killed += 1
            elif not isinstance(op := client.waiting[place], End):
                after, number, answer = self.worlds.after(world, op)
                place_after = client.after(place, number, answer)
                yield state ^ world ^ after ^ ((place ^ place_after) << shift)
                alive.append((place ^ _DEAD) << shift)
            shift += _BITS
        if killed < self._kills:
            for change in alive:
                yield state ^ change

    def _kept(self, before: int, after: int) -> None:
        if before != after and (whole := self._look(before)) is not None:
            # A mark may appear again: its client looked before the commit, and deletes it again.
            assert self._parts(self.worlds.store(after)) == whole, "a finished image changed"

    def _look(self, world: int) -> Any:
        if world not in self._whole:
            store = self.worlds.store(world)
            self._whole[world] = self._parts(store) if self._finished(store) else None
        return self._whole[world]

    def _ended(self, state: int) -> None:
        world, ends = state & _MASK, [end for _, end in self._ends_at(state)]
        self._look(world)
        self._finish(self.worlds.store(world), ends)

    def _lose_power(self, state: int) -> None:
        world, places, ends = state & _MASK, *zip(*self._ends_at(state), strict=True)
        assert self._power
        promised = self._power(list(ends))
        for after in self.worlds.cuts(world):
            if (after, places) in self._cut:
                continue
            self._cut.add((after, places))
            try:
                if promised:
                    assert self._parts(self.worlds.store(after)) == self._look(world), "lost"
                self._look(after)
                self._finish(self.worlds.store(after), list(ends))
            except Exception as error:
                error.add_note(f"the power went, and left {self.worlds.store(after).contents()}")
                raise

    def _ends_at(self, state: int) -> Iterator[tuple[int, End]]:
        """Return each client's place and end, as if all running clients were killed."""
        for client in self.clients:
            state >>= _BITS
            end = client.waiting[state & _MASK]
            yield (state & _MASK, end) if isinstance(end, End) else (_DEAD, End(dead=True))

    def _guarded(self, state: int, function: Callable[..., None], *args: Any) -> None:
        try:
            function(*args)
        except Exception as error:
            error.add_note("\n".join(self._story(state)))
            raise

    def _story(self, state: int) -> list[str]:
        """Return a shortest path to this state, one line for each step."""
        came = {self._start: self._start}
        waiting = deque(came)
        while state not in came:
            before = waiting.popleft()
            for after in self._moves(before):
                if came.setdefault(after, before) == before:
                    waiting.append(after)
        lines = []
        while came[state] != state:
            before, after, state = came[state] >> _BITS, state >> _BITS, came[state]
            for number, client in enumerate(self.clients):
                if (before ^ after) & _MASK:
                    asked = "killed" if after & _MASK == _DEAD else client.waiting[before & _MASK]
                    lines.append(f"client {number}: {asked}")
                before, after = before >> _BITS, after >> _BITS
        return lines[::-1]
