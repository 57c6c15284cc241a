"""The explorer of the model test finds all outcomes and never confuses two states."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lib.explore import End, Explorer
from tests.lib.worlds import Incomparable
from v1registry.storage import Storage
from v1registry.storage.memory import MemoryStorage


def explore(*programs: Any, kills: int = 0) -> tuple[Explorer, set[Any]]:
    """The explorer after its run, and all outcomes: the counter, and how each client ended."""
    outcomes = set()

    def finish(store: MemoryStorage, ends: list[End]) -> None:
        outcomes.add((store.get("counter"), *("dead" if e.dead else e.outcome for e in ends)))

    explorer = Explorer(
        lambda store: store.put("counter", b"0"), list(programs), never, never, finish, kills
    )
    explorer.explore()
    return explorer, outcomes


def never(_: MemoryStorage) -> None:
    return None


def count(store: Storage) -> str:
    store.put("counter", b"%d" % (int(store.get("counter")) + 1))
    return "done"


def test_all_interleavings() -> None:
    explorer, outcomes = explore(count, count)
    assert outcomes == {(b"1", "done", "done"), (b"2", "done", "done")}
    # both wait to read; one or both have read; who wrote; the lost update
    assert explorer.states == 12


def test_all_kills() -> None:
    _, outcomes = explore(count, count, kills=1)
    assert {(b"0", "dead", "done"), (b"2", "dead", "dead")}.isdisjoint(outcomes)
    assert (b"1", "dead", "done") in outcomes


@pytest.mark.parametrize("copies", [1, 2, 3])
def test_knowledge_on_the_stack_counts(copies: int) -> None:
    """Only the interpreter's stack contains how many of the earlier answers were `1`."""

    def watch(store: Storage) -> int:
        return sum([store.get("counter") == b"1" for _ in range(copies)])

    def write(store: Storage) -> None:
        store.put("counter", b"1")
        store.put("counter", b"0")

    _, outcomes = explore(watch, write)
    assert outcomes == {(b"0", seen, None) for seen in range(copies + 1)}


def test_knowledge_that_a_call_drops_does_not_count() -> None:
    """Reads in a function lead to one state if it ends with one result."""

    def look(store: Storage) -> None:
        store.get("counter")

    def twice(store: Storage) -> int:
        look(store)
        look(store)
        return 0

    forgetful, _ = explore(twice, count)

    def knowing(store: Storage) -> int:
        return len({store.get("counter"), store.get("counter")}) * 0

    mindful, _ = explore(knowing, count)
    assert forgetful.states < mindful.states


def test_a_failure_names_its_steps() -> None:
    def finish(store: MemoryStorage, ends: list[End]) -> None:
        assert store.get("counter") == b"2", "lost"

    explorer = Explorer(
        lambda store: store.put("counter", b"0"), [count, count], never, never, finish
    )
    with pytest.raises(AssertionError, match="lost") as caught:
        explorer.explore()
    steps = caught.value.__notes__[0].splitlines()
    assert sorted(steps[:2]) == ["client 0: ('get', 'counter')", "client 1: ('get', 'counter')"]
    assert len(steps) == 4


def test_values_that_cannot_be_compared_are_an_error() -> None:
    def odd(store: Storage) -> object:
        store.get("counter")
        return object()

    with pytest.raises(Incomparable, match="object"):
        explore(odd)
