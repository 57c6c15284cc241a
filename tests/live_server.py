"""A real registry for tests: gunicorn and its workers, started as users start them.

    with Server(tmp_path / "store") as server:
        raw.get(server, "/v1/_ping")

Every wait is bounded; a start that fails raises with the log.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).resolve().parent.parent

_START = 30.0  # seconds
_STOP = 30.0
_PORTS = 3  # attempts: another process may take a free port before the server binds it

# What a developer's shell may hold and a test must not see.
_OURS = (
    "REGISTRY_", "GUNICORN_", "STORAGE_", "SETTINGS_", "DOCKER_REGISTRY_", "AWS_", "CORS_", "OS_",
    "CACHE_", "MIRROR_", "SMTP_", "SWIFT_", "GCS_", "TLS_", "LOG", "DEBUG", "STANDALONE", "SEARCH_",
    "NGINX_", "STORE_", "NEW_RELIC_", "READ_ONLY", "V2_",
    "INDEX_", "TRUSTED_", "LIMITS_", "UPLOADS_", "CLEAN_", "SQLALCHEMY_", "DISABLE_", "PRIVILEGED_",
    "ACCOUNTS_", "ACCESS_", "LDAP_", "WEB_", "IMMUTABLE_", "ADMINS",
)  # fmt: skip


class StartError(RuntimeError):
    """Raised if the server does not start to answer; the text contains its log."""


class Server:
    """One running registry on the loopback interface.

    `store` is the folder of its images; `env` goes over the variables set here; `config` is the
    text of a config.yml; `tls` the files (certificate, key); `port` one that others were told of;
    `command` starts our command line in `folder`. Attributes: `url`, `port`, `pid` (the
    master).
    """

    def __init__(
        self,
        store: Path,
        workers: int = 1,
        env: Mapping[str, str] | None = None,
        config: str | None = None,
        tls: tuple[Path, Path] | None = None,
        port: int | None = None,
        command: Sequence[str] = (sys.executable, "-m", "v1registry"),
        folder: Path = ROOT,
    ) -> None:
        self.store = Path(store)
        self._command, self._cwd = command, folder
        self._given = port
        self.workers = workers
        self._tls = tls
        self._config = config
        self._env = dict(env or {})
        self._folder = tempfile.TemporaryDirectory(prefix="v1registry-test-")
        self._log = Path(self._folder.name) / "log"
        self._last_log = ""
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._start()
        except BaseException:
            self._end()
            raise

    # -- its state ---------------------------------------------------------

    @property
    def pid(self) -> int:
        """The master's process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def host(self) -> str:
        """The value of a client's Host header."""
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """The error and access logs of all processes so far."""
        if not self._log.exists():
            return self._last_log
        return self._log.read_text(errors="backslashreplace")

    def worker_pids(self) -> list[int]:
        """Return the process ids of the running workers."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            # The command name, in parentheses, may contain spaces. The parent is the second field after it.
            with contextlib.suppress(OSError):
                state, parent = stat.read_text().rpartition(")")[2].split()[:2]
                if int(parent) == self.pid and state != "Z":
                    found.append(int(stat.parent.name))
        return sorted(found)

    def connect(self, timeout: float = 30) -> socket.socket:
        """Connect to the server, over TLS if it uses TLS (not verified)."""
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=timeout)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is None:
            return plain
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context.wrap_socket(plain)

    # -- stop and restart ---------------------------------------------------------------

    def stop(self) -> int | None:
        """Send SIGTERM and wait. Return the exit status, or None if the server was not running."""
        process = self._process
        if process is None:
            return None
        status: int | None = process.poll()
        if status is None:
            process.send_signal(signal.SIGTERM)
            try:
                status = process.wait(_STOP)
            except subprocess.TimeoutExpired:
                log = self.log
                self.kill()
                raise TimeoutError(f"the server did not stop:\n{log}") from None
        self._end()
        return status

    def kill(self) -> None:
        """Send SIGKILL to the master and all workers, as if the power was lost."""
        self._end()

    def restart(self) -> None:
        """Start again on the same store and on a new port, after stop() or kill()."""
        self._again(None)

    def start_again(self) -> None:
        """Start again on the same port, which a proxy uses."""
        self._again(self.port)

    def _again(self, port: int | None) -> None:
        assert self._process is None, "stop it first"
        self._folder = tempfile.TemporaryDirectory(prefix="v1registry-test-")
        self._log = Path(self._folder.name) / "log"
        self._start(port)

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.stop()
            return
        if self._process is not None and error is not None:
            error.add_note(f"The server's log:\n{self.log[-8000:]}")
        self.kill()

    def _start(self, port: int | None = None) -> None:
        for attempt in range(1, _PORTS + 1):
            self.port = port or self._given or free_port()
            self._spawn()
            try:
                self._wait()
            except StartError as error:
                self._kill_group()
                if attempt < _PORTS and "ddress already in use" in str(error):
                    continue
                raise
            return

    def _spawn(self) -> None:
        environ = {k: v for k, v in os.environ.items() if not k.startswith(_OURS)}
        environ |= {
            "REGISTRY_HOST": "127.0.0.1",
            "REGISTRY_PORT": str(self.port),
            "STORAGE_PATH": str(self.store),
            "SETTINGS_FLAVOR": "local",
            "GUNICORN_WORKERS": str(self.workers),
            "GUNICORN_GRACEFUL_TIMEOUT": "10",
            "PYTHONUNBUFFERED": "1",
        }
        if self._config is not None:
            file = Path(self._folder.name) / "config.yml"
            file.write_text(self._config)
            environ["DOCKER_REGISTRY_CONFIG"] = str(file)
        if self._tls is not None:
            environ["TLS_CERTIFICATE"], environ["TLS_KEY"] = map(str, self._tls)
        environ |= self._env
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._command, "serve"],
                cwd=self._cwd,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Its own process group: kill() reaches the workers, and Ctrl-C in pytest does not.
                start_new_session=True,
            )

    def _wait(self) -> None:
        assert self._process is not None
        end = time.monotonic() + _START
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise StartError(f"the server ended with {self._process.returncode}:\n{self.log}")
            if self._answers() and len(self.worker_pids()) >= self.workers:
                return
            time.sleep(0.05)
        raise StartError(f"no answer from the server after {_START:.0f} s:\n{self.log}")

    def _answers(self) -> bool:
        try:
            with self.connect(timeout=5) as connection:
                connection.sendall(
                    b"GET /v1/_ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                )
                return connection.recv(64).startswith(b"HTTP/1.1 200 ")
        except OSError:
            return False

    def _kill_group(self) -> None:
        process = self._process
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(_STOP)

    def _end(self) -> None:
        self._kill_group()
        self._process = None
        self._last_log = self.log
        self._folder.cleanup()


def free_port() -> int:
    """Return a port of the loopback interface that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
