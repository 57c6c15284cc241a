"""Two published v1 clients, from npm and from PyPI, with a running server."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests import raw
from tests.live_server import Server
from tests.needs import needs, tool
from tests.protocol import engine
from tests.protocol.engine import image

NPM = Path(__file__).parent.parent / "clients" / "npm"

BASE = image("base")
CHILD = image("child", BASE)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    store = tmp_path_factory.mktemp("server") / "store"
    with Server(store, env={"SEARCH_BACKEND": "sqlalchemy"}) as running:
        engine.push(running, "team/app", [BASE, CHILD], ["latest", "v1"])
        yield running


# -- docker-registry-client 3.4.0 of npm ------------------------------------------------


@needs("npm-client")
def test_npm_client(server: Server) -> None:
    said = _npm(server, "team/app", "latest")
    assert said.pop("absent tag")["error"].startswith("NotFoundError")
    assert {step: answer.get("error") for step, answer in said.items() if "error" in answer} == {}
    results = {step: answer.get("result") for step, answer in said.items()}
    assert len(results) == 9
    assert results["ping"] == {}
    assert results["search"]["num_results"] == 1
    assert results["search"]["results"] == [{"name": "team/app", "description": ""}]
    assert {item["id"] for item in results["images"]} == {BASE.id, CHILD.id}
    assert results["tags"] == {"latest": CHILD.id, "v1": CHILD.id}
    assert results["id"] == CHILD.id
    assert results["ancestry"] == [CHILD.id, BASE.id]
    assert results["json"] == json.loads(CHILD.json)
    digest = hashlib.sha256(CHILD.layer).hexdigest()
    assert results["layer"] == {"size": len(CHILD.layer), "sha256": digest}


@needs("npm-client")
def test_npm_client_and_an_absent_repository(server: Server) -> None:
    """The client opens a session by requesting the images, and every step that needs it gets 404."""
    said = _npm(server, "team/absent", "latest")
    assert "error" not in said["ping"]
    assert said["images"]["error"].startswith("NotFoundError")
    assert "images not found" in said["images"]["error"]


def _npm(server: Server, repository: str, tag: str) -> dict[str, dict[str, Any]]:
    """step -> {"result"} or {"error"}; the steps stand in clients/npm/v1.js."""
    done = subprocess.run(
        [tool("node"), "v1.js", server.url, repository, tag],
        cwd=NPM, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line.pop("step"): line for line in lines}


# -- docker-registry-client 0.5.2 of PyPI -----------------------------------------------


@pytest.fixture
def pypi(server: Server) -> Any:
    # here, not above: when imported it switches all warnings off
    from docker_registry_client import DockerRegistryClient

    return DockerRegistryClient(server.url, api_version=1)


def test_pypi_client_detects_v1(server: Server) -> None:
    """The client requests /v2/, and uses v1 only after 404."""
    from docker_registry_client import DockerRegistryClient

    found = DockerRegistryClient(server.url)
    assert found.api_version == 2
    assert list(found.repositories()) == ["team/app"]
    assert sorted(found.repository("team/app").tags()) == ["latest", "v1"]
    with Server(server.store, env={"V2_HIDDEN_FROM": "none,python-requests/"}) as other:
        assert DockerRegistryClient(other.url).api_version == 1


def test_pypi_client_reads(pypi: Any) -> None:
    low = pypi._base_client
    assert low.check_status() == {}
    assert low.search("team")["results"] == [{"name": "team/app", "description": ""}]
    assert pypi.namespaces() == ["team"]
    assert list(pypi.repositories()) == ["team/app"]
    repository = pypi.repository("team/app")
    assert sorted(repository.tags()) == ["latest", "v1"]
    assert isinstance(repository.data("latest")["last_update"], int)
    assert low.get_image_id("team", "app", "latest") == CHILD.id
    assert low.get_image_layer(CHILD.id) == json.loads(CHILD.json)
    assert low.get_image_ancestry(CHILD.id) == [CHILD.id, BASE.id]


def test_pypi_client_takes_layers_for_json(pypi: Any) -> None:
    """A defect of the client, also with docker-registry 0.9.1. A registry cannot work around it."""
    with pytest.raises(ValueError):
        pypi._base_client.get_images_layer(CHILD.id)


def test_pypi_client_tags_and_untags(pypi: Any, server: Server) -> None:
    repository = pypi.repository("team/other")
    assert repository.tag("v2", CHILD.id) is True
    assert raw.get(server, "/v1/repositories/team/other/tags").json() == {"v2": CHILD.id}
    assert repository.untag("v2") is True
    assert raw.get(server, "/v1/repositories/team/other/tags/v2").status == 404


def test_pypi_client_deletes_without_a_slash(pypi: Any, server: Server) -> None:
    """docker-registry 0.x redirected the request (301); v1registry serves it."""
    engine.push(server, "team/gone", [BASE], ["latest"])
    low = pypi._base_client
    assert low.delete_repository("team", "gone") is True
    with pytest.raises(requests.HTTPError) as failure:
        low.delete_repository("team", "gone")
    assert failure.value.response.status_code == 404
    assert failure.value.response.json() == {"error": "Repository not found"}
    assert failure.value.response.history == []
