"""Workers killed with SIGKILL at any point, hundreds of times: no confirmed push is lost.

After each stop the files are checked as 0.9.1 would read them: no complete image is broken.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import raw
from tests.faults.engine import (
    Engine,
    Promises,
    check_store,
    leftovers,
    make_image,
    make_tar,
    squeeze,
    until_answered,
)
from tests.faults.pushers import OTHERS, SAME, Pushers
from tests.live_server import ROOT, Server
from tests.oldregistry import OldRegistry
from tests.waiting import wait_for
from v1registry.server.buffer_pool import PIECE

WATCHED = ("_inprogress", "_commit", "layer", "json", "ancestry", "_checksum")


class Killer:
    """Kills processes of a server at random points of the pushes."""

    def __init__(self, server: Server, pushers: Pushers, chance: random.Random) -> None:
        self.server = server
        self.pushers = pushers
        self.chance = chance
        self.kills = 0
        self.finished: dict[
            str, str
        ] = {}  # complete images seen so far: id -> SHA-256 of the layer

    def run(self, kills: int) -> None:
        while self.kills < kills:
            self._come_to_a_point()
            kind = self.chance.random()
            if kind < 0.55:
                self._kill_workers(1)
            elif kind < 0.95:
                self._kill_workers(self.server.workers)
            else:
                self._kill_master()
            self._look()
        self._kill_master()
        self._look()

    def _come_to_a_point(self) -> None:
        """Wait for a random time, or until the newest image gets one of its files."""
        wait_for(lambda: self.server.worker_pids() and self._answers())
        end = time.monotonic() + self.chance.uniform(0.0, 0.3)
        if self.chance.random() < 0.6:
            part = self.pushers.newest / self.chance.choice(WATCHED)
            was = part.exists()
            while part.exists() == was and time.monotonic() < end:
                pass  # a sleep would miss the moment
        else:
            time.sleep(end - time.monotonic())

    def _kill_workers(self, count: int) -> None:
        pids = self.server.worker_pids()
        self.chance.shuffle(pids)
        for pid in pids[:count]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.kills += 1

    def _kill_master(self) -> None:
        """Kill the master. Its workers must notice and exit; then start the server again."""
        workers = self.server.worker_pids()
        os.kill(self.server.pid, signal.SIGKILL)
        wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
        self.server.kill()
        self._look()
        old = OldRegistry(self.server.store)  # as after a roll-back at this point
        assert [text for one in old.images() for text in old.image_problems(one)] == []
        self.server.restart()
        self.kills += 1

    def _look(self) -> None:
        view = check_store(self.server.store)
        assert view.problems == [], f"after kill {self.kills}"
        for one, layer in self.finished.items():
            assert view.finished.get(one) == layer, f"{one} was finished and has changed"
        self.finished = view.finished

    def _answers(self) -> bool:
        with contextlib.suppress(OSError, raw.Malformed):
            return raw.get(self.server, "/v1/_ping").status == 200
        return False


def crash(store: Path, kills: int, seed: int) -> None:
    """Kill processes `kills` times during pushes; then everything that was confirmed must exist."""
    with Server(store, workers=2) as server:
        with Pushers(server, seed) as pushers:
            killer = Killer(server, pushers, random.Random(seed))
            killer.run(kills)
        promises = pushers.promises
        assert pushers.refused == []
        assert pushers.cut > kills / 4, "the kills hit nobody"
        assert pushers.rounds >= SAME + OTHERS

        view = check_store(server.store)
        assert view.problems == []
        assert view.broken_promises(promises) == []
        _serves(server, promises)
        _cleans(server)
        # Now the marks of killed workers are deleted, for 0.9.1 too, and nothing is lost.
        view = check_store(server.store)
        assert (view.problems, view.remarked, view.opened) == ([], set(), set())
        assert view.broken_promises(promises) == []
        old = OldRegistry(store)
        assert old.problems() == []
        assert promises.finished <= set(old.images())
        for repository, ids in promises.lists.items():
            assert ids <= view.lists[repository], "the list that 0.x reads lacks ids"


def _serves(server: Server, promises: Promises) -> None:
    for (repository, tag), one in list(promises.tags.items())[-20:]:
        assert one in Engine(server, repository).pull(tag)


def _cleans(server: Server) -> None:
    subprocess.run(
        [sys.executable, "-m", "v1registry", "clean", "--older-than", "0"],
        cwd=ROOT,
        env={**os.environ, "SETTINGS_FLAVOR": "local", "STORAGE_PATH": str(server.store)},
        check=True,
        timeout=60,
    )
    assert leftovers(server.store) == []


def _seed() -> int:
    seed = int(os.environ.get("FAULTS_SEED") or random.SystemRandom().getrandbits(32))
    sys.stdout.write(f"FAULTS_SEED={seed}\n")  # shown when the test fails
    return seed


@pytest.mark.timeout(300)
def test_twenty_kills(store: Path):
    crash(store, 20, _seed())


@pytest.mark.heavy
@pytest.mark.timeout(300)
@pytest.mark.parametrize("store_no", range(8))
def test_hundreds_of_kills(store: Path, store_no: int):
    """In several stores: each kill is followed by a check of a whole store, which grows."""
    crash(store, 40, _seed())


def test_a_killed_upload_is_repeated_and_its_leftovers_are_deleted(own_server: Server):
    """A kill in the middle of a layer."""
    image = make_image("half", squeeze(make_tar(1, 2 * PIECE), 0))
    engine = Engine(own_server, "crash/half")
    assert engine.put_json(image).status == 200
    data = raw.encode(
        "PUT", f"/v1/images/{image.id}/layer", own_server.host, {}, image.layer, 32768
    )
    uploads = own_server.store / "_v1registry" / "uploads"

    with raw.Connection(own_server) as connection:
        connection.send(data[: len(data) * 3 // 4])
        wait_for(lambda: any(path.stat().st_size for path in uploads.glob("stage-*")))
        [worker] = own_server.worker_pids()
        os.kill(worker, signal.SIGKILL)
        wait_for(lambda: own_server.worker_pids() not in ([], [worker]))

    assert len(list(uploads.glob("stage-*"))) == 1
    assert check_store(own_server.store).problems == []
    assert raw.get(own_server, f"/v1/images/{image.id}/json").status == 400
    push: Callable[[], None] = lambda: engine.push([image], "latest")  # noqa: E731
    until_answered(push)
    assert engine.pull("latest") == {image.id: (image.json, image.layer)}
    _cleans(own_server)
