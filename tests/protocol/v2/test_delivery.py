"""How blobs leave: by nginx, from every node, from a store that may not be written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests import raw
from tests.needs import needs
from tests.nginx import Nginx
from tests.protocol import engine
from tests.protocol.v2 import world
from tests.protocol.v2.world import AGENT, digest, error, get, manifest
from tests.server import Server


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("world") / "store"
    world.make(store)
    return store


def everything(server: Server, repository: str, tag: str) -> dict[str, bytes]:
    """All that a client fetches of an image, by digest."""
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


def test_the_same_after_a_restart_without_what_we_kept(tmp_path: Path) -> None:
    """Facts and digests are gone, as after a way back to 0.x by a copy without our files."""
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
    """Nothing is written, and every process finds all digests by itself."""
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
