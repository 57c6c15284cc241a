"""A failing store and v2 clients: errors have the form of v2, and nothing wrong is cached."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import raw
from tests.live_server import Server
from tests.protocol.v2 import world
from tests.protocol.v2.world import AGENT, digest, error, get, manifest


@pytest.fixture
def store(tmp_path: Path) -> Path:
    world.make(tmp_path / "store")
    return tmp_path / "store"


def test_a_layer_damaged_while_we_run(store: Path) -> None:
    """Known by its digest, it is sent as it is: the client finds out. Its manifest stays, too,
    until the process forgets; a fresh look finds the damage."""
    path = store / "images" / world.TOP / "layer"
    with Server(store) as server:
        name = manifest(server, "team/app", "1.0")["layers"][1]["digest"]
        path.write_bytes(path.read_bytes()[:-3] + b"bad")
        body = get(server, f"team/app/blobs/{name}").body
        assert digest(body) != name
        (store / "images" / world.TOP / "_oci").unlink()
    with Server(store) as server:
        error(get(server, f"team/app/blobs/{name}"), 404, "BLOB_UNKNOWN")
        text = error(get(server, "team/app/manifests/1.0"), 404, "MANIFEST_UNKNOWN")
        assert world.TOP in text
        assert raw.get(server, f"/v1/images/{world.TOP}/layer").status == 200


def test_a_layer_cut_off_on_its_way(store: Path) -> None:
    """A layer that is decompressed while it is sent is too short, and the connection ends."""
    path = store / "images" / world.XZ / "layer"
    with Server(store) as server:
        name = manifest(server, "team/app", "packed")["layers"][2]["digest"]
        path.write_bytes(path.read_bytes()[:-40])
        with raw.Connection(server) as connection:
            head = {**AGENT, "Connection": "close"}
            connection.send(raw.encode("GET", f"/v2/team/app/blobs/{name}", server.host, head))
            with pytest.raises(raw.Malformed, match="before the end"):
                connection.read()
        assert get(server, "").status == 200


def test_a_store_that_does_not_answer(store: Path) -> None:
    """A folder in place of a file causes the same error as a broken disk."""
    with Server(store) as server:
        manifest(server, "team/app", "1.0")
        tag = store / "repositories/team/app/tag_1.0"
        tag.unlink()
        tag.symlink_to("/proc/self/mem")  # reading it fails with EIO
        answer = get(server, "team/app/manifests/1.0")
        error(answer, 503, "UNKNOWN")
        assert answer.header("Retry-After") == "5"
