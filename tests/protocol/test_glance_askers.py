"""Requests with a token that the registry uses in Glance, as nova-docker sent them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import raw
from tests.backends.glance import Account, Glance
from tests.backends.proxy import Proxy
from tests.faults.engine import Engine, PushedImage, make_image, make_tar, squeeze
from tests.live_server import Server

TOKEN, ENDPOINT, IMAGE = "X-Meta-Auth-Token", "X-Meta-Glance-Endpoint", "X-Meta-Glance-Image-Id"


class With(Engine):
    """An engine that forwards the headers of its client."""

    def __init__(self, server: Server, repository: str, headers: dict[str, str]) -> None:
        super().__init__(server, repository)
        self.headers = headers

    def ask(self, *words: Any, **more: Any) -> raw.Answer:
        more["headers"] = {**self.headers, **(more.get("headers") or {})}
        return super().ask(*words, **more)


@pytest.fixture(scope="module")
def registry(glance: Glance) -> Account:
    return glance.account("admin")


@pytest.fixture(scope="module")
def server(
    registry: Account, glance: Glance, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("askers")
    more = {
        "GLANCE_REQUEST_HEADERS": "true",
        "GLANCE_ENDPOINTS": f"http://elsewhere:9292,{glance.open_url}/v2",
        "CACHE_MEMORY": "0",
    }
    with Server(folder / "unused", env=registry.environ(folder / "rest", **more)) as running:
        yield running


def image(name: str, parent: PushedImage | None = None) -> PushedImage:
    return make_image(name, squeeze(make_tar(1, 1000), 0), parent)


def owners(account: Account, pushed: PushedImage) -> list[dict[str, Any]]:
    return account.images(docker_image_id=pushed.id)


def test_layers_belong_to_the_project_of_the_token(
    server: Server, registry: Account, glance: Glance
) -> None:
    user, other = glance.account(), glance.account()
    pushed = image("owned")
    engine = With(server, "team/owned", {TOKEN: user.token(), ENDPOINT: glance.url})
    engine.push([pushed], "v1")
    [found] = owners(user, pushed)
    assert (found["visibility"], found["name"]) == ("private", "team/owned:v1")
    assert owners(registry, pushed) == []
    whole = {pushed.id: (pushed.json, pushed.layer)}
    assert engine.pull("v1") == whole
    assert Engine(server, "team/owned").pull("v1") == whole  # the registry's account is admin
    path = f"/v1/images/{pushed.id}/layer"
    assert With(server, "team/owned", {TOKEN: other.token()}).ask("GET", path).status >= 400
    # the next request on this connection brings no token
    with raw.Connection(server) as connection:
        for asked, headers in (("/v1/_ping", {TOKEN: other.token()}), (path, {})):
            kept = {"Connection": "keep-alive", **headers}
            connection.send(raw.encode("GET", asked, server.host, kept))
            answer = connection.read("GET")
            assert answer.status == 200
    assert answer.body == pushed.layer


def test_an_image_that_waits_becomes_the_layer(server: Server, glance: Glance) -> None:
    user = glance.account()
    waiting, filled = user.make(name="snapshot"), user.make(b"x")
    base = image("base")
    Engine(server, "team/base").push([base], "v1")
    for number, known in enumerate((filled, waiting, waiting, "no id", "../images")):
        top = image(f"top {number}", base)
        With(server, "team/snap", {TOKEN: user.token(), IMAGE: known}).push([base, top], "v1")
        [found] = owners(user, top)
        assert (found["id"] == waiting) == (number == 1)
    assert user.image(waiting)["status"] == "active"


def test_an_upload_into_a_waiting_image_that_fails_leaves_it(
    server: Server, glance: Glance
) -> None:
    user = glance.account()
    waiting, pushed = user.make(), image("failing")
    engine = With(server, "team/fails", {TOKEN: user.token(), IMAGE: waiting})
    assert engine.put_json(pushed).status == 200
    data = raw.encode(
        "PUT", f"/v1/images/{pushed.id}/layer", server.host, engine.headers, bytes(200_000), 65536
    )
    connection = raw.Connection(server)
    connection.send(data[:150_000])
    connection.abort()
    assert engine.put_layer(pushed).status == 200
    assert engine.put_checksum(pushed).status == 200
    assert len(user.images()) <= 2
    user.image(waiting)  # it is there


def test_tokens_are_sent_only_to_configured_addresses(server: Server, glance: Glance) -> None:
    user = glance.account()
    with Proxy(glance.port) as stranger:
        for headers in (
            {TOKEN: user.token(), ENDPOINT: f"http://127.0.0.1:{stranger.port}"},
            {ENDPOINT: f"http://127.0.0.1:{stranger.port}"},
        ):
            With(server, "team/elsewhere", headers).ask("GET", f"/v1/images/{'a' * 64}/json")
        assert stranger.connections == 0
    headers = {TOKEN: user.token(), ENDPOINT: "http://elsewhere:9292/../"}
    assert With(server, "x/y", headers).ask("GET", f"/v1/images/{'a' * 64}/json").status == 500
    assert "which glance_endpoints does not" in server.log
    assert user.token() not in server.log


def test_a_listed_address_is_used(server: Server, glance: Glance) -> None:
    pushed = image("listed")
    headers = {TOKEN: "whatever", ENDPOINT: glance.open_url}  # where no token is looked at
    With(server, "team/listed", headers).push([pushed], "v1")
    [found] = [i for i in glance.open_images() if i.get("docker_image_id") == pushed.id]
    assert found["owner"] is None


def test_a_wrong_token_is_refused(server: Server) -> None:
    pushed = image("wrong")
    engine = With(server, "team/wrong", {TOKEN: "wrong"})
    assert engine.put_json(pushed).status == 200
    assert engine.put_layer(pushed).status == 500
    assert raw.get(server, "/v1/_ping").status == 200


def test_without_the_option_the_headers_have_no_effect(glance: Glance, tmp_path: Path) -> None:
    registry, user, pushed = glance.account(), glance.account(), image("ignored")
    with Server(tmp_path / "unused", env=registry.environ(tmp_path / "rest")) as server:
        With(server, "team/ignored", {TOKEN: user.token(), ENDPOINT: "x"}).push([pushed], "v1")
    assert len(owners(registry, pushed)) == 1
    assert owners(user, pushed) == []
