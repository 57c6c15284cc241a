"""One run of a load against one server, and its measurements."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import urllib.request
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from bench import memory
from bench.clients import MANIFEST
from bench.material import MIB, Layer, Material, v1_push, v2_push
from bench.servers import ROOT, Site
from bench.usage import Peak

VIEW = "ours-v2"
"""Our server, measured over v2."""
_LIMIT = 120.0  # seconds for a run
_SPARE = 30.0  # further seconds for the process of the load generator
SIZES = (200 * MIB, 20 * MIB, 5 * MIB, 2 * MIB)
"""Sizes in bytes of the layers for pulls."""


@dataclass
class Figures:
    """The result of one run. Times are in seconds, memory in MB (10^6 bytes)."""

    seconds: float
    bytes: int
    answers: int
    errors: int
    cpu: float
    mb: float
    generator: float
    messages: dict[str, int] = field(default_factory=dict)
    last: dict[str, float] = field(default_factory=dict)


@dataclass
class Load:
    """The clients of one run for `bench.load`, the limit in seconds, and what to delete afterwards."""

    clients: list[dict[str, Any]]
    limit: float = _LIMIT
    pushed: list[tuple[str, list[Layer]]] = field(default_factory=list)


def measure(server: Site, load: Load) -> Figures:
    """Run `load` against `server`, then delete the pushed data."""
    job = {"address": server.address, "limit": load.limit, "clients": load.clients}
    with Peak(server.pids) as peak:
        memory.warm(sum(layer.size for _, layers in load.pushed for layer in layers))
        used = server.cpu()
        done = subprocess.run(
            [sys.executable, "-m", "bench.load"],
            input=json.dumps(job).encode(),
            stdout=subprocess.PIPE,
            cwd=ROOT,
            timeout=load.limit + _SPARE,
            check=True,
        )
    used = server.cpu() - used
    found = json.loads(done.stdout)
    figures = Figures(
        found["seconds"],
        found["bytes"],
        found["answers"],
        found["errors"],
        used,
        peak.mb,
        found["cpu"],
        found["messages"],
        found["last"],
    )
    if load.pushed:
        for name, layers in load.pushed:
            server.store.remove(name, layers)
        server.store.settle()
        # Unwritten data of one server must not be written during the run of another.
        os.sync()
    return figures


class Loads:
    """Creates the loads of all rows. Loads of small requests last `seconds`.

    `seed` must run for a server before any pull from it.
    """

    def __init__(self, material: Material, seconds: float) -> None:
        self._material = material
        self._seconds = seconds
        self._count = 0
        self._seeds = {size: material.layers(size) for size in SIZES}

    def seed(self, server: Site) -> None:
        """Push the layers for pulls, unless they exist, and check that the server sends them correctly."""
        for size, layers in self._seeds.items() if not server.store.seeded else ():
            push = self._push(server, f"bench/seed{size}", layers)
            figures = measure(server, Load([push]))
            if figures.errors:
                raise RuntimeError(f"{server.name}: {figures.messages}\n{server.log()}")
        server.store.seeded = True
        self.check(server)

    def check(self, server: Site) -> None:
        """Pull each layer once and check its hash. Afterwards it is in the page cache."""
        for size, layers in self._seeds.items():
            here = f"http://{server.address[0]}:{server.address[1]}"
            if (
                server.speaks == "v2"
            ):  # clients request the manifest first, from which our server computes the digests
                manifest = here + _v2_path(f"bench/seed{size}", "json")
                asked = urllib.request.Request(manifest, headers={"Accept": MANIFEST})
                urllib.request.urlopen(asked, timeout=60).close()
            url = f"{here}{self._path(server, size)}"
            sum = hashlib.sha256()
            with urllib.request.urlopen(url, timeout=60) as answer:
                while piece := answer.read(MIB):
                    sum.update(piece)
            if f"sha256:{sum.hexdigest()}" != layers[0].digest:
                raise RuntimeError(f"{server.name}: {url} has other bytes than were pushed")

    def push(self, server: Site, size: int, layers: int = 1, clients: int = 1) -> Load:
        """Return `clients` that push at the same time: one image each, with several layers of `size` bytes."""
        load = Load([], limit=_LIMIT)
        for _ in range(clients):
            self._count += 1
            name, made = f"bench/push{self._count}", self._material.layers(size, layers)
            load.clients.append(self._push(server, name, made))
            load.pushed.append((name, made))
        return load

    def pull(
        self,
        server: Site,
        size: int,
        clients: int = 1,
        *,
        redirected: bool = False,
        times: int = 1,
    ) -> Load:
        """Return `clients` that pull the layer of `size` bytes at the same time, several times each.

        `redirected`: the server redirects the client to the bytes.
        """
        redirected = redirected and server.speaks != "store"
        what = {"path": self._path(server, size), "length": size, "redirected": redirected}
        what["times"] = times
        return Load([{"kind": "pull", "count": clients, "what": what}], limit=_LIMIT)

    def both(self, server: Site, size: int, pulls: int, pushed: int, pushes: int) -> Load:
        """Return `pulls` clients that pull `size` bytes, and `pushes` that push an image of `pushed` bytes."""
        load = self.push(server, pushed, 1, pushes)
        load.clients += self.pull(server, size, pulls).clients
        return load

    def small(self, server: Site, what: str, *, keep: bool) -> Load:
        """Return 50 clients that send small requests: `json`, `tags` or `ping`."""
        layers = self._seeds[SIZES[-1]]
        name = f"bench/seed{SIZES[-1]}"
        accept = "*/*"
        if server.speaks == "v2":
            path, accept = _v2_path(name, what), MANIFEST
        elif what == "json":
            path = f"/v1/images/{layers[0].id}/json"
        else:
            path = f"/v1/repositories/{name}/tags" if what == "tags" else "/v1/_ping"
        url = f"http://{server.address[0]}:{server.address[1]}{path}"
        asked = urllib.request.Request(url, headers={"Accept": accept})
        with urllib.request.urlopen(asked, timeout=30) as answer:
            length = len(answer.read())
        arguments = {"path": path, "length": length, "accept": accept}
        arguments |= {"seconds": self._seconds, "keep": keep}
        return Load([{"kind": "small", "count": 50, "what": arguments}], limit=self._seconds + 15)

    def _push(self, server: Site, name: str, layers: list[Layer]) -> dict[str, Any]:
        if server.speaks == "v2":
            return {"kind": "push_v2", "what": v2_push(name, layers)}
        return {"kind": "push_v1", "what": {**v1_push(name, layers), "headers": server.headers}}

    def _path(self, server: Site, size: int) -> str:
        layer = self._seeds[size][0]
        if server.speaks == "v2":
            return f"/v2/bench/seed{size}/blobs/{layer.digest}"
        if server.speaks == "files":
            return f"/images/{layer.id}/layer"
        if server.speaks == "store":
            url = urlsplit(server.sign(f"images/{layer.id}/layer") or "")
            return f"{url.path}?{url.query}"
        return f"/v1/images/{layer.id}/layer"


def _v2_path(name: str, what: str) -> str:
    paths = {"json": "manifests/latest", "tags": "tags/list"}
    return f"/v2/{name}/{paths[what]}" if what in paths else "/v2/"
