"""The name index of a store: which process walks, what the others read, and its limits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from v1registry.lib.errors import Failure
from v1registry.lib.repositories import name_index
from v1registry.lib.repositories.name_index import NameSnapshot, RepositoryNameIndex
from v1registry.lib.support import lease
from v1registry.storage.errors import Refused, Unavailable
from v1registry.storage.memory import MemoryStorage

SHORT = 0.2  # seconds


class CountingStorage(MemoryStorage):
    """A store that counts walks, and can be slow, unavailable, or read-only."""

    def __init__(self) -> None:
        super().__init__()
        self.walks = 0
        self.gate = threading.Event()
        self.gate.set()
        self.error: Exception | None = None
        self.closed = False

    def list(self, folder: str) -> Any:
        if folder == "repositories":
            self.walks += 1
            assert self.gate.wait(10)
        if self.error is not None:
            raise self.error
        return super().list(folder)

    def create(self, key: str, data: bytes) -> bool:
        if self.closed:
            raise Refused(key)
        return super().create(key, data)

    def put(self, key: str, data: bytes, **more: Any) -> None:
        if self.closed:
            raise Refused(key)
        super().put(key, data, **more)


@pytest.fixture
def store() -> CountingStorage:
    made = CountingStorage()
    for name in ("team/app", "team/web", "library/busybox"):
        made.put(f"repositories/{name}/tag_latest", b"0" * 64)
    made.put("repositories/team/web/_private", b"")
    return made


def here(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


def of(store: CountingStorage, *, read_only: bool = False) -> RepositoryNameIndex:
    return RepositoryNameIndex(store, here, read_only=read_only)


def test_one_process_walks_for_all(store: CountingStorage) -> None:
    rosters = [of(store) for _ in range(8)]
    found: list[NameSnapshot] = []
    threads = [threading.Thread(target=lambda r=r: found.append(r.names())) for r in rosters]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert [names.all for names in found] == [("library/busybox", "team/app", "team/web")] * 8
    assert {name for names in found for name in names.private} == {"team/web"}
    assert store.walks == 1


def test_the_names_of_a_walk_that_has_just_ended_are_used(
    store: CountingStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The walk ends between the read of the names and the lease."""
    take = lease.take

    def late(*given: Any) -> bool:
        monkeypatch.setattr(lease, "take", take)
        of(store).names()
        return take(*given)

    monkeypatch.setattr(lease, "take", late)
    assert of(store).names().all == ("library/busybox", "team/app", "team/web")
    assert store.walks == 1


def test_new_names_are_found_in_time(store: CountingStorage, monkeypatch: Any) -> None:
    one, other = of(store), of(store)
    assert len(one.names().all) == len(other.names().all) == 3
    store.put("repositories/team/new/tag_latest", b"0" * 64)
    assert len(one.names().all) == 3
    later = time.time() + 2 * name_index.MIN_AGE
    monkeypatch.setattr(name_index.time, "time", lambda: later)
    one._due = other._due = 0.0
    assert len(one.names().all) == 4
    assert len(other.names().all) == 4


def test_no_request_waits_for_a_long_walk(store: CountingStorage, monkeypatch: Any) -> None:
    names = of(store)
    assert len(names.names().all) == 3
    assert names._last_walk is not None
    object.__setattr__(names._last_walk, "took", 50.0)
    object.__setattr__(names._last_walk, "began", 0.0)
    store.delete(name_index._KEY)
    store.gate.clear()
    names._due = 0.0
    store.put("repositories/team/new/tag_latest", b"0" * 64)
    assert len(names.names().all) == 3  # at once, although another process walks
    running = names._start()
    store.gate.set()
    assert running.wait(10)
    assert len(names.names().all) == 4


def test_the_first_time_may_take_too_long(store: CountingStorage, monkeypatch: Any) -> None:
    monkeypatch.setattr(name_index, "FIRST_WAIT", SHORT)
    assert lease.take(store, "names", 60)  # by a process that walks, or died
    with pytest.raises(Failure) as found:
        of(store).names()
    assert (found.value.status, found.value.headers) == (503, {"Retry-After": "10"})
    lease.release(store, "names")
    assert len(of(store).names().all) == 3


def test_a_store_that_is_unavailable(
    store: CountingStorage, caplog: pytest.LogCaptureFixture
) -> None:
    names = of(store)
    store.error = Unavailable("gone")
    with pytest.raises(Unavailable):
        names.names()
    store.error = None
    lease.release(store, "names")
    assert len(names.names().all) == 3
    store.error = Unavailable("gone")
    store.delete(name_index._KEY)
    names._due = 0.0
    assert len(names.names().all) == 3  # the old ones
    assert "cannot be refreshed" in caplog.text


@pytest.mark.parametrize("read_only", [True, False])
def test_a_read_only_store_is_walked(store: CountingStorage, read_only: bool) -> None:
    store.closed = True
    names = of(store, read_only=read_only)
    assert len(names.names().all) == 3
    assert not list(store.list("_v1registry"))


def test_invalid_stored_names_are_ignored(store: CountingStorage) -> None:
    for value in (b"", b"[]", b"{}", b'{"names": 5}', b"\xff"):
        store.put(name_index._KEY, value)
        assert len(of(store).names().all) == 3


def test_names_that_contain_a_text() -> None:
    names = NameSnapshot(("a/b", "a/bab", "b/A", "team/\u0130x", "z/last"), frozenset())
    for text, expected in [
        ("", ["a/b", "a/bab", "b/A", "team/\u0130x", "z/last"]),
        ("a", ["a/b", "a/bab", "b/A", "team/\u0130x", "z/last"]),
        ("b", ["a/b", "a/bab", "b/A"]),
        ("B/a", ["b/A"]),
        ("b\na", []),
        ("x", ["team/\u0130x"]),
        ("last", ["z/last"]),
        ("z/last1", []),
    ]:
        assert list(names.containing(text)) == expected, text
    assert list(NameSnapshot((), frozenset()).containing("x")) == []
