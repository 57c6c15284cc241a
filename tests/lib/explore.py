"""Explores every interleaving and every crash of a few clients that share one store.

Each client runs the real code; every call that it makes to the store is a step. What a client does
depends on nothing but what the store answered, so it is run for real only once for each thing that
it can see: it is given the answers that lead there, one by one, until it asks for more (`Client`).
What the store answers depends on nothing but what lies in it (`Worlds`). Both are remembered, and
then going through the interleavings is looking things up in tables of numbers.

Schedules that lead to the same state are followed once: the same bytes in the store, and each
client at the same place with the same knowledge (`Memory`).
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

_BITS = 21  # of a number that stands for a world, or for a place in a client's code
_MASK = (1 << _BITS) - 1
_DEAD = 0  # the place of a client that was killed


@dataclass(frozen=True)
class End:
    """How a client ended; `outcome` is what its program returned or raised."""

    dead: bool
    outcome: Any = None


class Client:
    """One process: the places in its code that it was seen at, by number."""

    def __init__(self, program: Program, remote: Callable[[Ask], Remote]) -> None:
        self._program = program
        self._remote = remote
        self._places: dict[Any, int] = {"dead": _DEAD}
        self._paths: list[tuple[Any, ...]] = [()]  # by place: answers that lead there
        self._next: dict[tuple[int, int], int] = {}  # place, number of the answer -> place
        self.waiting: list[Op | End] = [End(dead=True)]  # by place: what it asks, or how it ended
        self.start = self._look(())

    def after(self, place: int, number: int, answer: Any) -> int:
        """Where the client goes from `place` when the store gives `answer`, known as `number`."""
        found = self._next.get((place, number))
        if found is None:
            found = self._look((*self._paths[place], answer))
            self._next[place, number] = found
        return found

    def _look(self, path: tuple[Any, ...]) -> int:
        """Run the program with these answers; return the place where it wants another one."""
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
    """What a running program has learnt from the store and can still know.

    A function's course depends on its arguments and on what those that it called gave back. So of
    a call that is over only its result counts, with what it may have changed in its arguments; of
    those still running, all that they got so far. `source` is the function that learns.
    """

    def __init__(self, source: CodeType) -> None:
        self._source = source
        self._running: list[list[Any]] = [[]]

    def __enter__(self) -> None:
        sys.setprofile(self._event)

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def stop(self) -> None:
        """From now on the program only unwinds."""
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
        """What the caller can know of a call in which something was learnt."""
        code = frame.f_code
        how = dis.opname[code.co_code[frame.f_lasti]]
        if not how.startswith("RETURN") or code.co_flags & inspect.CO_GENERATOR:
            return [*learnt, how]  # an exception, or a generator that goes on later
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        given = [frame.f_locals.get(name) for name in names]
        return [shown(result), *(shown(value) for value in given if changes(value))]


class Explorer:
    """Runs all schedules. `prepare(store)` fills the store, `programs` are the clients.

    `finished(store)` tells whether the image is finished; `parts(store)` is what must never change
    from then on; `finish(store, ends)` checks the end of every run. `kills` is how many clients may
    be killed, `constant` a prefix of keys that no client writes: reading them is no step.

    With `power`, it also goes out at every point, and the disk may hold any of what it was not
    forced to: `finish` must hold then, too. `power(ends)` tells whether somebody was promised the
    image before; if so, it must be as it was.

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
        self._cut: set[tuple[int, tuple[int, ...]]] = set()  # world after it, who had ended where
        self.states = self.ends = self.cuts = 0

    def explore(self) -> None:
        """Visit every state once. What fails has a shortest way to it in its notes."""
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
        """The states that one step, or one kill, leads to."""
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
            # a mark may come again: whoever set it looked before, and takes it off again
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
        """Each client's place and end, as if all that still run were killed."""
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
        """A shortest way to this state, a line a step."""
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
