"""Three nodes behind nginx with one store and one Redis, as in docs/nodes.md."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
import requests

from tests.live_server import Server
from tests.needs import require
from tests.nginx import Nginx
from tests.protocol.engine import Image, image
from tests.redisserver import Redis


@dataclass
class Site:
    url: str
    nodes: list[Server]


@pytest.fixture(scope="module")
def site(redis: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    require("nginx")
    folder = tmp_path_factory.mktemp("nodes")
    env = {**redis.env, "CACHE_MEMORY": "0"}
    with ExitStack() as stack:
        nodes = [stack.enter_context(Server(folder / "store", env=env)) for _ in range(3)]
        with Nginx(folder, [node.port for node in nodes]) as nginx:
            yield Site(nginx.url, nodes)


def push(url: str, image: Image, tag: str) -> None:
    here = f"{url}/v1/images/{image.id}"
    answers = [
        requests.put(f"{here}/json", data=image.json, timeout=30),
        requests.put(f"{here}/layer", data=iter([image.layer]), timeout=30),
        requests.put(f"{here}/checksum", headers={"X-Docker-Checksum-Payload": image.checksum},
                     timeout=30),
        requests.put(f"{url}/v1/repositories/team/nodes/tags/{tag}", data=f'"{image.id}"',
                     timeout=30),
    ]  # fmt: skip
    assert [answer.status_code for answer in answers] == [200] * 4


def test_a_push_through_nginx_is_visible_on_all_nodes_at_once(site: Site, redis: Redis) -> None:
    for number in range(4):
        pushed = image(f"nodes {number}")
        push(site.url, pushed, "latest")
        assert any(key.endswith(pushed.id) for key in redis.all_keys())
        for node in site.nodes:
            here = f"{node.url}/v1"
            tag = requests.get(f"{here}/repositories/team/nodes/tags/latest", timeout=30)
            assert tag.json() == pushed.id
            found = requests.get(f"{here}/images/{pushed.id}/json", timeout=30)
            assert found.content == pushed.json
            layer = requests.get(f"{here}/images/{pushed.id}/layer", timeout=30)
            assert layer.content == pushed.layer
    used = [node for node in site.nodes if ' "PUT /v1/' in node.log]
    assert len(used) > 1  # the calls of a push really reached several nodes


def test_a_node_and_redis_are_killed(site: Site, redis: Redis) -> None:
    pushed = image("nodes before")
    push(site.url, pushed, "before")
    victim = site.nodes[0]
    victim.kill()
    redis.kill()
    try:
        for number in range(12):
            # A new URL each time: nginx caches answers by URL, and must ask the nodes here.
            answer = requests.get(f"{site.url}/v1/images/{pushed.id}/json?{number}", timeout=30)
            assert (answer.status_code, answer.content) == (200, pushed.json)
        push(site.url, image("nodes after"), "after")
        tags = requests.get(f"{site.url}/v1/repositories/team/nodes/tags", timeout=30).json()
        assert set(tags) >= {"before", "after"}
    finally:
        redis.start()
