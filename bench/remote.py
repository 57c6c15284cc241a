"""Servers on object stores: the stores themselves, ours on them in several forms, the Go registry."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable
from pathlib import Path

from bench.servers import HOST, ROOT, Server, Site, Unavailable, find, free_port
from bench.stores import GoObjects, Objects, Store
from tests.backends.ceph import ACCESS, SECRET, Ceph
from tests.backends.swift import TEMP_URL_KEY, Swift
from tests.needs import missing
from tests.nginx import Nginx
from tests.redisserver import Redis
from v1registry.storage.loading import load

_GO = """\
version: 0.1
log: {{level: info}}
storage:
  cache: {{blobdescriptor: inmemory}}
  s3:
    accesskey: {access}
    secretkey: {secret}
    region: us-east-1
    regionendpoint: "{url}"
    bucket: registry
    secure: false
    rootdirectory: /{root}
  redirect: {{disable: {streamed}}}
  delete: {{enabled: true}}
http:
  addr: {host}:{port}
  headers: {{X-Content-Type-Options: [nosniff]}}
"""
_COLD = {"CACHE_MEMORY": "0"}
_REDIRECT = {"STORAGE_REDIRECT": "true"}


class Backends:
    """Object stores and Redis, started when they are first asked for, ended with `stack`."""

    def __init__(self, stack: contextlib.ExitStack, folder: Path) -> None:
        self._stack = stack
        self.folder = folder

    @functools.cached_property
    def ceph(self) -> Ceph:
        return self._started("ceph", lambda: Ceph(self.folder / "ceph"))

    @functools.cached_property
    def swift(self) -> Swift:
        return self._started("swift", lambda: Swift(self.folder / "swift"))

    @functools.cached_property
    def redis(self) -> Redis:
        return self._started("redis", lambda: Redis(self.folder / "redis"))

    @functools.cached_property
    def s3_store(self) -> Store:
        return Objects(load(self.ceph.options(storage_path="/ours"), _call), self.ceph)

    @functools.cached_property
    def swift_store(self) -> Store:
        return Objects(load(self.swift.options(storage_path="/ours"), _call))

    @functools.cached_property
    def go_store(self) -> Store:
        return GoObjects(self.ceph, "go")

    def _started(self, name: str, make: Callable[[], object]):
        if absent := missing(name):
            raise Unavailable(f"needs {absent}")
        return self._stack.enter_context(make())

    # -- ours -----------------------------------------------------------------------

    def s3(self, name: str, **more: str) -> Server:
        env = self.ceph.environ(STORAGE_PATH="/ours", **more)
        return self._ours(name, env, self.s3_store)

    def on_swift(self, name: str, **more: str) -> Server:
        env = self.swift.environ(STORAGE_PATH="/ours", SWIFT_TEMP_URL_KEY=TEMP_URL_KEY, **more)
        return self._ours(name, env, self.swift_store)

    def nodes(self, name: str, count: int) -> Site:
        """So many of ours, a worker each, behind nginx as we document it."""
        if absent := missing("nginx"):
            raise Unavailable(f"needs {absent}")
        nodes = [self.s3(f"{name}-{n}", GUNICORN_WORKERS="1") for n in range(count)]
        ports = [node.address[1] for node in nodes]
        front = self._stack.enter_context(Nginx(self.folder / name, ports))
        return Behind(name, (HOST, front.port), [front.pid, *(n.pid for n in nodes)], nodes)

    def _ours(self, name: str, env: dict[str, str], store: Store) -> Server:
        port = free_port()
        own = {"PYTHONPATH": str(ROOT), "REGISTRY_HOST": HOST, "REGISTRY_PORT": str(port)}
        command = [sys.executable, "-m", "v1registry", "serve"]
        return Server(name, command, own | env, port, store, self.folder / f"{name}.log")

    # -- the others -----------------------------------------------------------------

    def go(self, name: str, *, streamed: bool) -> Server:
        """Debian's docker-registry on the same S3 server."""
        port = free_port()
        config = self.folder / f"{name}.yml"
        config.write_text(
            _GO.format(
                access=ACCESS,
                secret=SECRET,
                url=self.ceph.url,
                root="go",
                streamed="true" if streamed else "false",
                host=HOST,
                port=port,
            )
        )
        command = [find("docker-registry"), "serve", str(config)]
        return Server(
            name, command, {}, port, self.go_store, self.folder / f"{name}.log", speaks="v2"
        )

    def bucket(self, name: str) -> Site:
        """The S3 server itself, asked by URLs that our driver signs."""
        storage = load(self.ceph.options(storage_path="/ours"), _call)
        site = Site(name, (HOST, self.ceph.port), self.ceph.pids, self.s3_store, speaks="store")
        site.sign = storage.url
        return site


class Behind(Site):
    """Nodes behind a proxy, which is ended by its own context."""

    def __init__(
        self, name: str, address: tuple[str, int], pids: list[int], nodes: list[Server]
    ) -> None:
        super().__init__(name, address, pids, nodes[0].store)
        self._nodes = nodes

    def stop(self) -> None:
        for node in self._nodes:
            node.stop()


def makers(backends: Backends) -> dict[str, Callable[[], Site]]:
    """Names of servers on object stores, and what starts each."""
    s3, swift = backends.s3, backends.on_swift
    return {
        "ours-s3": lambda: s3("ours-s3"),
        "ours-s3-redirect": lambda: s3("ours-s3-redirect", **_REDIRECT),
        "ours-s3-cold": lambda: s3("ours-s3-cold", **_COLD),
        "ours-s3-redis": lambda: s3("ours-s3-redis", **_COLD, **backends.redis.env),
        "ours-s3-one": lambda: backends.nodes("ours-s3-one", 1),
        "ours-s3-three": lambda: backends.nodes("ours-s3-three", 3),
        "go-s3": lambda: backends.go("go-s3", streamed=True),
        "go-s3-redirect": lambda: backends.go("go-s3-redirect", streamed=False),
        "ceph": lambda: backends.bucket("ceph"),
        "ours-swift": lambda: swift("ours-swift"),
        "ours-swift-redirect": lambda: swift("ours-swift-redirect", **_REDIRECT),
    }


def _call(function: Callable[..., object], *arguments: object) -> object:
    return function(*arguments)
