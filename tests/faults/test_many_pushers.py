"""Many clients push at once to several workers. Every push with correct bytes succeeds."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from tests import raw
from tests.faults.engine import (
    Engine,
    PushedImage,
    check_store,
    image_id,
    leftovers,
    make_image,
    make_tar,
    run_all,
    squeeze,
)
from tests.live_server import Server
from v1registry.lib.names import RepositoryName
from v1registry.lib.repositories.image_list import ImageLists
from v1registry.storage.local.driver import FileStorage

CLIENTS = 24
MISMATCH = {"error": "Checksum mismatch"}
CLOSED = {"error": "Cannot set this image checksum"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("many") / "store", workers=3) as running:
        yield running


def copies(name: str, count: int, size: int = 200_000) -> list[PushedImage]:
    """Return one image as `count` clients have it: the same tar with different gzip bytes."""
    tar = make_tar(len(name), size)
    return [make_image(name, squeeze(tar, number)) for number in range(count)]


def parts(store: Path, one: str) -> dict[str, tuple[bytes, int]]:
    """Return contents and change time of all files of an image except a mark."""
    folder = store / "images" / one
    return {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.iterdir()
        if path.name != "_inprogress"  # a late client may write it for a moment
    }


def whole_copy(server: Server, images: list[PushedImage]) -> PushedImage:
    """Return the one of `images` that the server stores and serves completely."""
    one = images[0].id
    view = check_store(server.store)
    assert view.problems == []
    stayed = [i for i in images if hashlib.sha256(i.layer).hexdigest() == view.finished[one]]
    document = raw.get(server, f"/v1/images/{one}/json")
    stayed = [i for i in stayed if i.json == document.body]
    assert len(stayed) == 1
    assert document.all("X-Docker-Checksum-Payload") == [stayed[0].checksum]
    assert raw.get(server, f"/v1/images/{one}/layer").body == stayed[0].layer
    assert json.loads(raw.get(server, f"/v1/images/{one}/ancestry").body)[0] == one
    return stayed[0]


def test_all_pushes_of_one_image_succeed(server: Server):
    images = copies("free", CLIENTS)
    told = run_all([partial(Engine(server, "many/free").push_image, image) for image in images])
    assert set(told) <= {"pushed", "exists"}
    assert "pushed" in told
    whole_copy(server, images)


@pytest.mark.parametrize("turn", range(6))
def test_pushes_in_step_are_not_answered_that_the_image_exists(server: Server, turn: int):
    """All JSONs are sent before the first layer, all layers before the first checksum.

    The image at the time of the first success does not change afterwards.
    """
    name, variants = f"in step {turn}", ("", "another engine's JSON")
    tar = make_tar(turn, 150_000)
    images = [make_image(name, squeeze(tar, n), comment=variants[n % 2]) for n in range(CLIENTS)]
    step = threading.Barrier(CLIENTS, timeout=60)

    def contents() -> dict[str, bytes]:
        # All processes that complete the commit may write the same bytes.
        return {name: data for name, (data, _) in parts(server.store, images[0].id).items()}

    def push(image: PushedImage) -> tuple[list[int], dict[str, bytes]]:
        engine, statuses = Engine(server, "many/step"), []
        for act in (engine.put_json, engine.put_layer, engine.put_checksum):
            step.wait()
            statuses.append(act(image).status)
        return statuses, contents()

    told = run_all([partial(push, image) for image in images])
    stayed = whole_copy(server, images)
    for statuses, seen in told:
        assert statuses == [200, 200, 200]
        assert seen == contents()
    assert not [name for name in leftovers(server.store) if f"{stayed.id}%2Flayer" in name]


def test_a_complete_image_never_changes(server: Server):
    images = copies("finished", 4)
    engine = Engine(server, "many/finished")
    assert engine.push_image(images[0]) == "pushed"
    before = parts(server.store, images[0].id)

    for image in images[1:]:
        answer = engine.put_json(image)
        assert (answer.status, answer.json()) == (409, {"error": "Image already exists"})
        assert engine.put_layer(image).status == 200
        assert engine.put_checksum(image).status == 200
    assert engine.put_checksum(images[0]).status == 200
    never_sent = copies("finished", 5)[4]
    answer = engine.put_checksum(never_sent)
    assert (answer.status, answer.json()) == (409, CLOSED)

    assert parts(server.store, images[0].id) == before
    assert whole_copy(server, images) is images[0]
    assert not [name for name in leftovers(server.store) if images[0].id + "%2Flayer" in name]


def test_late_pushes_of_an_image_that_is_completed_meanwhile(server: Server):
    """JSON before, layer and checksum after another client has completed the image."""
    early, late, half = copies("late", 3)
    engine = Engine(server, "many/late")
    assert engine.put_json(late).status == 200
    assert engine.put_json(half).status == 200
    assert engine.put_layer(half).status == 200
    assert engine.push_image(early) == "pushed"
    assert engine.put_layer(late).status == 200
    assert engine.put_checksum(late).status == 200
    assert engine.put_checksum(half).status == 200
    assert whole_copy(server, [early, late, half]) is early


def test_damaged_pushers_never_succeed(server: Server):
    images = copies("damaged", CLIENTS)
    step = threading.Barrier(CLIENTS, timeout=60)

    def push(number: int) -> tuple[int, object]:
        image, engine = images[number], Engine(server, "many/damaged")
        damaged = number % 3 == 0
        sent = image.layer[:-1] + bytes([image.layer[-1] ^ 1]) if damaged else image.layer
        step.wait()
        answer = engine.put_json(image)
        if answer.status == 409 and not damaged:
            return 200, True  # as engines treat it
        engine.put_layer(make_image("damaged", sent))
        answer = engine.put_checksum(image)
        return answer.status, answer.json()

    told = run_all([partial(push, number) for number in range(CLIENTS)])
    for number, answer in enumerate(told):
        if number % 3:
            assert answer == (200, True)
        else:
            assert answer in ((400, MISMATCH), (409, CLOSED))
    whole_copy(server, [image for number, image in enumerate(images) if number % 3])


def test_only_damaged_pushers_leave_the_image_open(server: Server):
    image = copies("open", 1)[0]
    engine = Engine(server, "many/open")
    assert engine.put_json(image).status == 200
    answer = engine.put_checksum(image)
    assert answer.status == 400
    assert engine.put_layer(make_image("open", image.layer[:-1])).status == 200
    answer = engine.put_checksum(image)
    assert (answer.status, answer.json()) == (400, MISMATCH)
    answer = raw.get(server, f"/v1/images/{image.id}/json")
    assert answer.status == 400
    assert check_store(server.store).problems == []
    assert engine.push_image(image) == "pushed"
    assert whole_copy(server, [image]) is image


def test_one_list_of_many_pushes_holds_all_ids(server: Server):
    groups = [
        [make_image(f"listed-{n}-{m}", squeeze(make_tar(n, 2000), m)) for m in range(2)]
        for n in range(16)
    ]

    def push(number: int) -> None:
        Engine(server, "many/listed").push(groups[number], tag=f"t{number}")

    run_all([partial(push, number) for number in range(len(groups))])
    wanted = {image.id for group in groups for image in group}
    answer = raw.get(server, "/v1/repositories/many/listed/images")
    assert {item["id"] for item in answer.json()} == wanted
    view = check_store(server.store)
    assert view.problems == []
    assert view.lists["many/listed"] == wanted  # as 0.x reads the list
    tags = raw.get(server, "/v1/repositories/many/listed/tags").json()
    assert tags == {f"t{n}": group[-1].id for n, group in enumerate(groups)}


def merge_lists(root: str, process: int, turns: int, together: Barrier) -> None:
    """Run one of many processes: in each turn it updates a repository's image list twice."""
    lists = ImageLists(FileStorage(root))
    for turn in range(turns):
        repository = RepositoryName.parse(f"team/app{turn}")
        together.wait(60)
        for number in range(2):
            item = {"id": image_id(f"{process}-{number}"), "Tag": "latest"}
            if number % 2:
                item["checksum"] = f"tarsum+sha256:{process}"
            lists.update(repository, json.dumps([item, {"id": image_id("common")}]).encode())


def test_processes_that_rewrite_one_list_lose_nothing(store: Path):
    processes, turns = 8, 10
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(processes)
    started = [
        context.Process(target=merge_lists, args=(str(store), number, turns, together))
        for number in range(processes)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join(90)
        assert process.exitcode == 0

    wanted = {image_id(f"{p}-{n}") for p in range(processes) for n in range(2)}
    wanted.add(image_id("common"))
    for turn in range(turns):
        path = store / "repositories" / "team" / f"app{turn}" / "_index_images"
        as_0x = json.loads(path.read_bytes())
        assert sorted(item["id"] for item in as_0x) == sorted(wanted)
        ours = ImageLists(FileStorage(store)).get(RepositoryName.parse(f"team/app{turn}"))
        assert {item["id"] for item in ours} == wanted
        sums = {item["id"]: item.get("checksum") for item in ours}
        for number in range(processes):
            assert sums[image_id(f"{number}-1")] == f"tarsum+sha256:{number}"


class Overtaken(FileStorage):
    """Lets another process merge its list just before our list, which was read earlier, is written."""

    other: Callable[[], None] | None = None

    def put_all(self, values: Mapping[str, bytes]) -> None:
        if self.other is not None:
            assert list(values)[-1].endswith("/_index_images")
            other, self.other = self.other, None
            other()
        super().put_all(values)


@pytest.mark.parametrize("first", [True, False])
def test_a_list_changed_by_another_process_is_written_again(store: Path, first: bool):
    repository = RepositoryName.parse("team/overtaken")
    overtaken = Overtaken(store)
    if not first:
        ImageLists(overtaken).update(repository, b"[]")
    item = b'[{"id": "%b", "checksum": "tarsum+sha256:1"}]'
    ours, others = image_id("ours"), image_id("others")
    overtaken.other = lambda: ImageLists(FileStorage(store)).update(
        repository, item % others.encode()
    )
    ImageLists(overtaken).update(repository, item % ours.encode())
    assert overtaken.other is None
    path = store / "repositories" / "team" / "overtaken" / "_index_images"
    as_0x = {item["id"]: item["checksum"] for item in json.loads(path.read_bytes())}
    assert as_0x == {ours: "tarsum+sha256:1", others: "tarsum+sha256:1"}


def test_children_of_a_base_that_is_pushed_at_once(server: Server):
    """Each client pushes the common base image and its own child."""
    bases = copies("base", 12, size=50_000)

    def push(number: int) -> None:
        base = bases[number]
        child = make_image(f"child-{number}", squeeze(make_tar(number, 5000), 0), base)
        Engine(server, f"many/child-{number}").push([base, child], tag="latest")

    acts: list[Callable[[], None]] = [partial(push, number) for number in range(len(bases))]
    run_all(acts)
    stayed = whole_copy(server, bases)
    for number in range(len(bases)):
        pulled = Engine(server, f"many/child-{number}").pull("latest")
        assert list(pulled) == [stayed.id, image_id(f"child-{number}")]
        assert pulled[stayed.id] == (stayed.json, stayed.layer)
