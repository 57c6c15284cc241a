"""The largest legal requests, and a second client's ping beside each of them.

A worker serves all its clients on one event loop. What keeps it busy for long keeps them waiting.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import raw
from tests.live_server import Server
from tests.protocol import engine, seed
from tests.protocol.v2.world import AGENT

LONGEST = 0.2  # seconds that a ping may take
LARGEST = 4 << 20  # bytes of a body that is no layer: the default of limits.json
TAGS, ENTRIES, ANCESTORS, CHAIN = 100_000, 200_000, 5_000, 20
WAIT = 600  # seconds for one answer: the whole thing may take long, others must not notice


# -- the second client --------------------------------------------------------------------------------

_PINGER = """
import socket, sys, threading, time
worst, done = 0.0, 0
def ping():
    global worst, done
    while True:
        begun = time.perf_counter()
        with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 600) as one:
            one.sendall(b"GET /v1/_ping HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n")
            while one.recv(65536):
                pass
        worst, done = max(worst, time.perf_counter() - begun), done + 1
        time.sleep(0.005)
threading.Thread(target=ping, daemon=True).start()
for line in sys.stdin:
    seen = done
    while done == seen:  # the ping that runs now counts, too, and only once
        time.sleep(0.001)
    print(worst, flush=True)
    worst = 0.0
"""


class Pings:
    """Pings a server without pause, in a separate process."""

    def __init__(self, server: Server) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PINGER, str(server.port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def worst(self) -> float:
        """Return the longest time of a ping since the last call."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("\n")
        return float(self._process.stdout.readline())

    def __enter__(self) -> Pings:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                stream.close()  # type: ignore[union-attr]
        self._process.kill()
        self._process.wait(10)


# -- the requests -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class World:
    """What the requests are about; `share`: one of so many of the largest number of things."""

    server: Server
    share: int


Ask = Callable[[World], Mapping[str, float] | raw.Answer]


def large_json(word: str, parent: str | None = None, kind: str = "members") -> bytes:
    """An image JSON of nearly the largest size."""
    document: dict[str, Any] = {"id": engine.image_id(word)}
    if parent is not None:
        document["parent"] = engine.image_id(parent)
    left = LARGEST - 400
    if kind == "text":
        document["comment"] = "c" * left
    elif kind == "members":
        document["more"] = {f"{number:06x}": 1 for number in range(left // 13)}
    else:
        document["config"] = {"Env": [f"A{number:06x}=<&>" for number in range(left // 17)]}
    data = json.dumps(document).encode()
    assert 0.8 * LARGEST < len(data) <= LARGEST
    return data


def ids(count: int) -> list[str]:
    return [f"{number:064x}" for number in range(count)]


def list_of_images(share: int) -> bytes:
    count = LARGEST // 76 // share
    return json.dumps([{"id": id} for id in ids(count)]).encode()


def layer_of_entries(count: int) -> bytes:
    """A layer of so many small files: one header each."""
    header = engine.tar({"a/deep/folder/that/has/a/name/000000": b""})[:512]
    pieces = []
    for number in range(count):
        name = b"a/deep/folder/that/has/a/name/%06x" % number
        block = bytearray(header)
        block[: len(name)] = name
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
        pieces.append(bytes(block))
    return gzip.compress(b"".join([*pieces, bytes(1024)]), 1)


def get(path: str, agent: Mapping[str, str] | None = None) -> Ask:
    return lambda world: ask(world, "GET", path, headers=agent)


def put(path: str, body: bytes, status: int = 200) -> Ask:
    return lambda world: ask(world, "PUT", path, body, status)


def ask(
    world: World,
    method: str,
    path: str,
    body: bytes | None = None,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> raw.Answer:
    with raw.Connection(world.server, WAIT) as connection:
        lines = {"Host": "a", "Connection": "close", **(headers or {})}
        if body is not None:
            lines["Content-Length"] = str(len(body))
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        connection.send(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + (body or b""))
        answer = connection.read(method)
    assert answer.status == status, str(answer)
    return answer


def form(body: bytes) -> Ask:
    """A form without a CSRF token, which is looked for in the body."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return lambda world: ask(world, "POST", "/ui/none", body, 403, headers)


def path_of(word: str, part: str) -> str:
    return f"/v1/images/{engine.image_id(word)}/{part}"


def page_of(word: str) -> str:
    return f"/ui/images/{engine.image_id(word)}"


def checksum(word: str, document: bytes, layer: bytes, tarsum: bool = False) -> Ask:
    name = "X-Docker-Checksum" if tarsum else "X-Docker-Checksum-Payload"
    value = seed.checksum(document, layer)
    if tarsum:
        value = "tarsum+sha256:" + "0" * 64  # takes as long as the right one
    status = 400 if tarsum else 200
    return lambda world: ask(
        world, "PUT", path_of(word, "checksum"), status=status, headers={name: value}
    )


def seeded(world: World) -> None:
    """The objects in the store, in the form of 0.9.1."""
    store = world.server.store
    layer = gzip.compress(engine.tar({"a": b"a"}))
    chain: list[str] = []
    for number in range(CHAIN if world.share == 1 else 4):
        parent = f"chain {number - 1}" if number else None
        kind = ("members", "text", "list")[number % 3]
        document = large_json(f"chain {number}", parent, kind)
        chain.insert(0, engine.image_id(f"chain {number}"))
        seed.image(store, document, layer, chain, [seed.checksum(document, layer)])
    old = json.dumps({"id": engine.image_id("old")}).encode()
    ancestry = [engine.image_id("old"), *ids(ANCESTORS)]
    seed.image(store, old, layer, ancestry, [seed.checksum(old, layer)])
    entries = layer_of_entries(ENTRIES // world.share)
    for number in range(3):
        word = f"entries {number}"
        parent = f"entries {number - 1}" if number else None
        made = engine.image(word, engine.image(parent) if parent else None)
        ancestry = [engine.image_id(f"entries {n}") for n in range(number, -1, -1)]
        seed.image(store, made.json, entries, ancestry, [seed.checksum(made.json, entries)])
    seed.tags(store / "repositories/large/chain", {"latest": chain[0]})
    many = {f"t{number}": chain[0] for number in range(TAGS // world.share)}
    seed.tags(store / "repositories/large/many", many)
    seed.tags(store / "repositories/large/entries", {"latest": engine.image_id("entries 2")})


def requests(world: World) -> dict[str, Ask]:
    """Each request of the protocol whose cost a client can make grow, in an order that works."""
    listed = list_of_images(world.share)
    layer = gzip.compress(engine.tar({"a": b"a" * 100_000}), 1)
    many = layer_of_entries(ENTRIES // world.share)
    asks: dict[str, Ask] = {}
    for kind in ("members", "text", "list"):
        document = large_json(f"pushed {kind}", None, kind)
        asks |= {
            f"PUT json of {kind}": put(path_of(f"pushed {kind}", "json"), document),
            f"PUT layer after {kind}": put(path_of(f"pushed {kind}", "layer"), layer),
            f"PUT checksum with TarSum after {kind}": checksum(
                f"pushed {kind}", document, layer, tarsum=True
            ),
            f"PUT checksum after {kind}": checksum(f"pushed {kind}", document, layer),
            f"GET json of {kind}": get(path_of(f"pushed {kind}", "json")),
        }
    small = engine.image("many entries")
    nested = b'{"id": "x", "a": [' + b"[]," * (LARGEST // 3 - 20) + b"0]}"
    asks |= {
        "PUT json of nothing but arrays": put(path_of("nested", "json"), nested, 400),
        "PUT json": put(small.path("json"), small.json),
        "PUT layer of many entries": put(small.path("layer"), many),
        "PUT checksum with TarSum of many entries": checksum(
            "many entries", small.json, many, tarsum=True
        ),
        "PUT checksum of many entries": checksum("many entries", small.json, many),
        "GET ancestry": get(path_of("old", "ancestry")),
        "GET files": get(path_of("entries 0", "files")),
        "GET files again": get(path_of("entries 0", "files")),
        "GET diff": get(path_of("entries 2", "diff")),
        "GET diff again": get(path_of("entries 2", "diff")),
        "GET page of an image": get(page_of("chain 3")),
        "GET page of many ancestors": get(page_of("old")),
        "GET page of files": get(
            f"{page_of('entries 0')}/layer?path=a/deep/folder/that/has/a/name"
        ),
        "GET page of a search": get(f"{page_of('entries 0')}/layer?q=name"),
        "GET page of changes": get(f"{page_of('entries 2')}/layer?view=changes"),
        "PUT tag of many ancestors": put(
            "/v1/repositories/large/old/tags/latest", engine.quoted(engine.image_id("old"))
        ),
        "PUT tag of a large image": put(
            "/v1/repositories/large/pushed/tags/latest",
            engine.quoted(engine.image_id("pushed members")),
        ),
        "GET tags": get("/v1/repositories/large/many/tags"),
        "GET tag": get("/v1/repositories/large/many/tags/t1"),
        "GET v2 tags": get("/v2/large/many/tags/list", AGENT),
        "GET v2 tags, last page": get("/v2/large/many/tags/list?last=t9&n=1000", AGENT),
        "PUT images": put("/v1/repositories/large/list/", listed),
        "PUT images again": put("/v1/repositories/large/list/images", listed, 204),
        "GET images": get("/v1/repositories/large/list/images"),
        "PUT images of nothing but arrays": put("/v1/repositories/large/bad/", nested, 400),
        "PUT properties": put("/v1/repositories/large/list/properties", nested, 400),
        "PUT tag of nothing but arrays": put("/v1/repositories/large/list/tags/a", nested, 400),
        "POST users": lambda world: ask(world, "POST", "/v1/users/", nested, 400),
        "GET v2 manifest": get("/v2/large/chain/manifests/latest", AGENT),
        "GET v2 manifest again": get("/v2/large/chain/manifests/latest", AGENT),
        "GET v2 configuration": configuration,
        "GET v2 manifest of many entries": get("/v2/large/entries/manifests/latest", AGENT),
        "GET search": get("/v1/search?q=large"),
        "GET list": get("/v1/index/repositories"),
        "GET v2 catalog": get("/v2/_catalog", AGENT),
        "GET page of repositories": get("/ui/"),
        "GET page of many tags": get("/ui/repositories/large/many"),
        "GET page of many tags, searched": get("/ui/repositories/large/many?q=9&page=9"),
        "GET page of large images": get("/ui/repositories/large/chain"),
        "GET page of many entries": get(f"/ui/images/{engine.image_id('entries 2')}/layer"),
        "POST form of one field": form(b"a=" + b"%41" * 340_000),
        "POST form of many fields": form(b"&".join(b"tag=%06x" % n for n in range(19_000))),
        "DELETE tag": lambda world: ask(world, "DELETE", "/v1/repositories/large/many/tags/t1"),
        "DELETE repository": lambda world: ask(world, "DELETE", "/v1/repositories/large/many/"),
        "DELETE list": lambda world: ask(world, "DELETE", "/v1/repositories/large/list/"),
    }
    return asks


def configuration(world: World) -> raw.Answer:
    manifest = ask(world, "GET", "/v2/large/chain/manifests/latest", headers=AGENT).json()
    digest = manifest["config"]["digest"]
    answer = ask(world, "GET", f"/v2/large/chain/blobs/{digest}", headers=AGENT)
    assert f"sha256:{hashlib.sha256(answer.body).hexdigest()}" == digest
    return answer


def slow_requests(share: int, folder: Path) -> dict[str, float]:
    """Beside which requests a ping took too long, and how many seconds.

    An idle server beside it tells how long a ping takes on this machine just now.
    """
    env = {"SEARCH_BACKEND": "sqlalchemy", "V2_READ_PUSHED": "0"}
    slow = {}
    with Server(folder / "store", env=env) as server, Server(folder / "idle") as idle:
        world = World(server, share)
        seeded(world)
        with Pings(server) as beside, Pings(idle) as control:
            for name, request in requests(world).items():
                beside.worst(), control.worst()
                request(world)
                worst, usual = beside.worst(), control.worst()
                if worst > LONGEST + 2 * usual:
                    slow[name] = round(worst, 3)
    return slow


@pytest.mark.parametrize(
    "share",
    [pytest.param(20, id="part"), pytest.param(1, marks=pytest.mark.heavy, id="all")],
)
def test_no_request_keeps_other_clients_waiting(share: int, tmp_path: Path) -> None:
    """A blocking request blocks each time, a busy machine only by chance: so measure repeatedly."""
    slow = slow_requests(share, tmp_path / "first")
    for again in ("second", "third"):
        if slow:
            repeated = slow_requests(share, tmp_path / again)
            slow = {name: took for name, took in repeated.items() if name in slow}
    assert not slow, "seconds that a ping took beside each of these requests, each time"
