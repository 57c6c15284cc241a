"""The read-only switch of a store: which methods it stops, and what a process remembers."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from v1registry.lib.support.lease import Lease
from v1registry.storage import keys, readonly
from v1registry.storage.errors import NotMounted, ReadOnly
from v1registry.storage.marker import KEY, MarkedStorage
from v1registry.storage.memory import MemoryStorage


class Clock:
    """The monotonic clock of the module, which only the test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        clock = SimpleNamespace(monotonic=lambda: self.now, time=lambda: 1_000_000_000.5)
        monkeypatch.setattr(readonly, "time", clock)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def driver() -> MemoryStorage:
    return MemoryStorage()


def node(driver: MemoryStorage) -> MarkedStorage:
    storage = MarkedStorage(driver)
    storage.prepare()
    return storage


def test_every_write_is_refused_and_every_read_goes_on(driver: MemoryStorage) -> None:
    storage = node(driver)
    storage.put("key", b"value")
    handle = storage.stage("images/layer", [b"layer"])
    storage.switch.switch_on("ann", "the store moves")
    for write in (
        lambda: storage.put("key", b"other"),
        lambda: storage.put_all({"key": b"other"}),
        lambda: storage.create("new", b"value"),
        lambda: storage.stage_values({"new": b"value"}),
        lambda: storage.delete("key"),
        lambda: storage.delete_if("key", b"value"),
        lambda: storage.delete_folder("images"),
        lambda: storage.stage("images/layer", [b"more"]),
        lambda: storage.commit(handle),
        lambda: storage.clean(1e12),
    ):
        with pytest.raises(ReadOnly, match="read-only at the moment: the store moves"):
            write()
    assert storage.get("key") == b"value"
    assert storage.is_staged(handle)
    storage.check()  # the health of the store does not depend on the switch
    storage.switch.switch_off()
    storage.commit(handle)
    assert storage.get("images/layer") == b"layer"


def test_other_nodes_notice_within_five_seconds(driver: MemoryStorage, clock: Clock) -> None:
    one, other = node(driver), node(driver)
    other.put("key", b"1")
    one.switch.switch_on("ann", "")
    clock.now = 4.9
    other.put("key", b"2")
    clock.now = 5.0
    with pytest.raises(ReadOnly, match="read-only at the moment, retry later"):
        other.put("key", b"3")
    assert other.switch.state() == readonly.ReadOnlyState(1_000_000_000, "ann", "")
    assert one.switch.switch_off()
    assert not one.switch.switch_off()
    one.put("key", b"4")
    with pytest.raises(ReadOnly):
        other.put("key", b"5")
    assert other.switch.state(anew=True) is None
    other.put("key", b"6")


def test_a_second_switch_on_keeps_the_time(driver: MemoryStorage, clock: Clock) -> None:
    switch = node(driver).switch
    switch.switch_on("ann", "one")
    readonly.time.time = lambda: 2_000_000_000.0  # type: ignore[attr-defined]
    assert switch.switch_on("bob", "two") == readonly.ReadOnlyState(1_000_000_000, "bob", "two")
    assert json.loads(driver.get(keys.READ_ONLY)) == {
        "since": 1_000_000_000, "by": "bob", "reason": "two",
    }  # fmt: skip


@pytest.mark.parametrize(
    "data", [b"", b"true", b"[]", b"{}", b'{"since": 1e999, "by": "", "reason": ""}', b"\xff"]
)
def test_a_damaged_switch_refuses_writes_and_can_be_set(driver: MemoryStorage, data: bytes) -> None:
    storage = node(driver)
    driver.put(keys.READ_ONLY, data)
    with pytest.raises(ReadOnly, match="_v1registry/readonly in the store is damaged"):
        storage.put("key", b"value")
    assert storage.switch.switch_off()
    storage.put("key", b"value")


def test_a_lease_can_be_released_but_not_taken(driver: MemoryStorage) -> None:
    storage = node(driver)
    lease = Lease(storage, "gc", 60)
    assert lease.take()
    storage.switch.switch_on("ann", "")
    lease.release()
    assert not list(driver.list(keys.LEASES))
    with pytest.raises(ReadOnly):
        lease.take()


def test_the_switch_of_another_store_is_not_set(driver: MemoryStorage) -> None:
    storage = node(driver)
    driver.put(KEY, b"store-" + b"0" * 32)
    with pytest.raises(NotMounted):
        storage.switch.switch_on("ann", "")
    assert storage.switch.state(anew=True) is None
