"""Clients that see v2, and clients that must use v1 (protocol-v1.md section 7.4)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import raw
from tests.live_server import Server, free_port
from tests.protocol.engine import image, upload
from tests.protocol.v2 import world

ENGINES = [
    None,  # no User-Agent at all
    "",
    "docker/0.6.3 go/go1.1.2 kernel/3.8.0",
    "docker/0.12.0",
    "docker/1.0.1 go/go1.2.1 git-commit/990021a kernel/3.13.0 os/linux arch/amd64",
    "docker/1.5.0 go/go1.3.3",
    "docker/1.13.1 go/go1.7.5 git-commit/092cba3 kernel/x os/linux arch/amd64",
    "Go 1.1 package http",
    "Go-http-client/1.1",
    "Go-http-client/2.0",
]
TODAYS = [
    "docker/17.03.0-ce go/go1.7.5",
    "docker/18.09.9 go/go1.11.13",
    "docker/24.0.7",
    "docker/28.0.1",
    "docker/10.0",  # begins with `docker/1`, not with `docker/1.`
    "containerd/v1.7.2",
    "containers/5.24.1 (github.com/containers/image)",
    "skopeo/1.9.3",
    "curl/7.88.1",
    "python-requests/2.31",
    "buildkit/v0.12",
    "Docker/1.5",
    "go-http-client/1.1",
]
PATHS = ["/v2", "/v2/", "/v2/_catalog", "/v2/a/manifests/b", "/v2/a/blobs/uploads/", "/v2/%ff"]
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    store = tmp_path_factory.mktemp("world") / "store"
    world.make(store)
    with Server(store) as running:
        yield running


def ask(
    server: Server, agent: str | None, path: str = "/v2/", method: str = "GET", **more: str
) -> raw.Answer:
    headers = {} if agent is None else {"User-Agent": agent}
    body = b"x" if method in ("POST", "PUT", "PATCH") else None
    return raw.request(server, method, path, {**headers, **more}, body)


def is_hidden(answer: raw.Answer) -> bool:
    """Check for the plain 404, which is not JSON and does not disclose v2."""
    if answer.status != 404 or answer.header("Docker-Distribution-Api-Version") is not None:
        return False
    assert str(answer.header("Content-Type")).startswith("text/plain")
    assert answer.header("WWW-Authenticate") is None
    assert answer.body in (b"404 page not found\n", b"")
    return True


@pytest.mark.parametrize("agent", ENGINES)
def test_engines_see_nothing(shown: Server, agent: str | None) -> None:
    for path in PATHS:
        for method in METHODS:
            assert is_hidden(ask(shown, agent, path, method)), f"{method} {path}"


@pytest.mark.parametrize("agent", TODAYS)
def test_all_others_see_it(shown: Server, agent: str) -> None:
    answer = ask(shown, agent)
    assert (answer.status, answer.body) == (200, b"{}")
    assert answer.header("Docker-Distribution-Api-Version") == "registry/2.0"
    assert ask(shown, agent, "/v2/libtest/d150/manifests/latest").status == 200


def test_the_list_can_be_changed(shown: Server) -> None:
    hidden = "docker/0.,docker/1.,docker/17.,docker/18.,curl/"
    with Server(shown.store, env={"V2_HIDDEN_FROM": hidden}) as server:
        for agent in ("docker/17.03.0-ce", "docker/18.09.9", "curl/7.88.1", "docker/1.12.6"):
            assert is_hidden(ask(server, agent)), agent
        for agent in (None, "docker/19.03.1", "docker/24.0.7", "Go-http-client/1.1"):
            assert ask(server, agent).status == 200, agent


def test_an_engine_of_17_pushes_with_the_documented_option(tmp_path: Path) -> None:
    """Without the option, the push over v2 is refused, and the error names the option."""
    agent = {"User-Agent": "docker/17.05.0-ce go/go1.7.5 kernel/4.9 os/linux arch/amd64"}
    with Server(tmp_path) as server:
        refused = ask(server, agent["User-Agent"], "/v2/team/app/blobs/uploads/", "POST")
        message = refused.json()["errors"][0]["message"]
        assert "read-only" in message
        assert "docker/17. was added to the registry's option v2.hidden_from" in message
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    (value,) = re.findall(r"`V2_HIDDEN_FROM='(.*?)'`", readme)
    with Server(tmp_path, env={"V2_HIDDEN_FROM": value}) as server:
        for engine in (agent["User-Agent"], *ENGINES):
            assert is_hidden(ask(server, engine, "/v2/")), engine
        one = image("17.05")
        upload(server, one)
        assert raw.get(server, one.path("layer"), agent).body == one.layer


def test_v2_can_be_switched_off(shown: Server) -> None:
    with Server(shown.store, env={"V2_ENABLED": "false"}) as server:
        for agent in (None, "docker/1.5.0", "docker/24.0.7"):
            assert is_hidden(ask(server, agent))
            assert is_hidden(ask(server, agent, "/v2/_catalog", "POST"))


def test_a_host_of_its_own(shown: Server) -> None:
    env = {"V2_HOSTS": "[v2.example.org, 'Other.Example:5001', '[::1]']"}
    with Server(shown.store, env=env) as server:
        for host in (
            "v2.example.org",
            "V2.Example.ORG:80",
            "other.example:5001",
            "[::1]:9",
            "[::1]",
        ):
            for agent in (None, "docker/1.5.0", "docker/24.0.7"):
                assert ask(server, agent, Host=host).status == 200, host
        for host in (server.host, "other.example", "x.v2.example.org", "v2.example.org.x", "[::2]"):
            for agent in (None, "docker/24.0.7"):
                assert is_hidden(ask(server, agent, Host=host)), host
                assert ask(server, agent, "/v1/_ping", Host=host).status == 200


def test_a_port_of_its_own(shown: Server, tmp_path: Path) -> None:
    port = free_port()
    with Server(shown.store, env={"V2_PORT": str(port)}) as server:
        for agent in (None, "docker/1.5.0", "docker/24.0.7"):
            assert is_hidden(ask(server, agent))
            # what a client says in its Host header changes nothing
            assert is_hidden(ask(server, agent, Host=f"127.0.0.1:{port}"))
        server.port, v1 = port, server.port
        try:
            for agent in (None, "docker/1.5.0", "docker/24.0.7"):
                assert ask(server, agent).status == 200
                assert ask(server, agent, Host=f"127.0.0.1:{v1}").status == 200
        finally:
            server.port = v1
