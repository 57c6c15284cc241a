"""A fake index that issues tokens, and can be slow, unavailable or wrong.

Other tests use our own index; this one does what no real index does.
"""

from __future__ import annotations

import json
import secrets
import ssl
import threading
import time
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

Behaviour = Callable[["Handler"], None]


class FakeIndex:
    """Runs on a port of its own. `requests` holds (path, headers) of what it was asked, and
    `connections` counts how often somebody connected.
    """

    def __init__(self, tls: tuple[Path, Path] | None = None) -> None:
        self.tokens: dict[str, str] = {}  # the text of a token -> its repository
        self.images: dict[str, list[object]] = {}
        self.readable: set[str] = set()  # images that layer/ID/access says yes to
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.connections = 0
        self.behaviour: Behaviour | None = None
        self._server = Threading(("127.0.0.1", 0), Handler)
        self._server.index = self
        self._scheme = "http"
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self._scheme = "https"
        run = partial(self._server.serve_forever, poll_interval=0.02)
        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_port}"

    def token(self, repository: str, access: str, ids: list[str] | None = None) -> str:
        """A new token, as engines carry it, without the leading word."""
        if ids is not None:
            self.images[repository] = [{"id": one} for one in ids]
        self.images.setdefault(repository, [])
        text = f'signature={secrets.token_hex(16)},repository="{repository}",access={access}'
        self.tokens[text] = repository
        return text

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> FakeIndex:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Threading(ThreadingHTTPServer):
    daemon_threads = True
    index: FakeIndex

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that close the connection."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Threading

    def setup(self) -> None:
        super().setup()
        self.server.index.connections += 1

    def do_GET(self) -> None:
        index = self.server.index
        index.requests.append((self.path, dict(self.headers.items())))
        if index.behaviour is not None:
            index.behaviour(self)
            return
        text = self.headers.get("Authorization", "").removeprefix("Token ").removeprefix("Token ")
        repository = index.tokens.get(text, "")
        parts = (
            self.path.removeprefix("/v1/repositories/").removeprefix(f"{repository}/").split("/")
        )
        if not repository or not self.path.startswith(f"/v1/repositories/{repository}/"):
            self.answer(401, b'{"error": "bad token"}')
        elif parts == ["images"]:
            self.answer(200, json.dumps(index.images[repository]).encode())
        elif parts[0] == "layer" and parts[2:] == ["access"]:
            self.answer(200, json.dumps({"access": parts[1] in index.readable}).encode())
        else:
            self.answer(404, b"{}")

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Tests read `requests`."""


# -- other behaviours ------------------------------------------------------------


def says(status: int, body: bytes = b"[]", **headers: str) -> Behaviour:
    return lambda handler: handler.answer(status, body, **headers)


def silent(handler: Handler) -> None:
    """Accept the request and send no response."""
    time.sleep(20)


def dripping(handler: Handler) -> None:
    """Send a byte every half second, so that no read timeout is reached."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    for _ in range(40):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.5)


def endless(handler: Handler) -> None:
    """Send a list without an end."""
    handler.send_response(200)
    handler.send_header("Connection", "close")
    handler.end_headers()
    handler.wfile.write(b"[")
    while True:
        handler.wfile.write(b'{"id": "' + b"a" * 64 + b'"},' * 1000)


def broken_off(handler: Handler) -> None:
    """Send half a response."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'[{"id": "')
    handler.close_connection = True
    handler.connection.close()


def no_http(handler: Handler) -> None:
    handler.wfile.write(b"SSH-2.0-OpenSSH\r\n")
    handler.close_connection = True
