"""docs/examples/nginx.conf in front of a real server: what docs/deploy.md promises of it."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from tests.needs import require, tool
from tests.server import ROOT, Server, free_port

EXAMPLES = ROOT / "docs" / "examples"
LAYER = secrets.token_bytes(3 * 1024 * 1024 + 17)  # more than nginx's default body limit


@dataclass
class Site:
    """nginx's URL, and an image that was pushed through it."""

    url: str
    host: str
    image: str
    server: Server


def nginx_config(folder: Path, example: str, port: int, server: Server) -> Path:
    """The documented server block in a whole configuration, with only the marked lines changed."""
    changes = {
        "listen 80;": f"listen 127.0.0.1:{port};",
        "server 127.0.0.1:5000;": f"server 127.0.0.1:{server.port};",
        "alias /var/lib/v1registry/;": f"alias {server.store}/;",
    }
    for old, new in changes.items():
        assert example.count(old) == 1, old
        example = example.replace(old, new)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "\n".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    user = "user root;" if os.geteuid() == 0 else ""
    path = folder / "nginx.conf"
    path.write_text(
        f"daemon off; {user} pid {folder}/pid; error_log {folder}/error.log; worker_processes 1;\n"
        f"events {{}}\nhttp {{ access_log off; {temporary}\n{example}\n}}\n"
    )
    return path


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
        port = free_port()
        config = nginx_config(folder, (EXAMPLES / "nginx.conf").read_text(), port, server)
        log = folder / "error.log"
        command = [tool("nginx"), "-c", str(config), "-p", str(folder), "-e", str(log)]
        process = subprocess.Popen(command, start_new_session=True)
        try:
            end = time.monotonic() + 20
            while time.monotonic() < end and process.poll() is None:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=5).close()
                    break
                except OSError:
                    time.sleep(0.05)
            else:
                pytest.fail(f"nginx does not listen: {log.read_text() if log.exists() else ''}")
            url = f"http://127.0.0.1:{port}"
            yield Site(url, f"127.0.0.1:{port}", push(url), server)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


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
    # As engines resume: the last byte that they name is one past the end.
    headers = {"Range": f"bytes=1000-{len(LAYER)}"}
    answer = requests.get(url, headers=headers, timeout=30)
    assert answer.status_code == 206
    assert answer.content == LAYER[1000:]


def test_the_store_is_not_open_to_the_world(site: Site) -> None:
    for path in (f"/_layers/images/{site.image}/layer", "/_layers/"):
        assert requests.get(site.url + path, timeout=30).status_code == 404


def test_engines_are_sent_back_to_nginx(site: Site) -> None:
    answer = requests.put(f"{site.url}/v1/repositories/team/app/", data=b"[]", timeout=30)
    assert answer.status_code == 200
    assert answer.headers["X-Docker-Endpoints"] == site.host


def test_the_log_names_the_client_whatever_it_says_itself(site: Site) -> None:
    host, port = site.host.split(":")
    client = "127.0.0.2"  # not one of the trusted proxies, as 127.0.0.1 is
    connection = http.client.HTTPConnection(host, int(port), timeout=30, source_address=(client, 0))
    connection.request("GET", "/v1/_ping", headers={"X-Forwarded-For": "192.0.2.7"})
    assert connection.getresponse().status == 200
    connection.close()
    end = time.monotonic() + 10  # the line is written after the answer
    while f" {client} " not in site.server.log:
        assert time.monotonic() < end, site.server.log
        time.sleep(0.02)
    assert "192.0.2.7" not in site.server.log


def test_a_tls_probe_on_the_plain_port_is_answered_at_once(site: Site) -> None:
    host, port = site.host.split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + bytes(32))
        # An answer, while the connection is still open on our side: nobody waits for more.
        assert connection.recv(1024).startswith(b"HTTP/1.1 400 ")
