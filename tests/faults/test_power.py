"""Power loss during pushes: every push whose checksum PUT was answered with 200 is complete."""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import raw
from tests.faults.engine import (
    Engine,
    Promises,
    StoreView,
    check_store,
    make_image,
    make_tar,
    squeeze,
)
from tests.faults.machine import Disk
from tests.faults.pushers import OTHERS, SAME, Pushers
from tests.live_server import Server
from tests.needs import needs


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path)
    disk.mount()
    try:
        yield disk
    finally:
        disk.unmount()


def lose_power(disk: Disk, rounds: int, seed: int) -> None:
    store = disk.mount_point / "store"
    chance = random.Random(seed)
    promises = Promises()
    finished: dict[str, str] = {}
    answered = 0
    for number in range(rounds):
        with Server(store, workers=2) as server:
            _serves(server, promises)
            with Pushers(server, f"{seed} {number}", promises, again=False):
                time.sleep(chance.uniform(0.3, 1.5))
                # A machine without power answers no client. This server still runs for a moment, and
                # XFS reports success for fsync of folders on the dead disk (EIO for files).
                promises.void = True
                disk.lose_power()
                server.kill()
        promises.void = False
        disk.unmount()
        disk.mount()

        view = check_store(store)
        assert view.problems == [], f"round {number}"
        assert view.broken_promises(promises) == [], f"round {number}"
        for one, layer in finished.items():
            assert view.finished.get(one) == layer, f"{one} was finished and has changed"
        finished = view.finished
        answered += len(promises.finished)
    assert answered > rounds, "the power went before anything was pushed"

    with Server(store) as server:
        _serves(server, promises)
        image = make_image("afterwards", squeeze(make_tar(1, 100_000), 0))
        engine = Engine(server, "power/afterwards")
        engine.push([image], "latest")
        assert engine.pull("latest") == {image.id: (image.json, image.layer)}


def _serves(server: Server, promises: Promises) -> None:
    """Check over HTTP that all confirmed images are complete, and that tags point to them."""
    for one in promises.finished:
        answer = raw.get(server, f"/v1/images/{one}/json")
        assert answer.status == 200, f"{one}: {answer}"
    for (repository, tag), one in promises.tags.items():
        answer = raw.get(server, f"/v1/repositories/{repository}/tags/{tag}")
        assert answer.json() == one
    for (repository, tag), one in list(promises.tags.items())[-(SAME + OTHERS) :]:
        assert one in Engine(server, repository).pull(tag)


def _seed() -> int:
    seed = int(os.environ.get("FAULTS_SEED") or random.SystemRandom().getrandbits(32))
    sys.stdout.write(f"FAULTS_SEED={seed}\n")  # shown when the test fails
    return seed


@pytest.mark.timeout(300)
@needs("xfs")
def test_power_goes_three_times(disk: Disk):
    lose_power(disk, 3, _seed())


@pytest.mark.heavy
@pytest.mark.timeout(900)
@needs("xfs")
def test_power_goes_thirty_times(disk: Disk):
    lose_power(disk, 30, _seed())


@needs("xfs")
def test_an_answer_is_sent_after_its_data_is_on_the_disk(disk: Disk):
    """The power is lost right after an answer. No other process could have synced the disk."""
    store = disk.mount_point / "store"
    image = make_image("each", squeeze(make_tar(1, 100_000), 0))
    path = "/v1/repositories/power/each"

    def after(status: int, act: Callable[[Engine], raw.Answer]) -> StoreView:
        with Server(store) as server:
            answer = act(Engine(server, "power/each"))
            disk.lose_power()
            assert answer.status == status, answer
            server.kill()
        disk.unmount()
        disk.mount()
        view = check_store(store)
        assert view.problems == []
        return view

    def put(path: str, body: bytes) -> Callable[[Engine], raw.Answer]:
        return lambda engine: raw.put(engine.server, path, body)

    def push(engine: Engine) -> raw.Answer:
        assert [engine.put_json(image).status, engine.put_layer(image).status] == [200, 200]
        return engine.put_checksum(image)

    view = after(200, put(f"{path}/", b'[{"id": "%b"}]' % image.id.encode()))
    assert view.lists == {"power/each": {image.id}}
    view = after(200, push)
    assert list(view.finished) == [image.id]  # perhaps with a mark, which the next read removes
    view = after(200, put(f"{path}/tags/v1", b'"%b"' % image.id.encode()))
    assert view.tags == {("power/each", "v1"): image.id}
    after(200, put(f"{path}/properties", b'{"access": "private"}'))
    assert (store / "repositories" / "power" / "each" / "_private").exists()
    assert after(200, lambda engine: raw.delete(engine.server, f"{path}/tags/v1")).tags == {}
    view = after(200, lambda engine: raw.get(engine.server, f"/v1/images/{image.id}/json"))
    assert list(view.finished) == [image.id]
    assert after(200, lambda engine: raw.delete(engine.server, f"{path}/")).lists == {}


@needs("xfs")
def test_a_disk_that_is_gone_is_a_clear_error(disk: Disk):
    image = make_image("gone", squeeze(make_tar(1, 300_000), 0))
    other = make_image("other", image.layer)
    with Server(disk.mount_point / "store", env={"CACHE_MEMORY": "0"}) as server:
        engine = Engine(server, "power/gone")
        engine.push([image], "latest")
        assert engine.put_json(other).status == 200
        disk.lose_power()
        answers = [
            engine.put_json(image),
            engine.put_layer(other),
            engine.put_checksum(other),
            raw.get(server, f"/v1/images/{image.id}/json"),
            raw.get(server, f"/v1/images/{image.id}/layer"),
            raw.get(server, "/v1/repositories/power/gone/tags"),
            raw.get(server, "/v1/repositories/power/gone/images"),
            raw.put(server, "/v1/repositories/power/gone/images", b"[]"),
        ]
        for answer in answers:
            assert (answer.status, list(answer.json())) == (503, ["error"])
            assert answer.header("Retry-After")
        assert raw.get(server, "/v1/_status").status == 503
        assert raw.get(server, "/v1/_ping").status == 200


@needs("xfs")
def test_the_disk_loses_data_that_is_not_synced(disk: Disk):
    """Without this, the other tests would prove nothing."""
    synced, renamed = disk.mount_point / "synced", disk.mount_point / "renamed"
    with synced.open("wb") as file:
        file.write(b"kept")
        file.flush()
        os.fsync(file.fileno())
    unsynced = disk.mount_point / "unsynced"
    unsynced.write_bytes(b"lost")
    unsynced.rename(renamed)
    disk.lose_power()
    disk.unmount()
    disk.mount()
    assert synced.read_bytes() == b"kept"
    assert not renamed.exists() or renamed.read_bytes() == b""
