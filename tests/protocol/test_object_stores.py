"""The registry on object stores: several real servers on one real store, and faults of the store.

The same for every store in `places.PLACES`; see also storage/test_contract.py.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests import raw
from tests.backends.proxy import Proxy
from tests.faults.engine import Engine, make_image, make_tar, run_all, squeeze
from tests.live_server import ROOT, Server, StartError
from tests.protocol.places import PLACES, Place
from tests.protocol.table import ORDINARY, check_headers
from tests.protocol.tarsum import tarsum
from tests.waiting import wait_for

GOLDEN = ROOT / "tests" / "fixtures" / "golden"
MIB = 1024 * 1024


_HEAVY = {name: [pytest.mark.heavy] if kind.heavy else [] for name, kind in PLACES.items()}

# What takes long: on S3 each time, on the others by `make test-heavy`.
on_s3_first = pytest.mark.parametrize(
    "new_place",
    [pytest.param(name, marks=[] if name == "s3" else [pytest.mark.heavy]) for name in PLACES],
    indirect=True,
)


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=marks) for name, marks in _HEAVY.items()]
)
def new_place(request: pytest.FixtureRequest) -> Callable[[], Place]:
    """Makes places in one kind of store."""
    kind = PLACES[request.param]
    return partial(kind, request.getfixturevalue(kind.backend))


@pytest.fixture(scope="module")
def shared(new_place: Callable[[], Place]) -> Place:
    return new_place()


@pytest.fixture(scope="module")
def nodes(shared: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    """Two registries on one store."""
    folder = tmp_path_factory.mktemp("nodes")
    with shared.server(folder) as one, shared.server(folder) as other:
        yield [one, other]


@pytest.fixture
def place(new_place: Callable[[], Place]) -> Place:
    return new_place()


@pytest.fixture(scope="module")
def proxied_server(
    new_place: Callable[[], Place], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, Proxy]]:
    place = new_place()
    with Proxy(place.port) as proxy:
        folder = tmp_path_factory.mktemp("proxied")
        with place.server(folder, CACHE_MEMORY="0", **place.behind(proxy)) as server:
            yield server, proxy


@pytest.fixture
def proxied(proxied_server: tuple[Server, Proxy]) -> Server:
    """A registry that reaches its store through `proxy`."""
    return proxied_server[0]


@pytest.fixture
def proxy(proxied_server: tuple[Server, Proxy]) -> Iterator[Proxy]:
    proxy = proxied_server[1]
    yield proxy
    proxy.cuts, proxy.silent, proxy.refusing, proxy.delay = 0, False, False, 0.0


# -- what works -----------------------------------------------------------------------------------


def test_pushed_through_one_and_pulled_through_the_other(nodes: list[Server], shared: Place):
    one, other = nodes
    base = make_image("base", squeeze(make_tar(1, 20 * MIB), 0))
    top = make_image("top", squeeze(make_tar(2, 1000), 0), base)
    Engine(one, "team/app").push([base, top], "v1")
    wanted = {image.id: (image.json, image.layer) for image in (base, top)}
    for server in (other, one):
        assert Engine(server, "team/app").pull("v1") == wanted
    path = f"/v1/images/{base.id}/layer"
    part = raw.get(other, path, headers={"Range": "bytes=9000000-9000999"})
    assert (part.status, part.body) == (206, base.layer[9_000_000:9_001_000])
    assert raw.request(other, "HEAD", path).header("Content-Length") == str(len(base.layer))
    # the layer is opened in a greenlet and unpacked in the thread pool
    [row] = raw.get(other, f"/v1/images/{top.id}/files").json()
    assert (row[0].lstrip("/"), row[3]) == ("file-2", 1000)
    [name] = raw.get(other, f"/v1/images/{base.id}/diff").json()["created"]
    assert name.lstrip("/") == "file-1"
    parts = {key.rpartition("/")[2] for key in shared.names(f"images/{top.id}/")}
    assert parts - {"_oci"} == {*shared.parts, "team%2Fapp"}  # facts come soon after a push
    assert raw.get(one, "/v1/_status").status == 200
    Engine(one, "team/app").expect(200, "DELETE", "/v1/repositories/team/app/")
    assert shared.names("repositories/team/app") == []


def test_one_image_by_many_clients_over_both_nodes(nodes: list[Server], shared: Place):
    tar = make_tar(3, MIB)
    images = [make_image("many", squeeze(tar, number)) for number in range(8)]
    step = threading.Barrier(8, timeout=60)

    def push(server: Server, image) -> list[int]:
        engine, told = Engine(server, "many/app"), []
        for act in (engine.put_json, engine.put_layer, engine.put_checksum):
            step.wait()
            told.append(act(image).status)
        return told

    acts = [partial(push, nodes[number % 2], image) for number, image in enumerate(images)]
    assert run_all(acts) == [[200, 200, 200]] * 8
    layers = {raw.get(node, f"/v1/images/{images[0].id}/layer").body for node in nodes}
    assert len(layers) == 1
    [stayed] = [image for image in images if image.layer in layers]
    for node in nodes:
        document = raw.get(node, f"/v1/images/{stayed.id}/json")
        assert (document.status, document.body) == (200, stayed.json)
        assert document.all("X-Docker-Checksum-Payload") == [stayed.checksum]
    assert [key for key in shared.staged() if stayed.id in key] == []


def test_engines_that_send_a_tarsum_alone(nodes: list[Server]):
    """If the store cannot read a staged layer, the TarSum is computed while it is received."""
    tar = make_tar(4, 100_000)
    image = make_image("tarsum", squeeze(tar, 0))
    engine = Engine(nodes[0], "old/app")
    assert engine.put_json(image).status == 200
    assert engine.put_layer(image).status == 200
    path = f"/v1/images/{image.id}/checksum"
    wrong = engine.ask("PUT", path, headers={"X-Docker-Checksum": f"tarsum+sha256:{'0' * 64}"})
    assert wrong.status == 400
    right = tarsum(image.json, tar)
    assert engine.ask("PUT", path, headers={"X-Docker-Checksum": right}).status == 200
    answer = raw.get(nodes[1], f"/v1/images/{image.id}/json")
    assert answer.all("X-Docker-Checksum-Payload") == [image.checksum, right]


def test_the_store_of_0x_is_served_in_place(place: Place, tmp_path: Path):
    root = GOLDEN / "store-0.9.1"
    for file in root.rglob("*"):
        if file.is_file():
            place.put(str(file.relative_to(root)), file.read_bytes())
    before = place.names()
    with place.server(tmp_path) as server:
        for known in json.loads((GOLDEN / "image-ids.json").read_text()):
            found = Engine(server, known["repository"]).pull("latest")
            assert known["v1_id"] in found
            assert len(found) == known["layers"]
            for one, (data, layer) in found.items():
                assert data == (root / "images" / one / "json").read_bytes()
                assert layer == (root / "images" / one / "layer").read_bytes()
        assert [key for key in place.names() if not key.startswith("_v1registry/")] == before


def test_redirect_to_the_store(place: Place, tmp_path: Path):
    if not place.redirects:
        pytest.skip("this store has no URLs for clients")
    with place.server(tmp_path, STORAGE_REDIRECT="true") as server:
        image = make_image("redirect", squeeze(make_tar(5, MIB), 0))
        Engine(server, "team/redirect").push([image], "v1")
        answer = raw.get(server, f"/v1/images/{image.id}/layer")
        assert answer.status == 302
        # The URL counts for minutes, the layer for ever: no immutable headers here.
        check_headers(answer, {**ORDINARY, "Content-Type": lambda _: True})
        with urllib.request.urlopen(answer.header("Location") or "", timeout=20) as found:
            assert found.read() == image.layer
        path = f"/v1/images/{image.id}/layer"
        head = raw.request(server, "HEAD", path)  # a URL that is signed for GET is no help here
        assert (head.status, head.header("Content-Length")) == (200, str(len(image.layer)))
        assert head.header("Accept-Ranges") == "bytes"
        beyond = raw.get(server, path, headers={"Range": f"bytes={len(image.layer)}-"})
        assert (beyond.status, beyond.header("Content-Length"), beyond.body) == (416, "0", b"")


@on_s3_first
def test_many_pushes_take_bounded_memory(place: Place, tmp_path: Path):
    """All pushes are in the middle of their layers, with more bytes than the process may keep."""
    if not place.parallel:
        pytest.skip("the server of these tests takes one upload at a time")
    size, pushes = 6 * MIB, 20
    sizes = {"UPLOAD_MEMORY": "16MiB", "PART_SIZE": "5MiB", "CHUNK_SIZE": "5MiB"}
    sizes["SEGMENT_SIZE"] = "5MiB"
    own = {
        f"{kind}_{name}": size for name, size in sizes.items() for kind in ("AWS", "GCS", "SWIFT")
    }
    with place.server(tmp_path, **own) as server:
        images = [make_image(f"memory {n}", os.urandom(size)) for n in range(pushes)]
        engine = Engine(server, "x/memory")
        for image in images:
            assert engine.put_json(image).status == 200
        before, connections = resident(server), []
        rest = []
        for image in images:
            path = f"/v1/images/{image.id}/layer"
            data = raw.encode("PUT", path, server.host, {}, image.layer, 32 * 1024)
            connections.append(raw.Connection(server, timeout=60))
            connections[-1].send(data[: 9 * MIB // 2])
            rest.append(data[9 * MIB // 2 :])
        most = resident(server)
        for connection, data in zip(connections, rest, strict=True):
            connection.send(data)
            most = max(most, resident(server))
        for connection in connections:
            assert connection.read("PUT").status == 200
            connection.close()
        for image in images:
            assert engine.put_checksum(image).status == 200
        assert raw.get(server, f"/v1/images/{images[-1].id}/layer").body == images[-1].layer
    # a buffer of 256 KiB or more for each connection, and what is allowed for parts
    assert most - before < (pushes // 4 + 16 + 30) * MIB, (before, most)


def resident(server: Server) -> int:
    """Return the private memory of the worker in bytes."""
    [worker] = server.worker_pids()
    found = re.search(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{worker}/status").read_text())
    assert found
    return int(found[1]) * 1024


@on_s3_first
def test_v2_clients_pull_from_object_stores(nodes: list[Server], shared: Place, tmp_path: Path):
    """Over v2: the manifest from one node, layers from the other, or from the store itself."""
    agent = {"User-Agent": "podman/4.3.1"}
    base = make_image("v2-base", squeeze(make_tar(7, MIB), 0))
    image = make_image("v2-top", squeeze(make_tar(8, MIB), 1), base)
    Engine(nodes[0], "team/v2").push([base, image], "v1")
    manifest = raw.get(nodes[0], "/v2/team/v2/manifests/v1", agent).json()
    urls = [f"/v2/team/v2/blobs/{part['digest']}" for part in manifest["layers"]]
    assert [raw.get(nodes[1], url, agent).body for url in urls] == [base.layer, image.layer]
    config = raw.get(nodes[1], f"/v2/team/v2/blobs/{manifest['config']['digest']}", agent).json()
    assert len(config["rootfs"]["diff_ids"]) == 2
    part = raw.get(nodes[1], urls[0], {**agent, "Range": "bytes=100-199"})
    assert (part.status, part.body) == (206, base.layer[100:200])
    if shared.redirects:
        with shared.server(tmp_path, STORAGE_REDIRECT="true") as server:
            answer = raw.get(server, urls[1], agent)
            assert answer.status == 307
            with urllib.request.urlopen(answer.header("Location") or "", timeout=20) as found:
                assert found.read() == image.layer
            assert raw.head(server, urls[1], agent).status == 200


# -- what goes wrong --------------------------------------------------------------------------------


def test_a_client_that_disconnects_leaves_no_upload(nodes: list[Server], shared: Place):
    image = make_image("gone", squeeze(make_tar(6, 12 * MIB), 0))
    assert Engine(nodes[0], "x/gone").put_json(image).status == 200

    def mine() -> list[str]:
        return [key for key in shared.staged() if image.id in key]

    data = raw.encode("PUT", f"/v1/images/{image.id}/layer", nodes[0].host, {}, image.layer, 65536)
    connection = raw.Connection(nodes[0])
    connection.send(data[: 11 * MIB])  # more than a part of any store, and a piece that is received
    wait_for(mine)
    connection.abort()
    wait_for(lambda: not mine())


@on_s3_first
def test_the_command_clean_removes_uploads_left_behind(place: Place):
    place.put("_v1registry/store", b"store-" + b"a" * 32)  # from the first start of a registry
    place.leave_upload(f"images/{'c' * 64}/layer")
    assert clean(place, "3600")["stages"] == 0
    assert len(place.staged()) == 1
    time.sleep(1.1)  # some stores tell times in whole seconds
    assert clean(place, "0")["stages"] == 1
    assert place.staged() == []


def clean(place: Place, seconds: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "v1registry", "clean", "--json", "--older-than", seconds],
        cwd=ROOT,
        env={**os.environ, **place.environ()},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@on_s3_first
def test_a_store_that_breaks_off_is_resumed(proxied: Server, proxy: Proxy):
    image = make_image("broken", squeeze(make_tar(7, 4 * MIB), 0))
    Engine(proxied, "x/broken").push([image], "v1")
    path = f"/v1/images/{image.id}/layer"
    assert raw.get(proxied, path).body == image.layer
    proxy.cut_after, proxy.cuts = MIB, 3
    assert raw.get(proxied, path).body == image.layer
    assert proxy.cuts == 0


@on_s3_first
def test_a_store_that_ends_in_the_middle_ends_the_download(proxied: Server, proxy: Proxy):
    """No 200 that looks complete: the client sees that bytes are missing."""
    image = make_image("ended", squeeze(make_tar(8, 24 * MIB), 0))
    Engine(proxied, "x/ended").push([image], "v1")
    with raw.Connection(proxied) as connection:
        connection.send(raw.encode("GET", f"/v1/images/{image.id}/layer", proxied.host))
        head = connection.socket.recv(100_000)
        assert b" 200 " in head
        assert f"Content-Length: {len(image.layer)}".encode() in head
        proxy.refusing = True
        proxy.drop()
        with pytest.raises(raw.Malformed, match="before the end"):
            connection._exactly(len(image.layer))


@on_s3_first
@pytest.mark.parametrize("fault", ["refusing", "silent"])
def test_a_store_that_fails_gives_503_and_recovers(proxied: Server, proxy: Proxy, fault: str):
    image = make_image(f"{fault}", squeeze(make_tar(9, 1000), 0))
    engine = Engine(proxied, f"x/{fault}")
    engine.push([image], "v1")
    setattr(proxy, fault, True)
    proxy.drop()
    for method, path, body in (
        ("GET", f"/v1/images/{image.id}/json", None),
        ("GET", "/v1/_status", None),
        ("PUT", f"/v1/repositories/x/{fault}/tags/v2", json.dumps(image.id).encode()),
    ):
        begin = time.monotonic()
        answer = engine.ask(method, path, body)
        assert answer.status == 503, str(answer)
        # what docs/s3.md promises, not a speed: the time-out, here of a second, and the tries
        assert time.monotonic() - begin < 30
        if "_status" not in path:
            assert answer.header("Retry-After") == "5"
    assert raw.get(proxied, "/v1/_ping").status == 200
    setattr(proxy, fault, False)
    assert engine.pull("v1") == {image.id: (image.json, image.layer)}


@on_s3_first
def test_a_store_that_is_slow_gives_503_and_recovers(proxied: Server, proxy: Proxy):
    image = make_image("slow", squeeze(make_tar(12, 1000), 0))
    engine = Engine(proxied, "x/slow")
    engine.push([image], "v1")
    begin, proxy.delay = time.monotonic(), 3.0  # where silence may take a second
    answer = engine.ask("GET", f"/v1/images/{image.id}/json")
    assert (answer.status, answer.header("Retry-After")) == (503, "5"), str(answer)
    assert time.monotonic() - begin < 30  # the time-out and the tries, not a speed
    proxy.delay = 0.0
    assert engine.pull("v1") == {image.id: (image.json, image.layer)}


def test_a_full_quota_gives_507(place: Place, tmp_path: Path):
    limited = place.limited()
    with limited.server(tmp_path) as server:
        engine = Engine(server, "x/full")
        one = make_image("fits", squeeze(make_tar(10, 1000), 0))
        engine.push([one], "v1")
        other = make_image("full", squeeze(make_tar(11, MIB), 0))
        assert engine.put_json(other).status == 200
        limited.fill()
        wait_for(lambda: engine.put_layer(other).status == 507)
        assert limited.staged() == []
        assert engine.pull("v1") == {one.id: (one.json, one.layer)}


def test_wrong_settings_stop_the_start(place: Place, tmp_path: Path):
    for variables, text in place.wrong():
        with pytest.raises(StartError, match=text):
            place.server(tmp_path, **variables)
