"""The clients: pushes and pulls in both protocols, and small requests.

Each is a generator for `bench.loop`, and adds its answers and bytes to `tally`. It checks the status
and the length of every answer.
"""

from __future__ import annotations

import os
import time
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

from bench.loop import READ, Outcome, Waits, Wrong, exchange, opened

Address = tuple[str, int]

_CHUNKED = "Transfer-Encoding: chunked"
_JSON = "Content-Type: application/json"
_BINARY = "Content-Type: application/octet-stream"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def pull(
    address: Address,
    tally: Outcome,
    *,
    path: str,
    length: int,
    redirected: bool = False,
    times: int = 1,
) -> Waits:
    """GET a layer several times in sequence, each time on a new connection.

    `redirected`: from the Location of the first answer.
    """
    for _ in range(times):
        yield from _pull_once(address, path, length, redirected)
        tally.answers += 1
        tally.bytes += length


def _pull_once(address: Address, path: str, length: int, redirected: bool) -> Waits:
    if redirected:
        connection = yield from opened(address)
        with closing(connection):
            asked = request("GET", path, address, "Connection: close")
            answer = yield from exchange(connection, asked, (302, 307))
        url = urlsplit(answer.headers["location"])
        address, path = (str(url.hostname), int(url.port or 80)), f"{url.path}?{url.query}"
    connection = yield from opened(address)
    with closing(connection):
        yield from exchange(connection, request("GET", path, address), 200, length=length)


def push_v1(
    address: Address,
    tally: Outcome,
    *,
    name: str,
    layers: list[dict[str, Any]],
    headers: tuple[str, ...] = (),
) -> Waits:
    """Push one image as Docker up to 1.5 does: with a new connection for every request.

    A layer: `id`, `json`, `checksum`, `file` (the framed bytes), `framed`, `tail`, `size`.
    `headers` are sent with every request, for example credentials.
    """

    def once(method: str, path: str, status: int, *own: str, **more: Any) -> Waits:
        connection = yield from opened(address)
        with closing(connection):
            asked = request(method, path, address, *own, *headers, "Connection: close")
            yield from exchange(connection, asked, status, **more)
        tally.answers += 1

    def text(method: str, path: str, status: int, content: str) -> Waits:
        body = content.encode()
        yield from once(method, path, status, _JSON, f"Content-Length: {len(body)}", tail=body)

    listing = ", ".join(f'{{"id": "{layer["id"]}"}}' for layer in layers)
    yield from text("PUT", f"/v1/repositories/{name}/", 200, f"[{listing}]")
    for layer in layers:
        here = f"/v1/images/{layer['id']}"
        yield from once("GET", f"{here}/json", 404)
        yield from text("PUT", f"{here}/json", 200, layer["json"])
        file = os.open(layer["file"], os.O_RDONLY)
        try:
            body = {"file": (file, layer["framed"]), "tail": layer["tail"].encode()}
            yield from once("PUT", f"{here}/layer", 200, _CHUNKED, **body)
        finally:
            os.close(file)
        sums = f"X-Docker-Checksum-Payload: {layer['checksum']}"
        yield from once("PUT", f"{here}/checksum", 200, sums, "Content-Length: 0")
        tally.bytes += layer["size"]
    yield from text("PUT", f"/v1/repositories/{name}/tags/latest", 200, f'"{layers[-1]["id"]}"')
    yield from text("PUT", f"/v1/repositories/{name}/images", 204, "[]")


def push_v2(
    address: Address, tally: Outcome, *, name: str, layers: list[dict[str, Any]], **image: str
) -> Waits:
    """Push one image as Docker from 1.6 does: on one connection, with POST, PATCH and PUT for a layer.

    A layer: `digest`, `file`, `framed`, `tail`, `size`; of the image: `config`, `config_digest`,
    `manifest`.
    """
    connection = yield from opened(address)

    def ask(method: str, path: str, status: int, *headers: str, **more: Any) -> Waits:
        tally.answers += 1
        return (
            yield from exchange(
                connection, request(method, path, address, *headers), status, **more
            )
        )

    def blob(digest: str, *headers: str, **body: Any) -> Waits:
        yield from ask("HEAD", f"/v2/{name}/blobs/{digest}", 404, bodiless=True)
        answer = yield from ask(
            "POST", f"/v2/{name}/blobs/uploads/", 202, "Content-Length: 0", length=0
        )
        answer = yield from ask(
            "PATCH", _path(answer.headers["location"]), 202, _BINARY, *headers, **body
        )
        place = _path(answer.headers["location"])
        place += ("&" if "?" in place else "?") + f"digest={digest}"
        yield from ask("PUT", place, 201, "Content-Length: 0", length=0)

    with closing(connection):
        for layer in layers:
            file = os.open(layer["file"], os.O_RDONLY)
            try:
                body = {"file": (file, layer["framed"]), "tail": layer["tail"].encode()}
                yield from blob(layer["digest"], _CHUNKED, **body)
            finally:
                os.close(file)
            tally.bytes += layer["size"]
        config, manifest = image["config"].encode(), image["manifest"].encode()
        yield from blob(image["config_digest"], f"Content-Length: {len(config)}", tail=config)
        kind = f"Content-Type: {MANIFEST}"
        size = f"Content-Length: {len(manifest)}"
        yield from ask("PUT", f"/v2/{name}/manifests/latest", 201, kind, size, tail=manifest)


def small(
    address: Address,
    tally: Outcome,
    *,
    path: str,
    length: int,
    seconds: float,
    keep: bool,
    accept: str = "*/*",
) -> Waits:
    """GET a small answer repeatedly for `seconds`, on one connection or on many."""
    headers = [f"Accept: {accept}", *([] if keep else ["Connection: close"])]
    asked = request("GET", path, address, *headers)
    ends = time.perf_counter() + seconds
    while time.perf_counter() < ends:
        connection = yield from opened(address)
        with closing(connection):
            stays = True
            while stays and time.perf_counter() < ends:
                stays = yield from _one_small(connection, asked, length)
                tally.answers += 1


def _one_small(connection: Any, asked: bytes, length: int) -> Waits:
    """Send one request; return whether the connection stays open (nginx closes it after 1000 requests)."""
    # Nearly always the request is sent in one call and the answer received in one piece.
    if connection.sock.send(asked) != len(asked):
        raise Wrong("request not sent at once")
    yield connection, READ
    data = connection.sock.recv(65536)
    while (end := data.find(b"\r\n\r\n")) < 0 or len(data) < end + 4 + length:
        yield connection, READ
        more = connection.sock.recv(65536)
        if not more:
            raise Wrong("cut short" if data else "closed before the answer")
        data += more
    if not data.startswith(b"HTTP/1.1 200 ") or len(data) != end + 4 + length:
        raise Wrong(f"unexpected answer {data[:60]!r}")
    return b"\r\nconnection: close" not in data[:end].lower()


def request(method: str, path: str, address: Address, *headers: str) -> bytes:
    """Return the head of a request."""
    host = f"Host: {address[0]}:{address[1]}"
    lines = [f"{method} {path} HTTP/1.1", host, "User-Agent: v1registry-bench", *headers, "", ""]
    return "\r\n".join(lines).encode()


def _path(location: str) -> str:
    """Return path and query of a Location, which may be a whole URL."""
    if location.startswith("http"):
        return "/" + location.split("/", 3)[3]
    return location


KINDS = {"pull": pull, "push_v1": push_v1, "push_v2": push_v2, "small": small}
