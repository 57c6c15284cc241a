"""The servers that are compared. They are started as users start them, and stopped by process id."""

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
_REST = 8.0  # seconds without work; our server scans pushed layers 5 s after the last push
_RESTLESS = 60.0
_WORK = 0.05  # CPU seconds in that time that count as work

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

# The relevant settings of Debian's nginx.conf (sendfile, tcp_nopush, access log), with enough
# connections for the largest row.
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
    """Raised if a peer is not installed or did not start; the text says which."""


class Site:
    """A measured server: `name`, `address`, its process ids `pids`, its `store`.

    `speaks` is the protocol: `v1`, `v2`, `files` (plain files of a v1 store), or `store` (an object
    store, with URLs that `sign` creates for keys).
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
        self.headers: tuple[str, ...] = ()  # credentials of clients that push
        self.sign: Callable[[str], str | None] = lambda key: None

    def cpu(self) -> float:
        """Return the CPU seconds of all its processes until now."""
        return sum(cpu(pid) for pid in self.pids)

    def rest(self) -> None:
        """Wait until the server has finished its work after pushes, such as the scan of layers for v2."""
        used, since = self.cpu(), time.monotonic()
        ends = since + _RESTLESS
        while time.monotonic() < min(since + _REST, ends):
            time.sleep(0.2)
            if (now := self.cpu()) > used + _WORK:
                used, since = now, time.monotonic()

    def log(self) -> str:
        """Return the last lines of its log."""
        return ""

    def stop(self) -> None:
        """Stop what this object has started."""


class Server(Site):
    """A server that is started here. `pid` is the id of its first process."""

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
                # Ctrl-C must not reach the servers: this process stops them.
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
                # The listener exists before the workers, so wait for an answer.
                sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
                sock.settimeout(_START)
                if sock.recv(64).startswith(b"HTTP/1."):
                    return
            time.sleep(0.05)
        raise Unavailable(f"{self.name} did not start:\n{self.log()}")

    def log(self) -> str:
        """Return the last lines of its log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-25:])

    def stop(self) -> None:
        """Stop the server and its child processes, with SIGKILL if it takes too long."""
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
    """Return the same running server, for the same requests over v2."""
    other = copy.copy(server)
    other.name, other.speaks = name, "v2"
    return other


def ours(store: Files, name: str = "ours", workers: int | None = None, **environ: str) -> Server:
    """This registry on local files, with the default settings and `environ`."""
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
    """nginx that sends the files of our store."""
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
            # As root, nginx would change to a user that may not read our folder.
            user="user root;" if os.geteuid() == 0 else "",
        )
    )
    command = [binary, "-p", str(own), "-e", str(own / "error.log"), "-c", str(config)]
    return Server(name, command, {}, port, store, own / "log", speaks="files")


def find(program: str) -> str:
    """Return the path of a program. Raise Unavailable if it is not installed."""
    # On Debian only root's PATH contains nginx.
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
    found = shutil.which(program, path=path)
    if found is None:
        raise Unavailable(f"{program} is not installed")
    return found


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        return int(sock.getsockname()[1])
