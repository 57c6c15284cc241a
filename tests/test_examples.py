"""docs/examples: nginx.conf in front of a real server, as in docs/nginx.md, and the systemd unit."""

from __future__ import annotations

import hashlib
import http.client
import json
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from tests.live_server import Server
from tests.needs import needs, require, tool
from tests.nginx import Nginx
from tests.waiting import wait_for

ROOT = Path(__file__).parent.parent
LAYER = secrets.token_bytes(3 * 1024 * 1024 + 17)  # more than nginx's default body limit


@dataclass
class Site:
    """The URL of nginx, and an image that was pushed through it."""

    url: str
    host: str
    image: str
    server: Server


def push(url: str) -> str:
    """Push an image whose layer is LAYER, chunked."""
    image = secrets.token_hex(32)
    document = json.dumps({"id": image}).encode()
    checksum = hashlib.sha256(document + b"\n" + LAYER).hexdigest()
    pieces = (LAYER[start : start + 32768] for start in range(0, len(LAYER), 32768))
    here = f"{url}/v1/images/{image}"
    headers = {"X-Docker-Checksum-Payload": f"sha256:{checksum}"}
    for answer in (
        requests.put(f"{here}/json", data=document, timeout=30),
        requests.put(f"{here}/layer", data=pieces, timeout=30),
        requests.put(f"{here}/checksum", headers=headers, timeout=30),
    ):
        assert answer.status_code == 200, answer.text
    return image


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    require("nginx")
    folder = tmp_path_factory.mktemp("nginx")
    with Server(folder / "store", env={"NGINX_X_ACCEL_REDIRECT": "/_layers"}) as server:
        with Nginx(folder, [server.port], store=server.store) as nginx:
            yield Site(nginx.url, nginx.host, push(nginx.url), server)


def wait_for_line(server: Server, text: str) -> None:
    """Wait for a line of the access log, which is written after the answer."""
    wait_for(lambda: text in server.log, 10, lambda: server.log)


def test_nginx_sends_the_layer_and_no_etag(site: Site) -> None:
    answer = requests.get(f"{site.url}/v1/images/{site.image}/layer", timeout=30)
    assert answer.status_code == 200
    assert answer.content == LAYER
    assert answer.headers["Content-Length"] == str(len(LAYER))
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert "nginx" in answer.headers["Server"]
    assert "ETag" not in answer.headers
    assert "X-Accel-Redirect" not in answer.headers
    direct = requests.get(f"{site.server.url}/v1/images/{site.image}/layer", timeout=30)
    assert direct.headers["X-Accel-Redirect"] == f"/_layers/images/{site.image}/layer"
    assert direct.content == b""


def test_resumed_ranges(site: Site) -> None:
    url = f"{site.url}/v1/images/{site.image}/layer"
    # As engines resume: their last byte is one past the end.
    headers = {"Range": f"bytes=1000-{len(LAYER)}"}
    answer = requests.get(url, headers=headers, timeout=30)
    assert answer.status_code == 206
    assert answer.content == LAYER[1000:]


def test_the_store_is_not_public(site: Site) -> None:
    for path in (f"/_layers/images/{site.image}/layer", "/_layers/"):
        assert requests.get(site.url + path, timeout=30).status_code == 404


def test_engines_are_directed_to_nginx(site: Site) -> None:
    answer = requests.put(f"{site.url}/v1/repositories/team/app/", data=b"[]", timeout=30)
    assert answer.status_code == 200
    assert answer.headers["X-Docker-Endpoints"] == site.host


def test_a_client_cannot_forge_its_address_in_the_log(site: Site) -> None:
    host, port = site.host.split(":")
    client = "127.0.0.2"  # not one of the trusted proxies, as 127.0.0.1 is
    connection = http.client.HTTPConnection(host, int(port), timeout=30, source_address=(client, 0))
    connection.request("GET", "/v1/_ping", headers={"X-Forwarded-For": "192.0.2.7"})
    assert connection.getresponse().status == 200
    connection.close()
    wait_for_line(site.server, f" {client} ")
    assert "192.0.2.7" not in site.server.log


def test_a_client_cannot_choose_its_request_id(site: Site) -> None:
    for path in ("/v1/_ping", f"/v1/images/{site.image}/json"):
        given = secrets.token_hex(16)
        answer = requests.get(site.url + path, headers={"X-Request-Id": given}, timeout=30)
        assert answer.status_code == 200
        found = answer.headers["X-Request-Id"]
        assert found != given
        wait_for_line(site.server, f" {found} ")
        assert given not in site.server.log


def test_a_tls_probe_on_the_plain_port_is_answered_at_once(site: Site) -> None:
    host, port = site.host.split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + bytes(32))
        # The answer arrives while our side of the connection is still open.
        assert connection.recv(1024).startswith(b"HTTP/1.1 400 ")


def checked(unit: str, folder: Path) -> str:
    """Return the complaints of systemd about the unit, with a program that exists."""
    file = folder / "v1registry.service"
    unit = unit.replace("/opt/v1registry/.venv/bin/python", sys.executable)
    file.write_text(unit.replace("/opt/v1registry", str(ROOT)))
    command = [tool("systemd-analyze"), "verify", "--man=no", str(file)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60).stderr


@needs("systemd-analyze")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    unit = (ROOT / "docs" / "examples" / "v1registry.service").read_text()
    assert checked(unit, tmp_path) == ""
    # A broken unit is reported.
    assert "KilMode" in checked(unit.replace("KillMode", "KilMode"), tmp_path)
    assert "serve" in checked(unit.replace("[Service]\n", "[Service]\nExecStop=serve\n"), tmp_path)
