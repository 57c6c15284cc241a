"""A fake of OpenStack's Keystone for a real Swift: small, and strict about requests.

It knows one user of one project, hands out tokens that Swift's own authentication made, and a
catalog with two regions. Whatever else is asked is refused, and noted in `unexpected`.
"""

from __future__ import annotations

import json
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from tests.backends.swift import PASSWORD, USER, Swift

V3 = {
    "auth": {
        "identity": {
            "methods": ["password"],
            "password": {
                "user": {"name": "registry", "password": "right", "domain": {"name": "People"}}
            },
        },
        "scope": {"project": {"name": "images", "domain": {"name": "Projects"}}},
    }
}
V2 = {
    "auth": {
        "passwordCredentials": {"username": "registry", "password": "right"},
        "tenantName": "images",
    }
}


class Keystone:
    """The running fake at `url`; `issued` counts tokens; `expires` is the end of the next ones."""

    def __init__(self, swift: Swift, storage_port: int = 0) -> None:
        self._swift = swift
        self._storage_port = storage_port or swift.port
        self.issued = 0
        self.unexpected: list[str] = []
        self.expires = "2999-01-01T00:00:00.000000Z"
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, headers, answer = outer.answer(self.path, body)
                data = json.dumps(answer).encode()
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(data))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def do_GET(self) -> None:
                outer.unexpected.append(f"GET {self.path}")
                self.send_error(404)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def __enter__(self) -> Keystone:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def options(self, **more: object) -> dict[str, object]:
        """Return options of the driver to use Swift with this Keystone."""
        own = {
            "swift_authurl": f"{self.url}/v3",
            "swift_user": "registry",
            "swift_password": "right",
            "swift_tenant_name": "images",
            "swift_user_domain": "People",
            "swift_project_domain": "Projects",
            "swift_region_name": "two",
        }
        return self._swift.options(**{**own, **more})

    def answer(self, path: str, body: Any) -> tuple[int, dict[str, str], dict[str, Any]]:
        wanted = {"/v3/auth/tokens": V3, "/v2.0/tokens": V2}.get(path)
        if wanted is None:
            self.unexpected.append(f"POST {path}")
            return 404, {}, {"error": {"message": "no such resource", "code": 404}}
        if body != wanted:
            return 401, {}, {"error": {"message": "The request requires it", "code": 401}}
        self.issued += 1
        token, storage = self._token()
        if wanted is V3:
            return 201, {"X-Subject-Token": token}, self._v3(storage)
        return 200, {}, self._v2(token, storage)

    def _token(self) -> tuple[str, str]:
        headers = {"X-Auth-User": USER, "X-Auth-Key": PASSWORD, "X-Auth-New-Token": "true"}
        request = urllib.request.Request(self._swift.authurl, headers=headers)
        with urllib.request.urlopen(request, timeout=20) as answer:
            storage = answer.headers["X-Storage-Url"]
            return answer.headers["X-Auth-Token"], storage.replace(
                str(self._swift.port), str(self._storage_port)
            )

    def _v3(self, storage: str) -> dict[str, Any]:
        dead = "http://127.0.0.1:1/v1/AUTH_other"
        addresses = [("one", "public", dead), ("two", "public", storage), ("two", "internal", dead)]
        endpoints = [
            {
                "id": str(number),
                "region": region,
                "region_id": region,
                "interface": kind,
                "url": url,
            }
            for number, (region, kind, url) in enumerate(addresses)
        ]
        catalog = {"type": "object-store", "name": "swift", "id": "s", "endpoints": endpoints}
        return {
            "token": {
                "methods": ["password"],
                "expires_at": self.expires,
                "issued_at": "2020-01-01T00:00:00.000000Z",
                "user": {"id": "u", "name": "registry", "domain": {"id": "p", "name": "People"}},
                "project": {"id": "i", "name": "images", "domain": {"id": "q", "name": "Projects"}},
                "catalog": [catalog],
            }
        }

    def _v2(self, token: str, storage: str) -> dict[str, Any]:
        tenant = {"id": "i", "name": "images"}
        endpoints = [{"region": "two", "publicURL": storage, "internalURL": storage}]
        return {
            "access": {
                "token": {"id": token, "expires": "2999-01-01T00:00:00Z", "tenant": tenant},
                "user": {"id": "u", "name": "registry", "roles": []},
                "serviceCatalog": [
                    {"type": "object-store", "name": "swift", "endpoints": endpoints}
                ],
            }
        }
