"""A real PostgreSQL for tests: a cluster of its own in a temporary folder, on a free port.

    with Postgres() as server:
        url = server.database()

It refuses to be root's, so there it runs as the user `postgres`. Every wait is bounded.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from tests.live_server import free_port
from tests.needs import tool

_WAIT = 30.0  # seconds
_ROOM = 1024**3  # bytes, more than all tests together write
_SETTINGS = {
    # the data need not survive a crash of the machine
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "16MB",
    "max_connections": "60",
    "autovacuum": "off",
}


def _memory() -> str | None:
    """Return a folder in memory if it is large enough: a database has a thousand files."""
    with contextlib.suppress(OSError):
        if os.access("/dev/shm", os.W_OK) and shutil.disk_usage("/dev/shm").free > _ROOM:
            return "/dev/shm"
    return None


class Postgres:
    """One running server. `port` on the loopback; the superuser is `postgres`, without password."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="v1registry-postgres-", dir=_memory()))
        self.port = free_port()
        self._made = 0
        self._process: subprocess.Popen[bytes] | None = None
        try:
            if os.geteuid() == 0:
                shutil.chown(self.folder, "postgres")
            self._run("initdb", "-D", str(self.folder / "data"), "-A", "trust", "-U", "postgres",
                      "-E", "UTF8", "--locale=C", "--no-sync")  # fmt: skip
            self.start()
        except BaseException:
            self.close()
            raise

    def database(self) -> str:
        """Return the URL of a new, empty database."""
        self._made += 1
        name = f"test{self._made}"
        self.sql(f"CREATE DATABASE {name}")
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Return what psql prints for a statement, without headings."""
        return self._run(
            "psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-d", database,
            "-v", "ON_ERROR_STOP=1", "-XAtc", statement,
        )  # fmt: skip

    def start(self) -> None:
        """Start it, or start it again with the same port and data."""
        options = [item for pair in _SETTINGS.items() for item in ("-c", "=".join(pair))]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [tool("postgres"), "-D", str(self.folder / "data"), "-p", str(self.port), *options],
                cwd="/",
                user=self._user(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + _WAIT
        while time.monotonic() < end:
            with contextlib.suppress(subprocess.CalledProcessError):
                if self.sql("SELECT 1") == "1":
                    return
            assert self._process.poll() is None, (self.folder / "log").read_text()
            time.sleep(0.05)
        raise TimeoutError((self.folder / "log").read_text())

    def stop(self) -> None:
        """Stop the server and end all connections; the data stay."""
        self._end(signal.SIGINT)

    def _end(self, number: int) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            process.wait(_WAIT)

    @contextlib.contextmanager
    def standing_still(self) -> Iterator[None]:
        """Pause all processes: the kernel accepts connections, but no process answers."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)
        children = self._children()
        for pid in children:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in [self._process.pid, *children]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def close(self) -> None:
        self._end(signal.SIGQUIT)  # at once
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Postgres:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _children(self) -> list[int]:
        """Each connection has a process, in a group of its own."""
        assert self._process is not None
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                if int(stat.read_text().rpartition(")")[2].split()[1]) == self._process.pid:
                    found.append(int(stat.parent.name))
        return found

    def _user(self) -> int | None:
        return pwd.getpwnam("postgres").pw_uid if os.geteuid() == 0 else None

    def _run(self, name: str, *arguments: str) -> str:
        done = subprocess.run(
            [tool(name), *arguments],
            cwd="/",
            user=self._user(),
            env={**os.environ, "LC_ALL": "C"},
            capture_output=True,
            text=True,
            timeout=_WAIT,
            check=True,
        )
        return done.stdout.strip()
