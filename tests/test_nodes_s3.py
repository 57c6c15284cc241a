"""Three nodes behind the documented nginx with one object store and one Redis, as in docs/nodes.md.

tests/cache/test_nodes.py tests the same on local files.
"""

from __future__ import annotations

import hashlib
import http.client
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import raw
from tests.faults.engine import (
    CHUNK,
    Engine,
    PushedImage,
    Unanswered,
    make_image,
    make_tar,
    run_all,
    squeeze,
)  # fmt: skip
from tests.live_server import Server
from tests.needs import require
from tests.nginx import Nginx
from tests.protocol.places import PLACES
from tests.redisserver import Redis

MIB = 1024 * 1024
NODES = 3
PASSED_OVER = 2.0  # seconds: `fail_timeout` of the example
LARGE = 24 * MIB  # more than the sockets between store and client can hold
SEARCH = 10.0  # seconds until all nodes find a new repository, as docs/nodes.md says


@dataclass
class Site:
    """`nginx` in front of `nodes`."""

    nginx: Nginx
    nodes: list[Server]

    @property
    def doors(self) -> list[Server | Nginx]:
        """All addresses of the site."""
        return [self.nginx, *self.nodes]


@pytest.fixture(scope="module", params=["s3", pytest.param("swift", marks=pytest.mark.heavy)])
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    require("nginx")
    require("redis")
    kind = PLACES[request.param]
    place = kind(request.getfixturevalue(kind.backend))
    folder = tmp_path_factory.mktemp("nodes")
    with ExitStack() as stack:
        short = stack.enter_context(tempfile.TemporaryDirectory(prefix="v1r-"))  # for its socket
        redis = stack.enter_context(Redis(Path(short)))
        env = {**redis.env, "SEARCH_BACKEND": "sqlalchemy"}
        nodes = [stack.enter_context(place.server(folder, **env)) for _ in range(NODES)]
        nginx = stack.enter_context(Nginx(folder / "nginx", [node.port for node in nodes]))
        yield Site(nginx, nodes)


def chain(name: str, size: int, number: int = 2) -> list[PushedImage]:
    """Return images on top of each other, the base image first."""
    found: list[PushedImage] = []
    for index in range(number):
        seed = int(hashlib.sha256(f"{name} {index}".encode()).hexdigest()[:8], 16)
        layer = squeeze(make_tar(seed, size), 0)
        found.append(make_image(f"{name} {index}", layer, found[-1] if found else None))
    return found


def whole(images: list[PushedImage]) -> dict[str, tuple[bytes, bytes]]:
    return {image.id: (image.json, image.layer) for image in images}


def test_a_push_through_one_node_is_visible_on_all_at_once(site: Site) -> None:
    for number, door in enumerate(site.doors):
        repository = f"team/everywhere{number}"
        images = chain(repository, MIB // 2)
        Engine(door, repository).push(images, "latest")
        for other in site.doors:
            reader = Engine(other, repository)
            assert reader.pull("latest") == whole(images)
            listed = reader.expect(200, "GET", f"/v1/repositories/{repository}/images").json()
            assert {item["id"] for item in listed} == {image.id for image in images}
            ancestry = reader.expect(200, "GET", f"/v1/images/{images[1].id}/ancestry").json()
            assert ancestry == [images[1].id, images[0].id]


def test_tags_are_never_stale(site: Site) -> None:
    """Each node has read the old state just before, and immediately shows the new one."""
    repository = "team/moving"
    path = f"/v1/repositories/{repository}/tags"
    one, two = chain("tags", 1000)
    Engine(site.nodes[0], repository).push([one, two], "moved")

    def shown() -> list[tuple[int, object, object]]:
        found = []
        for door in site.doors:
            tag = raw.get(door, f"{path}/moved")
            found.append((tag.status, tag.json(), raw.get(door, path).json()))
        return found

    for number in range(2 * NODES):
        writer = Engine(site.nodes[number % NODES], repository)
        image = (one, two)[number % 2]
        writer.put_tag("moved", image)
        assert shown() == [(200, image.id, {"moved": image.id})] * len(site.doors)
    for number in range(NODES):
        writer = Engine(site.nodes[number], repository)
        writer.put_tag("kept", one)
        writer.expect(200, "DELETE", f"{path}/moved")
        gone = (404, {"error": "Tag not found"}, {"kept": one.id})
        assert shown() == [gone] * len(site.doors)
        writer.put_tag("moved", one)
    Engine(site.nodes[2], repository).expect(200, "DELETE", f"/v1/repositories/{repository}/")
    assert [raw.get(door, path).status for door in site.doors] == [404] * len(site.doors)


def test_search_finds_a_new_repository_in_time(site: Site) -> None:
    """All nodes have searched just before the push."""
    repository = "team/searched"

    def finding() -> list[bool]:
        answers = [raw.get(node, "/v1/search?q=searched").json() for node in site.nodes]
        return [[item["name"] for item in found["results"]] == [repository] for found in answers]

    assert finding() == [False] * NODES
    looked = time.monotonic()
    Engine(site.nodes[0], repository).push(chain("searched", 1000), "latest")
    while not all(finding()):
        assert time.monotonic() < looked + SEARCH + 3, "later than docs/nodes.md says"
        time.sleep(0.1)


# -- a node dies ----------------------------------------------------------------------------------


class Pull:
    """A running download of a layer, by a client that reads on demand, and resumes as engines do."""

    def __init__(self, nginx: Nginx, image: PushedImage) -> None:
        self._nginx = nginx
        self._image = image
        self._data = b""
        self.cuts = 0
        self._ask()
        self._take(64 * 1024)

    def finish(self) -> bytes:
        while len(self._data) < len(self._image.layer):
            if not self._take(MIB):
                self.cuts += 1
                assert self.cuts < 10
                self._connection.close()
                self._ask()
        self._connection.close()
        return self._data

    def _ask(self) -> None:
        size, have = len(self._image.layer), len(self._data)
        self._connection = http.client.HTTPConnection("127.0.0.1", self._nginx.port, timeout=30)
        # engines name the byte after the last one
        headers = {"Range": f"bytes={have}-{size}"} if have else {}
        self._connection.request("GET", f"/v1/images/{self._image.id}/layer", headers=headers)
        self._answer = self._connection.getresponse()
        assert self._answer.status == (206 if have else 200)
        # so that the client detects an early end
        assert self._answer.headers["Content-Length"] == str(size - have)

    def _take(self, most: int) -> bool:
        try:
            piece = self._answer.read(most)
        except ConnectionError:
            return False
        self._data += piece
        return bool(piece)


class Push:
    """An upload of which the first half is sent."""

    def __init__(self, nginx: Nginx, image: PushedImage) -> None:
        self.image = image
        self._engine = Engine(nginx, "team/killed")
        assert self._engine.put_json(image).status == 200
        request = raw.encode(
            "PUT", f"/v1/images/{image.id}/layer", nginx.host, {}, image.layer, CHUNK
        )
        self._connection = raw.Connection(nginx)
        half = len(request) // 2
        self._connection.send(request[:half])
        self._rest = request[half:]

    def finish(self) -> int:
        """Send the rest and return the status, 0 without an answer. Then push again, as a user does."""
        try:
            self._connection.send(self._rest)
            status = self._connection.read("PUT").status
        except (OSError, raw.Malformed):
            status = 0
        self._connection.close()
        push_until_done(self._engine, [self.image], self.image.id[:12])
        return status


def push_until_done(engine: Engine, images: list[PushedImage], tag: str) -> None:
    for attempt in range(10):
        try:
            engine.push(images, tag)
            return
        except OSError:
            pass
        except Unanswered as error:
            if error.answer.status not in (502, 504):  # from nginx, for a node that is down
                raise
        time.sleep(0.2 * (attempt + 1))
    raise AssertionError("the push never ends")


def test_a_node_dies_in_the_middle_of_pushes_and_pulls(site: Site) -> None:
    [large] = chain("large", LARGE, 1)
    Engine(site.nodes[0], "team/killed").push([large], "large")
    victim = site.nodes[1]
    # nginx distributes requests, so some transfers use the killed node.
    pulls = [Pull(site.nginx, large) for _ in range(2 * NODES)]
    pushes = [Push(site.nginx, chain(f"killed {n}", 2 * MIB, 1)[0]) for n in range(2 * NODES)]
    time.sleep(0.5)
    victim.kill()
    try:
        statuses = run_all([push.finish for push in pushes])
        assert run_all([pull.finish for pull in pulls]) == [large.layer] * len(pulls)
        # some transfers were cut, and only those through the killed node
        assert 0 < sum(pull.cuts for pull in pulls) < len(pulls)
        assert set(statuses) <= {200, 0, 502}
        assert 0 < statuses.count(200) < len(statuses)
        after = chain("after", MIB)
        Engine(site.nginx, "team/killed").push(after, "after")
    finally:
        victim.start_again()
    for door in site.doors:
        reader = Engine(door, "team/killed")
        for push in pushes:
            assert reader.pull(push.image.id[:12]) == whole([push.image])
        assert reader.pull("after") == whole(after)
        assert reader.pull("large") == whole([large])


# -- a rolling restart ----------------------------------------------------------------------------


def pull_on(stop: threading.Event, pull: Callable[[], None]) -> int:
    done = 0
    while not stop.is_set():
        pull()
        done += 1
    return done


@pytest.mark.heavy
def test_rolling_restarts_without_a_failed_pull(site: Site) -> None:
    roll(site, rounds=6, pullers=12)


def roll(site: Site, rounds: int, pullers: int) -> None:
    """Restart each node in turn while fast clients pull, and slow clients pull a large layer."""
    images = chain("rolling", 100_000)
    [large] = chain("rolling large", LARGE, 1)
    engine = Engine(site.nginx, "team/rolling")
    engine.push(images, "latest")
    engine.push([large], "large")
    stop = threading.Event()

    def quick() -> None:
        assert engine.pull("latest") == whole(images)
        stop.wait(0.05)  # leave CPU time for the other processes

    def slow() -> None:
        pull = Pull(site.nginx, large)
        stop.wait(1.5)
        assert pull.finish() == large.layer
        assert pull.cuts == 0

    def restart() -> int:
        try:
            for node in site.nodes * rounds:
                assert node.stop() == 0
                node.start_again()
                time.sleep(PASSED_OVER + 0.2)  # until nginx uses the node again
        finally:
            stop.set()
        return 0

    clients = [lambda: pull_on(stop, quick)] * pullers + [lambda: pull_on(stop, slow)] * 2
    *counts, _ = run_all([*clients, restart], 60 * rounds)
    assert min(counts) > 2, counts
