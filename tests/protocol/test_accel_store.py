"""Layers that nginx fetches from the object store, in every store that can make URLs."""

from __future__ import annotations

import hashlib
import http.client
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from tests import raw
from tests.backends.ceph import Ceph
from tests.faults.engine import Engine, PushedImage, make_image, make_tar, squeeze
from tests.live_server import Server
from tests.needs import require
from tests.nginx import Nginx
from tests.protocol.places import PLACES, Place
from tests.waiting import wait_for

MIB = 1024 * 1024
STORES = [
    pytest.param(name, marks=[pytest.mark.heavy] if place.heavy else [])
    for name, place in PLACES.items()
    if place.redirects
]
REDIRECTED = "X-Accel-Redirect"


@dataclass
class Site:
    """A registry behind nginx, and an image in it."""

    url: str
    server: Server
    place: Place
    image: PushedImage

    @property
    def layer(self) -> str:
        return f"{self.url}/v1/images/{self.image.id}/layer"


@pytest.fixture(scope="module", params=STORES)
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    require("nginx")
    kind = PLACES[request.param]
    place: Place = kind(request.getfixturevalue(kind.backend))
    place.root += " odd+~%41é"  # whatever the store's own folder is called
    folder = tmp_path_factory.mktemp("accel")
    image = make_image("accel", squeeze(make_tar(1, 3 * MIB), 0))
    with place.server(folder, NGINX_X_ACCEL_STORE="/_store") as server:
        Engine(server, "team/accel").push([image], "v1")
        with Nginx(folder / "nginx", [server.port]) as nginx:
            yield Site(nginx.url, server, place, image)


def test_the_layer_comes_from_the_store(site: Site):
    answer = requests.get(site.layer, timeout=30)
    assert answer.status_code == 200
    assert answer.content == site.image.layer
    assert raw.get(site.server, f"/v1/images/{site.image.id}/layer").body == b""
    assert answer.headers["Content-Length"] == str(len(site.image.layer))
    assert answer.headers["Accept-Ranges"] == "bytes"


def test_nginx_adds_the_headers_of_the_registry(site: Site):
    answer = requests.get(site.layer, timeout=30)
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Cache-Control"] == "public, max-age=31536000"
    assert answer.headers["Last-Modified"] == "Thu, 01 Jan 1970 00:00:00 GMT"
    assert answer.headers["Expires"].endswith("GMT")
    forbidden = ("ETag", "Content-Disposition", "Content-Encoding", "Set-Cookie", "X-Store-URL")
    assert [name for name in forbidden if name in answer.headers] == []
    secret = requests.get(site.layer, auth=("user", "password"), timeout=30)
    assert (secret.status_code, secret.content) == (200, site.image.layer)
    assert secret.headers["Cache-Control"] == "private, max-age=31536000"


def test_ranges(site: Site):
    size = len(site.image.layer)
    # as engines resume: the last byte that they name is one past the end
    answer = requests.get(site.layer, headers={"Range": f"bytes=1000-{size}"}, timeout=30)
    assert answer.status_code == 206
    assert answer.headers["Content-Range"] == f"bytes 1000-{size - 1}/{size}"
    assert answer.content == site.image.layer[1000:]
    one = requests.get(site.layer, headers={"Range": "bytes=5-5"}, timeout=30)
    assert (one.status_code, one.content) == (206, site.image.layer[5:6])
    end = requests.get(site.layer, headers={"Range": f"bytes={size}-{size}"}, timeout=30)
    assert (end.status_code, end.headers["Content-Length"], end.content) == (416, "0", b"")


def test_head_costs_no_signed_url(site: Site):
    answer = requests.head(site.layer, timeout=30)
    assert answer.status_code == 200
    assert answer.headers["Content-Length"] == str(len(site.image.layer))
    direct = raw.request(site.server, "HEAD", f"/v1/images/{site.image.id}/layer")
    assert direct.header(REDIRECTED) is None


def test_clients_cannot_request_the_internal_location(site: Site):
    direct = raw.get(site.server, f"/v1/images/{site.image.id}/layer")
    assert direct.header(REDIRECTED) == f"/_store/images/{site.image.id}/layer"
    assert direct.header("Cache-Control") is None  # who comes past nginx must not keep it
    url = direct.header("X-Store-URL") or ""
    for path in (f"/_store/images/{site.image.id}/layer", "/_store/", "/_store"):
        answer = requests.get(site.url + path, headers={"X-Store-URL": url}, timeout=30)
        assert answer.status_code == 404


def test_a_large_layer_is_not_written_to_a_disk(site: Site, tmp_path: Path):
    image = make_image("accel large", secrets.token_bytes(30 * MIB))
    Engine(site.server, "team/accel").push([image], "large")
    with Nginx(tmp_path / "nginx", [site.server.port]) as nginx:
        url = f"{nginx.url}/v1/images/{image.id}/layer"
        sum = hashlib.sha256()
        with requests.get(url, stream=True, timeout=60) as answer:
            for piece in answer.iter_content(MIB):
                sum.update(piece)
                assert not [f for f in nginx.temporary_files() if f.stat().st_size]
    assert sum.digest() == hashlib.sha256(image.layer).digest()


def test_a_layer_that_is_gone_from_the_store(site: Site):
    image = make_image("accel gone", squeeze(make_tar(2, 1000), 0))
    Engine(site.server, "team/accel").push([image], "gone")
    url = f"{site.url}/v1/images/{image.id}/layer"
    assert requests.get(url, timeout=30).content == image.layer
    site.place.remove(f"images/{image.id}/layer")
    answer = requests.get(url, timeout=30)
    assert (answer.status_code, answer.json()) == (404, {"error": "Image not found"})
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-cache"
    missing = requests.get(f"{site.url}/v1/images/{'0' * 64}/layer", timeout=30)
    assert (missing.status_code, missing.json()) == (404, {"error": "Image not found"})


def test_a_store_that_is_gone(site: Site, tmp_path: Path):
    """nginx cannot reach the store: the client gets 503, as from the registry itself."""
    config = {"proxy_pass $store_url;": "proxy_pass http://127.0.0.1:1;"}
    with Nginx(tmp_path / "nginx", [site.server.port], changes=config) as nginx:
        answer = requests.get(f"{nginx.url}/v1/images/{site.image.id}/layer", timeout=30)
    assert answer.status_code == 503
    assert answer.json() == {"error": "The store does not answer, retry later"}
    assert answer.headers["Retry-After"] == "5"


def test_a_store_with_tls(ceph: Ceph, tmp_path: Path):
    """nginx trusts the CA of the store's certificate, as the registry does, and no other."""
    require("nginx")
    assert ceph.tls is not None
    authority = str(ceph.tls.certificate)
    env = ceph.environ(
        AWS_PORT=str(ceph.tls_port),
        AWS_SECURE="true",
        AWS_CA_BUNDLE=authority,
        STORAGE_PATH=f"/{secrets.token_hex(8)}",
        NGINX_X_ACCEL_STORE="/_store",
    )
    image = make_image("accel tls", squeeze(make_tar(3, 1000), 0))
    with Server(tmp_path / "unused", env=env) as server:
        Engine(server, "team/accel").push([image], "tls")
        path, nodes = f"/v1/images/{image.id}/layer", [server.port]
        changes = {
            "/etc/ssl/certs/ca-certificates.crt": authority,
            # it looks for names alone in a certificate, and the store has none here
            "proxy_ssl_server_name on;": "proxy_ssl_name localhost;",
        }
        with Nginx(tmp_path / "trusting", nodes, changes=changes) as nginx:
            assert requests.get(nginx.url + path, timeout=30).content == image.layer
        with Nginx(tmp_path / "strict", nodes) as nginx:
            assert requests.get(nginx.url + path, timeout=30).status_code == 503


def test_a_client_that_disconnects_ends_the_fetch(site: Site):
    image = make_image("accel left", secrets.token_bytes(20 * MIB))
    Engine(site.server, "team/accel").push([image], "left")
    connection = http.client.HTTPConnection(
        *site.url.removeprefix("http://").split(":"), timeout=30
    )
    connection.request("GET", f"/v1/images/{image.id}/layer")
    assert connection.getresponse().read(1000) == image.layer[:1000]
    connection.close()
    # the next one is served as ever
    wait_for(lambda: requests.get(site.layer, timeout=30).content == site.image.layer)
