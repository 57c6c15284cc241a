"""A real Redis for tests: redis-server in a folder of its own, on a free port of the loopback.

    with Redis(tmp_path) as redis:
        redis("SET", "a", "1")

Every wait is bounded.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType

from tests.live_server import free_port
from tests.needs import tool

_WAIT = 20.0  # seconds


class Redis:
    """One running redis-server, without persistence. `options` as in redis.conf.

    Attributes: `port`, `socket` (its Unix socket), `env` (the variables of 0.x that name it).
    """

    def __init__(self, folder: Path, password: str | None = None, **options: str) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.socket = folder / "socket"
        self.password = password
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def env(self) -> dict[str, str]:
        named = {"CACHE_REDIS_HOST": "127.0.0.1", "CACHE_REDIS_PORT": str(self.port)}
        return named | ({"CACHE_REDIS_PASSWORD": self.password} if self.password else {})

    def start(self) -> None:
        """Start Redis, or restart it: empty, on the same port."""
        assert self._process is None, "stop it first"
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "unixsocket": str(self.socket),
            "save": "",
            "appendonly": "no",
            "dir": str(self.folder),
            **({"requirepass": self.password} if self.password else {}),
            **{name.replace("_", "-"): value for name, value in self._options.items()},
        }
        command = [tool("redis-server")]
        for name, value in options.items():
            command += [f"--{name}", value]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        end = time.monotonic() + _WAIT
        while time.monotonic() < end:
            with contextlib.suppress(subprocess.CalledProcessError):
                if self("PING") == "PONG":
                    return
            assert self._process.poll() is None, (self.folder / "log").read_text()
            time.sleep(0.02)
        raise TimeoutError((self.folder / "log").read_text())

    def __call__(self, *arguments: str) -> str:
        """Return the output of redis-cli for a command; raise CalledProcessError if Redis is not running."""
        environ = dict(os.environ)
        if self.password:
            environ["REDISCLI_AUTH"] = self.password
        done = subprocess.run(
            [tool("redis-cli"), "-s", str(self.socket), *arguments],
            env=environ,
            capture_output=True,
            text=True,
            timeout=_WAIT,
            check=True,
        )
        return done.stdout.strip()

    def all_keys(self) -> list[str]:
        return sorted(self("KEYS", "*").split())

    def pause(self) -> None:
        """Stop the process: the kernel still accepts connections, but Redis answers nothing."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill Redis with SIGKILL, as if its machine failed."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(_WAIT)

    def __enter__(self) -> Redis:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)
