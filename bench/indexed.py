"""Our server with all features at once: its own index, Redis, and the scan of pushed layers for v2."""

from __future__ import annotations

import base64
import os
import secrets
import subprocess
import sys
from collections.abc import Callable

from bench import servers
from bench.remote import Backends
from bench.rows import INDEXED, INDEXED_POSTGRES
from bench.servers import KEPT, ROOT, Server, Site, Unavailable
from bench.stores import Files
from tests.needs import missing

_NAME = "bench"
_ADD_USER = ("v1registry", "index", "user", "add", _NAME, "--admin", "--password-stdin")


def makers(backends: Backends) -> dict[str, Callable[[], Site]]:
    """Return the names of these servers, and the function that starts each."""

    def sqlite() -> Site:
        return _started(backends, INDEXED, f"sqlite:///{backends.folder}/index.db")

    def postgres() -> Site:
        return _started(backends, INDEXED_POSTGRES, backends.postgres.database())

    return {INDEXED: sqlite, INDEXED_POSTGRES: postgres}


def _started(backends: Backends, name: str, database: str) -> Server:
    if absent := missing("redis"):
        raise Unavailable(f"needs {absent}")
    environ = {"INDEX_DATABASE": database, **backends.redis.env}
    kept = {key: os.environ[key] for key in KEPT if key in os.environ}
    password = secrets.token_hex(16)
    # Its administrator may push to every repository.
    subprocess.run(
        [sys.executable, "-m", *_ADD_USER],
        env={**kept, "PYTHONPATH": str(ROOT), "SETTINGS_FLAVOR": "local", **environ},
        input=f"{password}\n",
        text=True,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        check=True,
        timeout=60,
    )
    folder = backends.folder / name
    folder.mkdir()
    server = servers.ours(Files(folder / "store"), name, **environ)
    shown = base64.b64encode(f"{_NAME}:{password}".encode()).decode()
    server.headers = (f"Authorization: Basic {shown}",)
    return server
