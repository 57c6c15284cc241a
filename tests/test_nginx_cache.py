"""docs/examples/nginx.conf: which answers come from nginx's cache, and which never do."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import bcrypt
import pytest
import requests

from tests.live_server import Server
from tests.needs import needs, require
from tests.nginx import Nginx
from tests.protocol.engine import Image, image

CREDENTIALS = ({"Authorization": "Token t"}, {"Cookie": "session=1"}, {"X-Meta-Auth-Token": "t"})


@dataclass
class Site:
    url: str
    server: Server


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    require("nginx")
    folder = tmp_path_factory.mktemp("nginx")
    with Server(folder / "store") as server, Nginx(folder, [server.port]) as nginx:
        yield Site(nginx.url, server)


def push(url: str, image: Image, auth: tuple[str, str] | None = None) -> None:
    here = f"{url}/v1/images/{image.id}"
    sent = {"X-Docker-Checksum-Payload": image.checksum}
    for answer in (
        requests.put(f"{url}/v1/repositories/team/app/", json=[{"id": image.id}], auth=auth,
                     timeout=30),
        requests.put(f"{here}/json", data=image.json, auth=auth, timeout=30),
        requests.put(f"{here}/layer", data=image.layer, auth=auth, timeout=30),
        requests.put(f"{here}/checksum", headers=sent, auth=auth, timeout=30),
        requests.put(f"{url}/v1/repositories/team/app/tags/{image.id[:8]}", json=image.id,
                     auth=auth, timeout=30),
    ):  # fmt: skip
        assert answer.status_code == 200, answer.text


def status(answer: requests.Response) -> str:
    return f"{answer.status_code} {answer.headers.get('X-Cache-Status')}"


@pytest.mark.parametrize("part", ["json", "ancestry"])
def test_nginx_answers_the_second_request(site: Site, part: str) -> None:
    pushed = image(secrets.token_hex(8))
    url = f"{site.url}/v1/images/{pushed.id}/{part}"
    assert status(requests.get(url, timeout=30)) == "404 None"  # and this answer is not cached
    push(site.url, pushed)
    first = requests.get(url, timeout=30)
    second = requests.get(url, timeout=30)
    assert [status(first), status(second)] == ["200 MISS", "200 HIT"]
    assert second.content == first.content
    kept = {name: value for name, value in first.headers.items() if name.startswith("X-Docker")}
    assert kept.items() <= second.headers.items()
    assert second.headers["Cache-Control"].startswith("public, ")
    # Nothing else of this image is cached.
    tag = f"{site.url}/v1/repositories/team/app/tags/{pushed.id[:8]}"
    assert [status(requests.get(tag, timeout=30)) for _ in range(2)] == ["200 None"] * 2


@pytest.mark.parametrize("shown", CREDENTIALS, ids=lambda shown: next(iter(shown)))
def test_requests_with_credentials_bypass_the_cache(site: Site, shown: dict[str, str]) -> None:
    pushed = image(secrets.token_hex(8))
    push(site.url, pushed)
    url = f"{site.url}/v1/images/{pushed.id}/json"
    asked = f"GET /v1/images/{pushed.id}/json"
    # They are not stored in the cache,
    for _ in range(2):
        assert status(requests.get(url, headers=shown, timeout=30)) == "200 BYPASS"
    assert status(requests.get(url, timeout=30)) == "200 MISS"
    assert status(requests.get(url, timeout=30)) == "200 HIT"
    # and are not answered from it.
    assert status(requests.get(url, headers=shown, timeout=30)) == "200 BYPASS"
    end = time.monotonic() + 10  # the line of the log is written after the answer
    while site.server.log.count(asked) < 4 and time.monotonic() < end:
        time.sleep(0.05)
    assert site.server.log.count(asked) == 4


@needs("nginx")
def test_an_answer_to_a_user_is_not_cached(tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text(f"ada:{bcrypt.hashpw(b'word', bcrypt.gensalt(4)).decode()}\n")
    ada = ("ada", "word")
    # Without nginx's condition for Authorization: `private` alone must be enough.
    forgetful = {
        "proxy_cache_bypass $http_authorization ": "proxy_cache_bypass ",
        "proxy_no_cache $http_authorization ": "proxy_no_cache ",
    }
    env = {"ACCOUNTS_HTPASSWD": str(users)}
    with Server(tmp_path / "store", env=env) as server:
        with Nginx(tmp_path / "nginx", [server.port], changes=forgetful) as nginx:
            pushed = image("kept from others")
            push(nginx.url, pushed, ada)
            url = f"{nginx.url}/v1/images/{pushed.id}/json"
            for _ in range(2):
                answer = requests.get(url, auth=ada, timeout=30)
                assert status(answer) == "200 MISS"
                assert answer.headers["Cache-Control"].startswith("private, ")
            assert requests.get(url, timeout=30).status_code == 401
