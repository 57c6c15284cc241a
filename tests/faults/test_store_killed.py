"""An object store that is killed with SIGKILL repeatedly while clients push and pull.

The store is Ceph on bluestore, which survives that: what it has confirmed is on the disk. The registry
keeps running, and its processes are not restarted.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import raw
from tests.backends.ceph import DAEMONS, Ceph
from tests.faults.engine import (
    Engine,
    Promises,
    PushedImage,
    check_store,
    leftovers,
    make_image,
    make_tar,
    squeeze,
)
from tests.faults.pushers import Pushers
from tests.live_server import ROOT, Server
from tests.needs import needs
from tests.protocol.places import S3Place
from tests.waiting import wait_for

MIB = 1024 * 1024
PULLERS = 6
SIZES = (3_000, 400_000, 7 * MIB)  # of layers that are pushed: of one part of an upload, and of two
LARGE = 24 * MIB  # of the one that is always being pulled when something dies
SOON = 45  # seconds after the store is back; radosgw takes some of them itself
READ_TIMEOUT = 3

KILLS = (
    ("radosgw",), ("ceph-osd",), ("radosgw",), ("ceph-osd", "radosgw"), ("radosgw",), ("ceph-osd",),
    tuple(DAEMONS),
)  # fmt: skip

# A gateway that dies while it completes an upload leaves a lock, by default for ten minutes.
_LOCKED = "rgw mp lock max time = 5"


@pytest.fixture
def ceph(tmp_path: Path) -> Iterator[Ceph]:
    with Ceph(tmp_path / "ceph", on_disk=True, more=_LOCKED) as running:
        yield running


class Pullers:
    """Clients that pull confirmed images all the time. Every successful answer must be correct."""

    def __init__(self, server: Server, promises: Promises, large: PushedImage) -> None:
        self.refused: list[raw.Answer] = []
        self.pulled: Counter[str] = Counter()  # layers, by image
        self.under_way = 0
        self.wrong: list[str] = []
        self._server = server
        self._promises = promises
        self._large = large
        self._ends = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(number,), daemon=True)
            for number in range(PULLERS)
        ]

    def __enter__(self) -> Pullers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in self._threads), "a client hangs"

    def _run(self, number: int) -> None:
        chance = random.Random(number)
        while not self._ends.is_set():
            with self._promises.lock:
                finished = sorted(self._promises.finished)
            one = self._large.id if number < 2 else chance.choice(finished)
            try:
                self._pull(one)
            except TimeoutError:
                self.wrong.append(f"{one[:12]}: no answer for long")
            except OSError:
                pass  # the connection broke before the announced end
            except AssertionError as error:
                self.wrong.append(f"{one[:12]}: {error}")
            self._ends.wait(0.05)

    @contextlib.contextmanager
    def one_under_way(self) -> Iterator[None]:
        """While the block runs the large layer is being pulled: completely, or with a visible error."""
        connection = http.client.HTTPConnection(self._server.host, timeout=60)
        with contextlib.closing(connection):
            connection.request("GET", f"/v1/images/{self._large.id}/layer")
            answer = connection.getresponse()
            assert answer.status == 200
            body = answer.read(100_000)
            yield
            self.under_way += 1
            with contextlib.suppress(OSError, http.client.IncompleteRead):
                body += answer.read()
                if body != self._large.layer:
                    self.wrong.append(f"{len(body)} bytes of the large layer, and a good end")

    def _pull(self, one: str) -> None:
        engine = Engine(self._server, "faults/pull")
        document = engine.ask("GET", f"/v1/images/{one}/json")
        if document.status != 200:
            self.refused.append(document)
            return
        layer = engine.ask("GET", f"/v1/images/{one}/layer")
        if layer.status != 200:
            self.refused.append(layer)
            return
        self.pulled[one] += 1
        found = hashlib.sha256(layer.body).hexdigest()
        with self._promises.lock:
            assert found in self._promises.sent[one], "a layer that nobody sent"
        assert document.header("X-Docker-Size") == str(len(layer.body))


@pytest.mark.heavy
@pytest.mark.timeout(400)
@needs("ceph")
def test_a_store_killed_under_pushes_and_pulls(ceph: Ceph, tmp_path: Path) -> None:
    place, promises = S3Place(ceph), Promises()
    env = {
        "GUNICORN_WORKERS": "3",
        "AWS_READ_TIMEOUT": str(READ_TIMEOUT),
        "AWS_PART_SIZE": "5MiB",
        "CLEAN_INTERVAL": "0",  # the command cleans at the end
        "CACHE_MEMORY": "100000",  # so small that most reads go to the store
    }
    with place.server(tmp_path, **env) as server:
        large = make_image("large", squeeze(make_tar(1, LARGE), 0))
        Engine(server, "faults/large", promises).push([large], "large")
        workers = wait_for(lambda: len(server.worker_pids()) == 3 and server.worker_pids())
        pushers = Pushers(server, "killed", promises, stubborn=True, sizes=SIZES)
        with Pullers(server, promises, large) as pullers, pushers:
            for number, names in enumerate(KILLS):
                rounds, pulled = pushers.rounds, pullers.pulled.total()
                # The registry has recovered: all kinds of requests succeed again.
                wait_for(
                    lambda r=rounds, p=pulled: (
                        pushers.rounds > r + 1 and pullers.pulled.total() > p + 1
                    ),
                    SOON,
                )
                time.sleep(random.Random(number).uniform(0, 1))
                with pullers.one_under_way():
                    ceph.kill(*names)
                    time.sleep((0.0, 1.0, 5.0)[number % 3])
                    ceph.start_again()
            wait_for(lambda r=pushers.rounds: pushers.rounds > r + 3, SOON)
        assert server.worker_pids() == workers  # no worker was restarted
        told(pushers, pullers)
        kept(place, promises, tmp_path / "after")
        read(server, promises)
    clean(place)
    view_of_rest(place, tmp_path / "cleaned")
    kept(place, promises, tmp_path / "still")


def told(pushers: Pushers, pullers: Pullers) -> None:
    """Check the answers that clients got meanwhile."""
    assert pullers.wrong == []
    refused = [*pushers.answers, *pullers.refused]
    assert {answer.status for answer in refused} == {503}, "\n".join(map(str, refused[:20]))
    assert {answer.header("Retry-After") for answer in refused} == {"5"}
    assert [text for text in pushers.refused if "503" not in text] == []
    assert pullers.under_way == len(KILLS)


def kept(place: S3Place, promises: Promises, folder: Path) -> None:
    """Read the store directly: nothing that was confirmed is missing or wrong."""
    copy(place, folder)
    view = check_store(folder)
    assert view.problems == []
    assert view.broken_promises(promises) == []


def copy(place: S3Place, folder: Path) -> None:
    """All objects, as files."""
    for key in place.names():
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        place.client.download_file(place.bucket, f"{place.root}/{key}", str(path))


def read(server: Server, promises: Promises) -> None:
    """The registry serves all that it has promised, whole."""
    for (repository, tag), one in promises.tags.items():
        layers = Engine(server, repository).pull(tag)
        assert one in layers
        for each, (_, layer) in layers.items():
            assert hashlib.sha256(layer).hexdigest() in promises.sent[each]


def clean(place: S3Place) -> None:
    time.sleep(1.1)  # the store tells times in whole seconds
    done = subprocess.run(
        [sys.executable, "-m", "v1registry", "clean", "--older-than", "0"],
        cwd=ROOT,
        env={**os.environ, **place.environ()},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


def view_of_rest(place: S3Place, folder: Path) -> None:
    """Nothing is left of the pushes that the kills broke."""
    assert place.staged() == []
    copy(place, folder)
    assert leftovers(folder) == []
    view = check_store(folder)
    assert (view.opened, view.remarked) == (set(), set())
