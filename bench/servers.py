"""The servers that are compared: started as their users start them, ended by their ids."""

from __future__ import annotations

import contextlib
import copy
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench.stores import Files, GoFiles, Store
from bench.usage import cpu, tree

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
_START = 30.0
_STOP = 15.0
_REST = 8.0  # seconds without work; ours reads what was pushed when pushes have rested for 5
_RESTLESS = 60.0
_WORK = 0.05  # CPU seconds in that time that are not rest

# The environment of the caller's shell must not configure the servers.
KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "USER", "VIRTUAL_ENV", "LD_LIBRARY_PATH")

_GO = """\
version: 0.1
log: {{level: info}}
storage:
  cache: {{blobdescriptor: inmemory}}
  filesystem: {{rootdirectory: {store}}}
  delete: {{enabled: true}}
http:
  addr: {host}:{port}
  headers: {{X-Content-Type-Options: [nosniff]}}
"""

# Debian's own nginx.conf where it matters (sendfile, tcp_nopush, access log), with room for the
# connections of the largest row.
_NGINX = """\
daemon off;
{user}
worker_processes {workers};
worker_rlimit_nofile 8192;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
    sendfile on;
    tcp_nopush on;
    types_hash_max_size 2048;
    default_type application/octet-stream;
    access_log {folder}/access.log;
    client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
    uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
    server {{
        listen {host}:{port} backlog=4096;
        location / {{ root {store}; }}
    }}
}}
"""


class Unavailable(Exception):
    """This peer is not installed, or did not start; the text says which."""


class Site:
    """Where requests go: `name`, `address`, the processes `pids` that are charged, its `store`.

    `speaks` tells the protocol: `v1`, `v2`, `files` (plain files of a v1 store), or `store` (an
    object store, by URLs that `sign` makes of keys).
    """

    def __init__(
        self,
        name: str,
        address: tuple[str, int],
        pids: list[int],
        store: Store,
        speaks: str = "v1",
    ) -> None:
        self.name = name
        self.address = address
        self.pids = pids
        self.store = store
        self.speaks = speaks
        self.headers: tuple[str, ...] = ()  # by which pushers say who they are
        self.sign: Callable[[str], str | None] = lambda key: None

    def cpu(self) -> float:
        """CPU seconds of all its processes until now."""
        return sum(cpu(pid) for pid in self.pids)

    def rest(self) -> None:
        """Wait until it has nothing more to do with what was pushed, such as reading it for v2."""
        used, since = self.cpu(), time.monotonic()
        ends = since + _RESTLESS
        while time.monotonic() < min(since + _REST, ends):
            time.sleep(0.2)
            if (now := self.cpu()) > used + _WORK:
                used, since = now, time.monotonic()

    def log(self) -> str:
        """The last lines that it wrote."""
        return ""

    def stop(self) -> None:
        """End what this object has started."""


class Server(Site):
    """A server that is started here; `pid` is that of its first process."""

    def __init__(
        self,
        name: str,
        command: list[str],
        env: dict[str, str],
        port: int,
        store: Store,
        log: Path,
        speaks: str = "v1",
    ) -> None:
        super().__init__(name, (HOST, port), [], store, speaks)
        self._log = log
        inherited = {key: os.environ[key] for key in KEPT if key in os.environ}
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                command,
                env={**inherited, **env},
                cwd=log.parent,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                # An interrupt from the keyboard is ours alone to pass on.
                start_new_session=True,
            )
        self.pid = self._process.pid
        self.pids = [self.pid]
        try:
            self._await()
        except BaseException:
            self.stop()
            raise

    def _await(self) -> None:
        ends = time.monotonic() + _START
        while time.monotonic() < ends:
            if self._process.poll() is not None:
                break
            with contextlib.suppress(OSError), socket.create_connection(self.address, 1) as sock:
                # The listener is there before the workers are: only an answer counts.
                sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
                sock.settimeout(_START)
                if sock.recv(64).startswith(b"HTTP/1."):
                    return
            time.sleep(0.05)
        raise Unavailable(f"{self.name} did not start:\n{self.log()}")

    def log(self) -> str:
        """The last lines that it wrote."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-25:])

    def stop(self) -> None:
        """End it and its children; by force if it takes long."""
        if self._process.poll() is None:
            pids = tree(self.pid)
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(_STOP)
            except subprocess.TimeoutExpired:
                for pid in pids:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                self._process.wait(_STOP)


def asked_by_v2(server: Site, name: str) -> Site:
    """The same running server, to be asked for the same over v2."""
    other = copy.copy(server)
    other.name, other.speaks = name, "v2"
    return other


def ours(store: Files, name: str = "ours", workers: int | None = None, **environ: str) -> Server:
    """This checkout's registry with the settings that users get, and `environ`, on local files."""
    port = free_port()
    store.root.mkdir(exist_ok=True)
    env = {
        "PYTHONPATH": str(ROOT),
        "SETTINGS_FLAVOR": "local",
        "STORAGE_PATH": str(store.root),
        "REGISTRY_HOST": HOST,
        "REGISTRY_PORT": str(port),
        **environ,
    }
    if workers is not None:
        env["GUNICORN_WORKERS"] = str(workers)
    command = [sys.executable, "-m", "v1registry", "serve"]
    return Server(name, command, env, port, store, store.root.parent / f"{name}.log")


def go(folder: Path) -> Server:
    """Debian's docker-registry, the v2 registry in Go."""
    binary = find("docker-registry")
    port = free_port()
    store = folder / "go"
    store.mkdir()
    config = folder / "go.yml"
    config.write_text(_GO.format(store=store, host=HOST, port=port))
    command = [binary, "serve", str(config)]
    return Server("go", command, {}, port, GoFiles(store), folder / "go.log", speaks="v2")


def nginx(store: Files, name: str = "nginx", workers: int | None = None) -> Server:
    """nginx sending the very files of our store."""
    binary = find("nginx")
    port = free_port()
    own = store.root.parent / name
    own.mkdir()
    config = own / "conf"
    config.write_text(
        _NGINX.format(
            folder=own,
            store=store.root,
            host=HOST,
            port=port,
            workers=workers or "auto",
            # As root it would change to a user who may not enter our folder.
            user="user root;" if os.geteuid() == 0 else "",
        )
    )
    command = [binary, "-p", str(own), "-e", str(own / "error.log"), "-c", str(config)]
    return Server(name, command, {}, port, store, own / "log", speaks="files")


def find(program: str) -> str:
    """Where a program lies. Raise Unavailable if it is not installed."""
    # Debian keeps nginx where only root's PATH looks.
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
    found = shutil.which(program, path=path)
    if found is None:
        raise Unavailable(f"{program} is not installed")
    return found


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        return int(sock.getsockname()[1])
