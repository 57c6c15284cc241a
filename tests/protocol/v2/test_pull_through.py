"""Distribution 2.8 as a pull-through cache. Its User-Agent is `Go-http-client/`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.backends.v2registry import V2Registry
from tests.live_server import Server, free_port
from tests.needs import needs
from tests.protocol.v2 import world
from tests.protocol.v2.world import IMAGES, digest
from tests.rights.accounts import PASSWORD, environment, password_file
from v1registry.lib.oci.convert import SCHEMA2

NAMES = [*(image["repository"] for image in IMAGES), "library/busybox"]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    world.make(tmp_path / "store")
    return tmp_path / "store"


def pulled(cache: V2Registry, name: str, reference: str) -> dict[str, Any]:
    """Return the manifest of an image from the cache, after a check of the digest of each blob."""
    answer = cache.get(f"/v2/{name}/manifests/{reference}", SCHEMA2)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == SCHEMA2
    assert answer.headers["Docker-Content-Digest"] == digest(answer.content)
    shown: dict[str, Any] = json.loads(answer.content)
    for blob in (shown["config"], *shown["layers"]):
        answer = cache.get(f"/v2/{name}/blobs/{blob['digest']}")
        assert answer.status_code == 200, answer.text
        assert (len(answer.content), digest(answer.content)) == (blob["size"], blob["digest"])
    return shown


@needs("v2-registry")
@pytest.mark.parametrize("way", ["port", "host", "agent"])
def test_images_are_pulled_through_and_kept(store: Path, tmp_path: Path, way: str) -> None:
    """By each of the three ways in docs/v2.md."""
    port = free_port()
    env = {
        "port": {"V2_PORT": str(port)},
        "host": {"V2_HOSTS": "[localhost]"},
        "agent": {"V2_HIDDEN_FROM": "none,docker/0.,docker/1.,Go 1.1 package http"},
    }[way]
    with Server(store, env=env) as server:
        urls = {
            "port": f"http://127.0.0.1:{port}",
            "host": f"http://localhost:{server.port}",
            "agent": server.url,
        }
        with V2Registry(tmp_path / "cache", proxy={"remoteurl": urls[way]}) as cache:
            for name in NAMES:
                pulled(cache, name, "latest")
                tags = cache.get(f"/v2/{name}/tags/list").json()["tags"]
                assert "latest" in tags
            assert cache.get("/v2/team/never/manifests/1").status_code == 404
            shown = pulled(cache, NAMES[0], "latest")
            # the second pull comes from the cache
            kept = cache.blobs()
            assert {layer["digest"] for layer in shown["layers"]} <= kept
            server.stop()
            answer = cache.get(f"/v2/{NAMES[0]}/blobs/{shown['config']['digest']}")
            assert digest(answer.content) == shown["config"]["digest"]


@needs("v2-registry")
def test_without_one_of_them_the_cache_finds_nothing(store: Path, tmp_path: Path) -> None:
    with (
        Server(store) as server,
        V2Registry(tmp_path / "cache", proxy={"remoteurl": server.url}) as cache,
    ):
        assert cache.get(f"/v2/{NAMES[0]}/manifests/latest", SCHEMA2).status_code == 404


@needs("v2-registry")
def test_a_cache_with_an_account(store: Path, tmp_path: Path) -> None:
    """The cache logs in to our token service, and serves what its account may pull."""
    password_file(tmp_path, ["mirror"])
    rules = [{"who": "mirror", "repositories": "libtest/*", "allow": "pull"}]
    port = free_port()
    env = {**environment(tmp_path / "htpasswd", rules), "V2_PORT": str(port)}
    proxy = {"remoteurl": f"http://127.0.0.1:{port}", "username": "mirror", "password": PASSWORD}
    with Server(store, env=env), V2Registry(tmp_path / "cache", proxy=proxy) as cache:
        pulled(cache, "libtest/d150", "latest")
        assert cache.get("/v2/team/app/manifests/1.0", SCHEMA2).status_code == 404
