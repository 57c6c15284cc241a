"""Leases: of many processes, one runs a periodic task."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from v1registry.lib.support import lease
from v1registry.storage import keys
from v1registry.storage.local.driver import FileStorage


def test_one_process_holds_it_until_it_expires(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, now = FileStorage(tmp_path), [1000.0]
    monkeypatch.setattr(lease.time, "time", lambda: now[0])
    assert lease.take(storage, "clean", 60)
    assert not lease.take(storage, "clean", 60)
    assert lease.take(storage, "other", 60)
    now[0] = 1061.0
    assert lease.take(storage, "clean", 60)
    assert not lease.take(storage, "clean", 60)


def test_a_broken_or_far_off_lease_is_replaced(tmp_path: Path) -> None:
    storage = FileStorage(tmp_path)
    for text in (b"", b"[]", b'{"until": "x"}', b'{"until": 99999999999}'):
        storage.put(f"{keys.OURS}/leases/clean", text)
        assert lease.take(storage, "clean", 60)


def test_of_many_at_once_one_takes_it(tmp_path: Path) -> None:
    barrier, wins = threading.Barrier(8), []

    def race() -> None:
        barrier.wait()
        if lease.take(FileStorage(tmp_path), "clean", 60):
            wins.append(1)

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wins) == 1
