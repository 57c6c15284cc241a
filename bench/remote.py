"""Servers on object stores: our server in several forms, the Go registry, and the stores themselves."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from bench.servers import HOST, ROOT, Server, Site, Unavailable, find, free_port
from bench.stores import GoObjects, GoSwift, Objects, Store
from tests.backends.ceph import ACCESS, SECRET, Ceph
from tests.backends.postgres import Postgres
from tests.backends.swift import PASSWORD, TEMP_URL_KEY, USER, Swift
from tests.needs import missing
from tests.nginx import Nginx
from tests.redisserver import Redis
from v1registry.storage.loading import load

_GO = """\
version: 0.1
log: {{level: info}}
storage:
  cache: {{blobdescriptor: inmemory}}
  redirect: {{disable: {streamed}}}
  delete: {{enabled: true}}
{driver}
http:
  addr: {host}:{port}
  headers: {{X-Content-Type-Options: [nosniff]}}
"""
_GO_S3 = """\
  s3:
    accesskey: {access}
    secretkey: {secret}
    region: us-east-1
    regionendpoint: "{url}"
    bucket: registry
    secure: false
    rootdirectory: /{root}"""
_GO_SWIFT = """\
  swift:
    username: {user}
    password: {password}
    authurl: "{url}"
    container: {container}"""
_COLD = {"CACHE_MEMORY": "0"}
_REDIRECT = {"STORAGE_REDIRECT": "true"}


class Backends:
    """Object stores and Redis, started at their first use and stopped with `stack`."""

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
    def postgres(self) -> Postgres:
        return self._started("postgres", Postgres)

    @functools.cached_property
    def s3_store(self) -> Store:
        return Objects(load(self.ceph.options(storage_path="/ours"), _call), self.ceph)

    @functools.cached_property
    def swift_store(self) -> Store:
        return Objects(load(self.swift.options(storage_path="/ours"), _call))

    @functools.cached_property
    def go_store(self) -> Store:
        return GoObjects(self.ceph, "go")

    @functools.cached_property
    def go_swift_store(self) -> Store:
        return GoSwift(self.swift)

    def _started(self, name: str, make: Callable[[], object]):
        if absent := missing(name):
            raise Unavailable(f"needs {absent}")
        return self._stack.enter_context(make())

    # -- our server -----------------------------------------------------------------------

    def s3(self, name: str, **more: str) -> Server:
        env = self.ceph.environ(STORAGE_PATH="/ours", **more)
        return self._ours(name, env, self.s3_store)

    def on_swift(self, name: str, **more: str) -> Server:
        env = self.swift.environ(STORAGE_PATH="/ours", SWIFT_TEMP_URL_KEY=TEMP_URL_KEY, **more)
        return self._ours(name, env, self.swift_store)

    def nodes(self, name: str, count: int) -> Site:
        """Start several of our nodes, with one worker each, behind the documented nginx."""
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

    # -- other servers -----------------------------------------------------------------

    def go(self, name: str, *, streamed: bool) -> Server:
        """Start Debian's docker-registry on the same S3 server."""
        driver = _GO_S3.format(access=ACCESS, secret=SECRET, url=self.ceph.url, root="go")
        return self._go(name, driver, self.go_store, streamed=streamed)

    def go_on_swift(self, name: str, *, streamed: bool) -> Server:
        """Start Debian's docker-registry on the same Swift."""
        driver = _GO_SWIFT.format(
            user=USER,
            password=PASSWORD,
            url=self.swift.authurl,
            container=GoSwift.container,
        )
        return self._go(name, driver, self.go_swift_store, streamed=streamed)

    def _go(self, name: str, driver: str, store: Store, *, streamed: bool) -> Server:
        port, log = free_port(), self.folder / f"{name}.log"
        config = self.folder / f"{name}.yml"
        disable = "true" if streamed else "false"
        config.write_text(_GO.format(driver=driver, streamed=disable, host=HOST, port=port))
        command = [find("docker-registry"), "serve", str(config)]
        return Server(name, command, {}, port, store, log, speaks="v2")

    def container(self, name: str) -> Site:
        """Return Swift itself, for requests with URLs that our driver signs."""
        options = self.swift.options(storage_path="/ours", swift_temp_url_key=TEMP_URL_KEY)
        storage, parts = load(options, _call), urlsplit(self.swift.authurl)
        address = (str(parts.hostname), int(parts.port or 80))
        site = Site(name, address, self.swift.pids, self.swift_store, speaks="store")
        site.sign = storage.url
        return site

    def bucket(self, name: str) -> Site:
        """Return the S3 server itself, for requests with URLs that our driver signs."""
        storage = load(self.ceph.options(storage_path="/ours"), _call)
        site = Site(name, (HOST, self.ceph.port), self.ceph.pids, self.s3_store, speaks="store")
        site.sign = storage.url
        return site


class Behind(Site):
    """Nodes behind a proxy. The context of the proxy stops it."""

    def __init__(
        self, name: str, address: tuple[str, int], pids: list[int], nodes: list[Server]
    ) -> None:
        super().__init__(name, address, pids, nodes[0].store)
        self._nodes = nodes

    def stop(self) -> None:
        for node in self._nodes:
            node.stop()


def makers(backends: Backends) -> dict[str, Callable[[], Site]]:
    """Return the names of servers on object stores, and the function that starts each."""
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
        "go-swift": lambda: backends.go_on_swift("go-swift", streamed=True),
        "go-swift-redirect": lambda: backends.go_on_swift("go-swift-redirect", streamed=False),
        "swift": lambda: backends.container("swift"),
        "ours-swift": lambda: swift("ours-swift"),
        "ours-swift-redirect": lambda: swift("ours-swift-redirect", **_REDIRECT),
    }


def _call(function: Callable[..., object], *arguments: object) -> object:
    return function(*arguments)
