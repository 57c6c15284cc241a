"""A fake Keystone: tokens of v3 and v2.0, their check, and a catalog. Nothing of it is secure.

    with FakeKeystone() as keystone:
        keystone.add("ann", "secret", project="p", roles=["member"])
        keystone.life = 1      # lifetime of new tokens in seconds
        keystone.revoke()      # make all tokens invalid

The real one is a large server; what is wanted of it here is that tokens expire when a test says so.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any


@dataclass
class Account:
    password: str
    project: str
    roles: list[str]


@dataclass
class Token:
    user: str
    account: Account
    expires: datetime = field(default_factory=lambda: datetime.now(UTC))


class _Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    keystone: FakeKeystone

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path.startswith("/v3/auth/tokens"):
            token = self.keystone.valid(self.headers.get("X-Subject-Token", ""))
            if token is None or self.keystone.valid(self.headers.get("X-Auth-Token", "")) is None:
                self._answer(404, {"error": {"message": "no such token", "code": 404}})
            else:
                self._answer(200, self.keystone.v3(token))
            return
        versions = [_version("v3.14", f"{self.keystone.url}/v3/")]
        versions += [_version("v2.0", f"{self.keystone.url}/v2.0/")]
        if self.path.rstrip("/") in ("/v3", "/v2.0"):
            self._answer(200, {"version": versions["/v2" in self.path]})
        else:
            self._answer(300, {"versions": {"values": versions}})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path not in ("/v3/auth/tokens", "/v2.0/tokens"):
            self._answer(404, {"error": {"message": "nothing here", "code": 404}})
            return
        if self.path == "/v3/auth/tokens":
            user = asked["auth"]["identity"]["password"]["user"]
            token = self.keystone.issue(user["name"], user["password"])
        else:
            given = asked["auth"]["passwordCredentials"]
            token = self.keystone.issue(given["username"], given["password"])
        if token is None:
            self._answer(401, {"error": {"message": "wrong password", "code": 401}})
        elif self.path == "/v3/auth/tokens":
            self._answer(201, self.keystone.v3(token[1]), token[0])
        else:
            self._answer(200, self.keystone.v2(*token))

    def _answer(self, status: int, document: Any, token: str | None = None) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if token:
            self.send_header("X-Subject-Token", token)
        self.end_headers()
        self.wfile.write(body)


class FakeKeystone:
    """The running fake at `url`; `glance` is the image service in its catalog."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.tokens: dict[str, Token] = {}
        self.issued = 0
        self.life = 3600.0
        self.glance = ""
        handler = type("Handler", (_Handler,), {"keystone": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def __enter__(self) -> FakeKeystone:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def add(self, user: str, password: str, project: str, roles: list[str]) -> None:
        self.accounts[user] = Account(password, project, roles)

    def revoke(self, user: str) -> None:
        """Make all tokens of this user invalid."""
        self.tokens = {name: t for name, t in self.tokens.items() if t.user != user}

    def issue(self, user: str, password: str) -> tuple[str, Token] | None:
        account = self.accounts.get(user)
        if account is None or account.password != password:
            return None
        self.issued += 1
        name = secrets.token_hex(16)
        expires = datetime.now(UTC) + timedelta(seconds=self.life)
        self.tokens[name] = Token(user, account, expires)
        return name, self.tokens[name]

    def valid(self, name: str) -> Token | None:
        token = self.tokens.get(name)
        return token if token and token.expires > datetime.now(UTC) else None

    def project(self, user: str) -> str:
        """Return the id of the user's project."""
        return _id(self.accounts[user].project)

    def v3(self, token: Token) -> dict[str, Any]:
        domain = {"id": "default", "name": "Default"}
        services = {"image": self.glance, "identity": f"{self.url}/v3"}
        catalog = [
            {
                "type": kind,
                "name": kind,
                "id": kind,
                "endpoints": [
                    {"id": f"{kind}-{way}", "interface": way, "region": "one", "url": url}
                    | {"region_id": "one"}
                    for way in ("public", "internal", "admin")
                ],
            }
            for kind, url in services.items()
        ]
        project = {"name": token.account.project, "domain": domain}
        return {
            "token": {
                "methods": ["password"],
                "user": {"id": _id(token.user), "name": token.user, "domain": domain},
                "project": {"id": _id(token.account.project), **project},
                "roles": [{"id": _id(role), "name": role} for role in token.account.roles],
                "issued_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                "expires_at": token.expires.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                "audit_ids": ["x"],
                "is_domain": False,
                "catalog": catalog,
            }
        }

    def v2(self, name: str, token: Token) -> dict[str, Any]:
        tenant = {"id": _id(token.account.project), "name": token.account.project, "enabled": True}
        endpoint = {"publicURL": self.glance, "region": "one", "id": "image"}
        return {
            "access": {
                "token": {
                    "id": name,
                    "expires": token.expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
                    "tenant": tenant,
                },
                "user": {"id": _id(token.user), "name": token.user, "roles": []},
                "serviceCatalog": [{"type": "image", "name": "image", "endpoints": [endpoint]}],
            }
        }


def _id(name: str) -> str:
    return hashlib.md5(name.encode()).hexdigest()


def _version(name: str, url: str) -> dict[str, Any]:
    return {
        "id": name,
        "status": "stable",
        "updated": "2020-01-01T00:00:00Z",
        "links": [{"rel": "self", "href": url}],
        "media-types": [],
    }
