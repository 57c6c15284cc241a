"""One store, two registries: what 0.9.1 wrote is served by ours, what ours wrote is read by 0.9.1."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import raw
from tests.live_server import Server
from tests.oldregistry import OldRegistry
from tests.protocol import engine, seed
from tests.protocol.engine import image, quoted
from tests.protocol.table import IMMUTABLE, check_headers

BASE = image("base")
CHILD = image("child", BASE)
TOP = image("top", CHILD)
AGENT = {"User-Agent": "docker/1.12.6 go/go1.6 kernel/4.4 os/linux arch/amd64"}

GOLDEN = OldRegistry(seed.GOLDEN)
KNOWN_PROBLEMS = [f"tag_v2 of {name} points to an incomplete image" for name in ("d150", "d183")]
GOLDEN_REPOSITORIES = ["libtest/d101", "libtest/d150", "libtest/d183", "libtest/d1126"]


# -- ours wrote, 0.9.1 reads -----------------------------------------------------------


TAGS = ["latest", "v1.0", "x_json", "RC-1"]
NAMES = ["team/app", "plain", "deep/er/na.me", "under_score/and-dash", "a.b/c_d"]


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, OldRegistry]]:
    store = tmp_path_factory.mktemp("ours") / "store"
    with Server(store) as server:
        for name in NAMES:
            engine.push(server, name, [BASE, CHILD, TOP], TAGS)
        path = f"/v1/repositories/{NAMES[0]}"
        engine.expect(raw.put(server, f"{path}/tags/latest", quoted(TOP.id), AGENT))
        engine.expect(raw.put(server, f"{path}/properties", b'{"access": "private"}'))
        yield server, OldRegistry(store)


def test_0x_reads_all_that_we_wrote(pushed: tuple[Server, OldRegistry]) -> None:
    _, old = pushed
    assert old.problems() == []
    assert old.images() == sorted(made.id for made in (BASE, CHILD, TOP))
    for made in (BASE, CHILD, TOP):
        assert old.json(made.id) == made.json
        assert old.layer(made.id) == made.layer
        assert old.ancestry(made.id) == list(made.ancestry)
        assert made.checksum in old.checksums(made.id)
        assert old.simple_checksum(made.id) == made.checksum


@pytest.mark.parametrize("name", NAMES)
def test_0x_reads_our_repositories(pushed: tuple[Server, OldRegistry], name: str) -> None:
    server, old = pushed
    assert old.tags(name) == dict.fromkeys(TAGS, TOP.id)
    assert old.tags(name) == raw.get(server, f"/v1/repositories/{name}/tags").json()
    listed = old.index_images(name)
    assert {item["id"] for item in listed} == {BASE.id, CHILD.id, TOP.id}
    for tag in old.tags(name):
        metadata = old.tag_metadata(name, tag)
        assert metadata == raw.get(server, f"/v1/repositories/{name}/tags/{tag}/json").json()
        assert isinstance((metadata or {}).get("last_update"), int)
    assert old.metadata(name) == old.tag_metadata(name, "latest")
    assert old.is_private(name) == (name == NAMES[0])


def test_0x_sees_an_open_image_as_open(own_server: Server, store: Path) -> None:
    old = OldRegistry(store)
    engine.expect(raw.put(own_server, BASE.path("json"), BASE.json))
    assert old.images() == []
    assert (store / "images" / BASE.id / "_inprogress").exists()
    engine.expect(raw.put(own_server, BASE.path("layer"), BASE.layer, chunk=64))
    assert old.images() == []
    sum = {"X-Docker-Checksum-Payload": BASE.checksum}
    engine.expect(raw.put(own_server, BASE.path("checksum"), b"", sum))
    assert old.images() == [BASE.id]
    assert old.problems() == []


# -- 0.9.1 wrote, ours reads -----------------------------------------------------------


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    store = tmp_path_factory.mktemp("golden") / "store"
    seed.golden(store)
    with Server(store, env={"SEARCH_BACKEND": "sqlalchemy"}) as server:
        yield server


def test_the_golden_store_is_unchanged() -> None:
    """Its only faults are two tags without images, which were pushed to another store."""
    assert GOLDEN.problems() == KNOWN_PROBLEMS
    assert len(GOLDEN.images()) == 12


@pytest.mark.parametrize("image_id", GOLDEN.images(), ids=lambda text: text[:12])
def test_golden_images(golden: Server, image_id: str) -> None:
    path = f"/v1/images/{image_id}"
    answer = raw.get(golden, f"{path}/json")
    assert (answer.status, answer.body) == (200, GOLDEN.json(image_id))
    assert answer.header("X-Docker-Size") == str(len(GOLDEN.layer(image_id)))
    assert answer.all("X-Docker-Checksum-Payload") == GOLDEN.checksums(image_id)
    check_headers(answer, IMMUTABLE)
    assert raw.get(golden, f"{path}/layer").body == GOLDEN.layer(image_id)
    assert raw.get(golden, f"{path}/ancestry").json() == GOLDEN.ancestry(image_id)
    assert raw.get(golden, f"{path}/files").status == 200
    assert raw.get(golden, f"{path}/diff").status == 200


@pytest.mark.parametrize("name", GOLDEN_REPOSITORIES)
def test_golden_repositories(golden: Server, name: str) -> None:
    path = f"/v1/repositories/{name}"
    assert raw.get(golden, f"{path}/tags").json() == GOLDEN.tags(name)
    for tag, image_id in GOLDEN.tags(name).items():
        assert raw.get(golden, f"{path}/tags/{tag}").body == quoted(image_id)
        assert raw.get(golden, f"{path}/tags/{tag}/json").json() == GOLDEN.tag_metadata(name, tag)
    assert raw.get(golden, f"{path}/json").json() == GOLDEN.metadata(name)
    assert raw.get(golden, f"{path}/images").json() == GOLDEN.index_images(name)
    assert raw.get(golden, f"{path}/properties").json() == {"access": "public"}


def test_golden_search(golden: Server) -> None:
    found = raw.get(golden, "/v1/search?q=libtest").json()["results"]
    assert sorted(result["name"] for result in found) == sorted(GOLDEN_REPOSITORIES)


def test_a_golden_image_is_skipped_and_a_child_pushed(store: Path) -> None:
    """Ours goes on where 0.9.1 stopped, and 0.9.1 goes on with what ours added."""
    seed.golden(store)
    parent = OldRegistry(store).tags("libtest/d101")["latest"]
    ancestry = tuple(OldRegistry(store).ancestry(parent))
    base = engine.Image(parent, OldRegistry(store).json(parent), b"", ancestry)
    child = image("on golden", base)
    with Server(store) as server:
        assert raw.put(server, base.path("json"), base.json).status == 409
        engine.push(server, "libtest/d101", [base, child], ["latest"])
    old = OldRegistry(store)
    assert old.problems() == KNOWN_PROBLEMS
    assert old.tags("libtest/d101")["latest"] == child.id
    assert old.ancestry(child.id) == [child.id, *ancestry]
    listed = {item["id"] for item in old.index_images("libtest/d101")}
    assert listed == {*(item["id"] for item in GOLDEN.index_images("libtest/d101")), child.id}
