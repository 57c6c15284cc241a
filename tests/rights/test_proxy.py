"""Accounts behind the documented nginx: one that adds TLS, and one that identifies the users."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

from tests import raw
from tests.live_server import Server
from tests.needs import needs
from tests.nginx import Nginx
from tests.protocol import engine
from tests.protocol.engine import image
from tests.rights.accounts import Client, basic, environment, password_file
from tests.rights.tls import certificate


class Front:
    """An nginx in place of a server, for tests.raw."""

    def __init__(self, nginx: Nginx, tls: Path | None = None) -> None:
        self.host = nginx.host
        self._port = nginx.port
        self._tls = tls

    def connect(self, timeout: float = 30) -> socket.socket:
        plain = socket.create_connection(("127.0.0.1", self._port), timeout=timeout)
        if self._tls is None:
            return plain
        context = ssl.create_default_context(cafile=str(self._tls))
        return context.wrap_socket(plain, server_hostname="127.0.0.1")


@needs("nginx", "openssl")
def test_tls_in_front(tmp_path: Path) -> None:
    file, key = certificate(tmp_path / "tls")
    env = environment(password_file(tmp_path, ["ada", "bob"]))
    with Server(tmp_path / "store", env=env) as server:
        changes = {
            "listen 80;": "",
            "server_name registry.example.com;": "server_name _; listen 127.0.0.1:PORT ssl;"
            f" ssl_certificate {file}; ssl_certificate_key {key};",
        }
        nginx = Nginx(tmp_path / "nginx", [server.port], store=server.store)
        changes = {old: new.replace("PORT", str(nginx.port)) for old, new in changes.items()}
        nginx._changes |= changes
        nginx.write([server.port])
        with nginx:
            front = Front(nginx, file)
            ada = Client(front, basic("ada"))
            one = image("through nginx")
            ada.push("team/app", [one])
            assert Client(front, basic("bob")).pull("team/app") == {one.id: one.layer}
            refused = raw.get(front, one.path("layer"))
            assert refused.status == 401
            assert refused.header("WWW-Authenticate") == 'Basic realm="Docker registry"'
            assert Client(front, basic("ada", "wrong")).ask("GET", "/v1/users/").status == 401


@needs("nginx")
def test_an_nginx_that_knows_the_users(tmp_path: Path) -> None:
    file = password_file(tmp_path, ["ada", "bob"])
    rules = [
        {"who": "ada", "repositories": "*", "allow": ["pull", "push"]},
        {"who": "users", "repositories": "open/*", "allow": "pull"},
    ]
    env = environment(None, rules, ACCOUNTS_USER_HEADER="X-Remote-User",
                      ACCOUNTS_GROUPS_HEADER="X-Remote-Groups")  # fmt: skip
    header = "proxy_set_header X-Forwarded-Proto $scheme;"
    changes = {
        header: f"{header} proxy_set_header X-Remote-User $remote_user;"
        " proxy_set_header X-Remote-Groups ''; proxy_set_header Authorization '';"
        f" auth_basic registry; auth_basic_user_file {file};"
    }
    with Server(tmp_path / "store", env=env) as server:
        with Nginx(tmp_path / "n", [server.port], store=server.store, changes=changes) as nginx:
            front = Front(nginx)
            ada = Client(front, basic("ada"))
            ada.push("open/app", [image("known to nginx")])
            # nginx drops the headers in which a client names a user
            bob = Client(front, {**basic("bob"), "X-Remote-User": "ada", "X-Remote-Groups": "ops"})
            bob.pull("open/app")
            engine.expect(bob.ask("PUT", "/v1/repositories/open/app/", b"[]"), 403)
            assert raw.get(front, "/v1/users/", {"X-Remote-User": "ada"}).status == 401
