"""A store that is full, read-only or unreadable: clear errors, and the registry keeps working."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests import raw
from tests.faults.engine import (
    Engine,
    PushedImage,
    check_store,
    leftovers,
    make_image,
    make_tar,
    run_all,
    squeeze,
)
from tests.faults.machine import obeying_modes, run, tmpfs
from tests.live_server import Server
from tests.needs import needs, require

MIB = 1024 * 1024
FULL = {"error": "The store is full"}
REFUSED = {"error": "The store refused"}


def image(name: str, size: int, parent: PushedImage | None = None) -> PushedImage:
    return make_image(name, squeeze(make_tar(len(name), size), 0), parent)


class SmallStore:
    """A server on a small file system, which `fill` fills up."""

    def __init__(self, room: Path, server: Server) -> None:
        self.room = room
        self.server = server
        self.engine = Engine(server, "full/app")
        self._filler = room / "filler"

    def fill(self, free: int = 0) -> None:
        """Fill the file system, except for the given number of bytes."""
        with self._filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        with self._filler.open("r+b") as file:
            file.truncate(self._filler.stat().st_size - free)

    def empty(self) -> None:
        self._filler.unlink()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[SmallStore]:
    require("tmpfs")
    with tmpfs(tmp_path / "room", "size=24m,nr_inodes=300") as room:
        with Server(room / "store", env={"CACHE_MEMORY": "0"}) as server:
            yield SmallStore(room, server)


def is_error(answer: raw.Answer, status: int, body: object) -> bool:
    return (answer.status, answer.json(), answer.header("Content-Type")) == (
        status,
        body,
        "application/json",
    )


def serves_on(small: SmallStore, held: PushedImage) -> None:
    """Check that earlier images can be pulled, and that the failed push left nothing."""
    assert raw.get(small.server, "/v1/_ping").status == 200
    assert small.engine.pull("before") == {held.id: (held.json, held.layer)}
    assert check_store(small.server.store).problems == []
    uploads = small.server.store / "_v1registry" / "uploads"
    assert list(uploads.iterdir()) == []


def test_a_layer_larger_than_the_free_space(small: SmallStore):
    held, large = image("held", 20_000), image("large", 12 * MIB)
    small.engine.push([held], "before")
    small.fill(free=4 * MIB)

    assert small.engine.put_json(large).status == 200
    assert is_error(small.engine.put_layer(large), 507, FULL)
    serves_on(small, held)
    # A layer that still fits is accepted.
    fits = image("fits", 1 * MIB)
    assert small.engine.push_image(fits) == "pushed"

    small.empty()
    small.engine.push([large], "after")
    assert small.engine.pull("after") == {large.id: (large.json, large.layer)}
    serves_on(small, held)


def test_a_client_that_still_sends_gets_the_answer(small: SmallStore):
    """The answer arrives when half of the layer is sent, and stays: engines read it after the last byte."""
    large = image("large", 16 * MIB)
    small.fill(free=2 * MIB)
    assert small.engine.put_json(large).status == 200
    path = f"/v1/images/{large.id}/layer"
    data = raw.encode("PUT", path, small.server.host, {}, large.layer, 32 * 1024)
    for look_at in (len(data) // 2, len(data) - 1, len(data)):
        with raw.Connection(small.server) as connection:
            connection.send(data[:look_at])
            assert is_error(connection.read("PUT"), 507, FULL)
            connection.send(data[look_at:])


def test_two_pushes_that_fit_only_one_by_one(small: SmallStore):
    images = [image(f"half {'x' * n}", 6 * MIB) for n in range(2)]
    small.fill(free=9 * MIB)
    for one in images:
        assert small.engine.put_json(one).status == 200
    told = run_all([partial(small.engine.put_layer, one) for one in images])
    assert 507 in [answer.status for answer in told]
    assert {answer.status for answer in told} <= {200, 507}
    small.empty()
    for one in images:
        assert small.engine.push_image(one) == "pushed"
    assert check_store(small.server.store).finished.keys() == {one.id for one in images}


def test_every_step_answers_that_the_store_is_full(small: SmallStore):
    held, new = image("held", 20_000), image("new", 20_000)
    small.engine.push([held], "before")
    repository = f"/v1/repositories/{small.engine.repository}"
    item = b'[{"id": "' + new.id.encode() + b'"}]'

    small.fill()
    assert is_error(raw.put(small.server, f"{repository}/", item), 507, FULL)
    assert is_error(small.engine.put_json(new), 507, FULL)
    tag = raw.put(small.server, f"{repository}/tags/new", b'"' + held.id.encode() + b'"')
    assert is_error(tag, 507, FULL)
    properties = raw.put(small.server, f"{repository}/properties", b'{"access": "private"}')
    assert properties.status in (200, 507)  # an empty file may fit
    serves_on(small, held)

    small.empty()
    assert small.engine.put_json(new).status == 200
    assert small.engine.put_layer(new).status == 200
    small.fill()
    assert is_error(small.engine.put_layer(new), 507, FULL)
    assert is_error(small.engine.put_checksum(new), 507, FULL)
    assert raw.get(small.server, f"/v1/images/{new.id}/json").status in (400, 507)
    small.empty()
    assert small.engine.put_checksum(new).status == 200
    assert raw.get(small.server, f"/v1/images/{new.id}/json").body == new.json
    small.engine.push([new], "after")
    serves_on(small, held)


def test_the_store_is_full_during_a_commit(small: SmallStore):
    """With growing free space: first the record does not fit, then the JSON, the ancestry, the checksums."""
    statuses = []
    for pages in range(6):
        new = image(f"finishing {pages}", 20_000)
        assert small.engine.put_json(new).status == 200
        assert small.engine.put_layer(new).status == 200
        small.fill(free=4096 * pages)
        answer = small.engine.put_checksum(new)
        statuses.append(answer.status)
        view = check_store(small.server.store)
        assert view.problems == []
        assert (new.id in view.finished) == (answer.status == 200)
        shown = raw.get(small.server, f"/v1/images/{new.id}/json")
        assert shown.status == 200 if answer.status == 200 else shown.status in (400, 507)
        small.empty()
        # The client repeats its push, and the image has the bytes that it sent.
        small.engine.push([new], f"t{pages}")
        assert small.engine.pull(f"t{pages}") == {new.id: (new.json, new.layer)}
    assert statuses[0] == 507
    assert statuses[-1] == 200
    assert statuses == sorted(statuses, reverse=True)


def test_deleting_works_on_a_full_store(small: SmallStore):
    held = image("held", 20_000)
    small.engine.push([held], "before")
    small.fill()
    tags = f"/v1/repositories/{small.engine.repository}/tags"
    assert raw.delete(small.server, f"{tags}/before").status == 200
    assert raw.get(small.server, tags).json() == {}
    assert raw.delete(small.server, tags).status == 200
    assert raw.get(small.server, tags).status == 404


def test_no_inodes_left(small: SmallStore):
    held, new = image("held", 20_000), image("new", 20_000)
    small.engine.push([held], "before")
    files = []
    with contextlib.suppress(OSError):
        while True:
            path = small.room / f"file-{len(files)}"
            path.touch()
            files.append(path)
    assert is_error(small.engine.put_json(new), 507, FULL)
    serves_on(small, held)
    # There is space for the JSON and the mark, but not for the layer.
    for path in files[:4]:
        path.unlink()
    small.engine.put_json(new)
    with contextlib.suppress(OSError):
        for path in files[:4]:
            path.touch()
    assert small.engine.put_layer(new).status in (404, 507)
    serves_on(small, held)

    for path in files:
        path.unlink(missing_ok=True)
    small.engine.push([new], "after")
    assert small.engine.pull("after") == {new.id: (new.json, new.layer)}
    serves_on(small, held)


def test_read_only(small: SmallStore):
    held, new = image("held", 20_000), image("new", 20_000)
    small.engine.push([held], "before")
    assert small.engine.put_json(new).status == 200
    run("mount", "-o", "remount,ro", small.room)

    other = image("other", 100)
    assert is_error(small.engine.put_json(other), 500, REFUSED)
    assert is_error(small.engine.put_layer(new), 500, REFUSED)
    tags = f"/v1/repositories/{small.engine.repository}/tags"
    answer = raw.put(small.server, f"{tags}/new", b'"' + held.id.encode() + b'"')
    assert is_error(answer, 500, REFUSED)
    assert is_error(raw.delete(small.server, f"{tags}/before"), 500, REFUSED)
    assert is_error(raw.delete(small.server, tags), 500, REFUSED)
    serves_on(small, held)

    run("mount", "-o", "remount,rw", small.room)
    small.engine.push([new], "after")
    assert small.engine.pull("after") == {new.id: (new.json, new.layer)}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server to which file modes apply, even if root runs it."""
    store = tmp_path_factory.mktemp("guarded") / "store"
    with obeying_modes(lambda: Server(store, env={"CACHE_MEMORY": "0"})) as server:
        yield server


@pytest.mark.parametrize(
    ("file", "paths"),
    [
        ("images/ID/layer", ["/v1/images/ID/layer", "/v1/images/ID/files"]),
        ("images/ID/json", ["/v1/images/ID/json", "/v1/images/ID/layer", "/v1/images/ID/ancestry"]),
        ("images/ID/ancestry", ["/v1/images/ID/ancestry"]),
        ("images/ID/_checksum", ["/v1/images/ID/json"]),
        ("images/ID", ["/v1/images/ID/json", "/v1/images/ID/layer"]),
        ("repositories/full/REPO/tag_v1", ["/v1/repositories/full/REPO/tags/v1"]),
        ("repositories/full/REPO/tag_v1", ["/v1/repositories/full/REPO/tags"]),
        ("repositories/full/REPO/_index_images", ["/v1/repositories/full/REPO/images"]),
        ("repositories/full/REPO", ["/v1/repositories/full/REPO/tags"]),
    ],
)
def test_unreadable_files(
    guarded: Server, file: str, paths: list[str], request: pytest.FixtureRequest
):
    repository = f"r{abs(hash(request.node.name)) % 10**9}"
    held = image(repository, 5000)
    engine = Engine(guarded, f"full/{repository}")
    engine.push([held], "v1")

    def named(text: str) -> str:
        return text.replace("ID", held.id).replace("REPO", repository)

    path = guarded.store / named(file)
    mode = path.stat().st_mode
    path.chmod(0)
    try:
        for asked in paths:
            answer = raw.get(guarded, named(asked))
            assert is_error(answer, 500, REFUSED), asked
            assert str(guarded.store) not in str(answer)
        if file == "images/ID":
            assert is_error(engine.put_json(held), 500, REFUSED)
        assert raw.get(guarded, "/v1/_ping").status == 200
    finally:
        path.chmod(mode)
    assert engine.pull("v1") == {held.id: (held.json, held.layer)}


def test_a_folder_that_cannot_be_written(guarded: Server):
    new = image("unwritable", 5000)
    engine = Engine(guarded, "full/unwritable")
    uploads = guarded.store / "_v1registry" / "uploads"
    engine.push([image("writable", 5000)], "v1")
    uploads.chmod(0o500)
    try:
        assert is_error(engine.put_json(new), 500, REFUSED)
    finally:
        uploads.chmod(0o700)
    engine.push([new], "latest")
    assert check_store(guarded.store).problems == []


@needs("tmpfs")
def test_a_server_on_a_full_store_starts_and_reports_it(tmp_path: Path):
    with tmpfs(tmp_path / "room", "size=1m") as room:
        store = room / "store"
        with Server(store) as server:
            small = SmallStore(room, server)
            small.fill()
            assert is_error(small.engine.put_json(image("new", 10)), 507, FULL)
            assert leftovers(store) == []
            small.empty()
            small.engine.push([image("new", 10)], "latest")
