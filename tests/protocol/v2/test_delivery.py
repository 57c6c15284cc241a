"""Sending blobs: by nginx, from every node, and from a read-only store."""

from __future__ import annotations

import bz2
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests import raw
from tests.lib.stores import layer_of
from tests.live_server import Server
from tests.needs import needs
from tests.nginx import Nginx
from tests.protocol import engine
from tests.protocol.v2 import world
from tests.protocol.v2.world import AGENT, digest, error, get, manifest
from tests.waiting import wait_for


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("world") / "store"
    world.make(store)
    return store


def everything(server: Server, repository: str, tag: str) -> dict[str, bytes]:
    """Return everything that a client fetches of an image, by digest."""
    answer = get(server, f"{repository}/manifests/{tag}")
    document = answer.json()
    found = {digest(answer.body): answer.body}
    for part in (document["config"], *document["layers"]):
        body = get(server, f"{repository}/blobs/{part['digest']}").body
        assert digest(body) == part["digest"]
        found[part["digest"]] = body
    return found


@pytest.fixture(scope="module")
def nodes(made: Path) -> Iterator[list[Server]]:
    with Server(made) as one, Server(made) as other:
        yield [one, other]


def test_a_pull_may_go_to_any_node(nodes: list[Server]) -> None:
    one, other = nodes
    for tag in ("1.0", "packed", "bzip2"):
        document = manifest(one, "team/app", tag)
        name = get(one, f"team/app/manifests/{tag}").header("Docker-Content-Digest")
        assert get(other, f"team/app/manifests/{name}").json() == document
        for part in (document["config"], *document["layers"]):
            assert digest(get(other, f"team/app/blobs/{part['digest']}").body) == part["digest"]
        assert everything(one, "team/app", tag) == everything(other, "team/app", tag)


def test_the_same_digests_after_the_loss_of_layer_metadata(tmp_path: Path) -> None:
    """Layer metadata and digest index are lost, as after a roll-back with a copy without our files."""
    store = tmp_path / "store"
    world.make(store)
    with Server(store) as server:
        before = {tag: everything(server, "team/app", tag) for tag in ("1.0", "packed")}
    for path in [*store.glob("images/*/_oci"), *store.glob("_v1registry/digests/**/*.*")]:
        path.unlink()
    with Server(store, workers=2) as server:
        assert {tag: everything(server, "team/app", tag) for tag in before} == before


@pytest.mark.parametrize("workers", [1, 3])
def test_read_only(tmp_path: Path, workers: int) -> None:
    """The registry writes nothing, and each process computes all digests itself."""
    store = tmp_path / "store"
    world.make(store)
    with Server(store, workers=workers, env={"READ_ONLY": "true"}) as server:
        for _ in range(4):
            assert len(everything(server, "team/app", "packed")) == 5
        error(get(server, "team/other/blobs/sha256:" + "0" * 64), 404, "BLOB_UNKNOWN")
    assert not list(store.glob("images/*/_oci"))
    assert not (store / "_v1registry" / "digests").exists()


def test_a_pushed_image_at_once(tmp_path: Path) -> None:
    base, top = engine.image("base"), engine.image("top", engine.image("base"))
    with Server(tmp_path / "store", workers=2, env={"V2_READ_PUSHED": "0"}) as server:
        engine.push(server, "new/app", [base, top], ["1"])
        found = everything(server, "new/app", "1")
        assert base.layer in found.values()
        assert top.layer in found.values()
        # gone with the tag; a yes may be some seconds old
        engine.expect(raw.delete(server, "/v1/repositories/new/app/tags/1"))
        error(get(server, "new/app/manifests/1"), 404, "MANIFEST_UNKNOWN")


@needs("nginx")
def test_nginx_sends_the_layers(tmp_path: Path) -> None:
    world.make(tmp_path / "store")
    with Server(tmp_path / "store", env={"NGINX_X_ACCEL_REDIRECT": "/_layers"}) as server:
        with Nginx(tmp_path / "nginx", [server.port], store=server.store) as nginx:
            layers = manifest(server, "team/app", "packed")["layers"]
            wanted = [world.PLAIN, world.SQUEEZED, world.PACKED]
            for layer, content in zip(layers, wanted, strict=True):
                url = f"{nginx.url}/v2/team/app/blobs/{layer['digest']}"
                whole = requests.get(url, headers=AGENT, timeout=30)
                assert (whole.status_code, whole.content) == (200, content)
                assert whole.headers["Content-Type"] == "application/octet-stream"
                part = requests.get(url, headers={**AGENT, "Range": "bytes=3-9"}, timeout=30)
                assert (part.status_code, part.content) == (206, content[3:10])
                head = requests.head(url, headers=AGENT, timeout=30)
                assert head.headers["Content-Length"] == str(len(content))
            log = server.log
    # as stored: nothing of it went through us
    assert f'/blobs/{layers[0]["digest"]}" 200 0 ' in log
    assert f'/blobs/{layers[2]["digest"]}" 200 {len(world.PACKED)} ' in log


# -- layers that must be unpacked for v2 clients ----------------------------------------------------

MIB = 1 << 20
ZEROS = layer_of(zeros=bytes(64 * MIB))
NOISE = layer_of(noise=random.Random(38).randbytes(24 * MIB))  # some seconds of work for bzip2


@pytest.fixture(scope="module")
def unpacking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    store = tmp_path_factory.mktemp("unpacking") / "store"
    for number, content in enumerate((ZEROS, NOISE)):
        world.image(store, f"{number:064x}", bz2.compress(content))
        world.tag(store, "team/large", str(number), f"{number:064x}")
    with Server(store) as server:
        for number in range(2):
            manifest(server, "team/large", str(number))  # reads the layers
        yield server


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_range_far_into_a_layer_that_must_be_unpacked_is_ignored(
    unpacking: Server, method: str
) -> None:
    path, size = f"team/large/blobs/{digest(ZEROS)}", len(ZEROS)
    for wanted in (f"{16 * MIB + 1}-", f"{40 * MIB}-{40 * MIB + 5}", "-5"):
        answer = get(unpacking, path, method, Range=f"bytes={wanted}")
        assert (answer.status, answer.header("Content-Length")) == (200, str(size))
        assert answer.header("Content-Range") is None
        assert answer.body == (ZEROS if method == "GET" else b"")
    near = get(unpacking, path, method, Range=f"bytes={16 * MIB}-{16 * MIB + 3}")
    assert (near.status, near.header("Content-Length")) == (206, "4")
    error_ = get(unpacking, path, Range=f"bytes={size}-")
    error(error_, 416, "RANGE_INVALID")


def test_a_range_ends_with_its_client(unpacking: Server) -> None:
    """The work for thirty clients that disconnect must end soon."""
    path = f"/v2/team/large/blobs/{digest(NOISE)}"
    head = f"GET {path} HTTP/1.1\r\nHost: a\r\nUser-Agent: docker/24.0.7\r\n"
    before = cpu_seconds(unpacking)
    for _ in range(30):
        with unpacking.connect() as client:
            client.sendall(f"{head}Range: bytes={16 * MIB}-\r\n\r\n".encode())
            time.sleep(0.02)
    assert raw.get(unpacking, "/v1/_ping").status == 200
    engine.push(unpacking, "team/meanwhile", [engine.image("meanwhile")], ["1"])

    def is_idle() -> bool:
        used = cpu_seconds(unpacking)
        time.sleep(1)
        return cpu_seconds(unpacking) - used < 0.1

    wait_for(is_idle)
    assert cpu_seconds(unpacking) - before < 3
    part = get(unpacking, path.removeprefix("/v2/"), Range=f"bytes={8 * MIB}-{8 * MIB + 99}")
    assert (part.status, part.body) == (206, NOISE[8 * MIB : 8 * MIB + 100])


def cpu_seconds(server: Server) -> float:
    """Return the processor time of the workers so far."""
    ticks = 0
    for pid in server.worker_pids():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
