"""docs/tls.md: a port for clients that support only TLS 1.0, and another port that refuses them."""

from __future__ import annotations

import hashlib
import http.client
import json
import secrets
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.live_server import Server, free_port
from tests.needs import require
from tests.nginx import EXAMPLE, Nginx
from tests.tls import Certificate, make_certificate

LAYER = secrets.token_bytes(1_500_000)


@dataclass
class Site:
    """The two ports of one nginx."""

    old: int
    ordinary: int
    certificate: Certificate


def old_block(port: int, certificate: Certificate, store: Path) -> str:
    """Return docs/examples/nginx-old-tls.conf, with only the marked lines changed."""
    text = EXAMPLE.with_name("nginx-old-tls.conf").read_text()
    for old, new in {
        "listen 5443 ssl;": f"listen {port} ssl;",
        "/etc/ssl/registry/old-chain.pem": str(certificate.certificate),
        "/etc/ssl/registry/old-key.pem": str(certificate.key),
        "allow 10.20.0.0/16;": "allow 127.0.0.1;",
        "alias /var/lib/v1registry/;": f"alias {store}/;",
    }.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    require("nginx")
    folder = tmp_path_factory.mktemp("tls")
    certificate = make_certificate(folder / "certificate")
    old, ordinary = free_port(), free_port()
    files = (certificate.certificate, certificate.key)
    changes = {
        "# ssl_certificate /etc/ssl/registry/chain.pem;": f"ssl_certificate {files[0]};",
        "# ssl_certificate_key /etc/ssl/registry/key.pem;": f"ssl_certificate_key {files[1]};",
        "# ssl_protocols TLSv1.2 TLSv1.3;": f"ssl_protocols TLSv1.2 TLSv1.3; listen {ordinary} ssl;",
    }
    with Server(folder / "store", env={"NGINX_X_ACCEL_REDIRECT": "/_layers"}) as server:
        beside = old_block(old, certificate, server.store)
        with Nginx(
            folder / "nginx", [server.port], store=server.store, changes=changes, beside=beside
        ):
            yield Site(old, ordinary, certificate)


def only(version: ssl.TLSVersion, site: Site) -> ssl.SSLContext:
    """Return the TLS context of a client that supports only this version; it checks the certificate."""
    context = ssl.create_default_context(cafile=str(site.certificate.certificate))
    context.set_ciphers("ALL:@SECLEVEL=0")
    # The maximum first: a minimum above it would be refused.
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = version
    context.minimum_version = version
    return context


def ask(
    site: Site,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    source: str = "127.0.0.1",
) -> tuple[int, bytes, http.client.HTTPMessage]:
    """Send one request to the old port over TLS 1.0."""
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context = only(ssl.TLSVersion.TLSv1, site)
    connection = http.client.HTTPSConnection(
        "127.0.0.1", site.old, timeout=30, context=context, source_address=(source, 0)
    )
    try:
        connection.connect()
        assert connection.sock.version() == "TLSv1"
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers
    finally:
        connection.close()


def test_push_and_pull_over_tls_1_0(site: Site) -> None:
    image = secrets.token_hex(32)
    document = json.dumps({"id": image}).encode()
    checksum = hashlib.sha256(document + b"\n" + LAYER).hexdigest()
    here = f"/v1/images/{image}"
    sent = {"X-Docker-Checksum-Payload": f"sha256:{checksum}"}
    assert ask(site, "PUT", f"{here}/json", document)[0] == 200
    assert ask(site, "PUT", f"{here}/layer", LAYER)[0] == 200
    assert ask(site, "PUT", f"{here}/checksum", b"", sent)[0] == 200
    status, layer, _ = ask(site, "GET", f"{here}/layer")
    assert status == 200
    assert layer == LAYER


def test_engines_are_directed_to_the_old_port(site: Site) -> None:
    status, _, headers = ask(site, "PUT", "/v1/repositories/team/app/", b"[]")
    assert status == 200
    assert headers["X-Docker-Endpoints"] == f"127.0.0.1:{site.old}"


def test_a_client_cannot_choose_its_request_id(site: Site) -> None:
    given = secrets.token_hex(16)
    status, _, headers = ask(site, "GET", "/v1/_ping", headers={"X-Request-Id": given})
    assert status == 200
    assert headers["X-Request-Id"] not in (None, given)


def test_other_networks_are_refused(site: Site) -> None:
    assert ask(site, "GET", "/v1/_ping", source="127.0.0.2")[0] == 403


@pytest.mark.parametrize("name", ["TLSv1", "TLSv1_1"])
def test_the_ordinary_port_refuses_old_versions(site: Site, name: str) -> None:
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context = only(ssl.TLSVersion[name], site)
    connection = http.client.HTTPSConnection(
        "127.0.0.1", site.ordinary, timeout=30, context=context
    )
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        connection.connect()
    connection.close()
    # It accepts newer versions.
    connection = http.client.HTTPSConnection(
        "127.0.0.1", site.ordinary, timeout=30, context=only(ssl.TLSVersion.TLSv1_2, site)
    )
    connection.request("GET", "/v1/_ping")
    assert connection.getresponse().status == 200
    connection.close()
