"""Debian's docker-registry: the v2 registry in Go, started as its users start it.

with V2Registry(folder) as registry:
    registry.host   # 127.0.0.1:PORT, plain HTTP
"""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType

from tests.needs import tool
from tests.server import free_port

_WAIT = 20.0

_CONFIG = """\
version: 0.1
log: {{level: warn}}
storage:
  filesystem: {{rootdirectory: {store}}}
  delete: {{enabled: true}}
http:
  addr: {host}
"""


class V2Registry:
    """One running registry; `folder` holds its files and its log."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.host = f"127.0.0.1:{free_port()}"
        self._config = folder / "config.yml"
        self._config.write_text(_CONFIG.format(store=folder / "store", host=self.host))
        self._log = folder / "log"

    def __enter__(self) -> V2Registry:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [tool("docker-registry"), "serve", str(self._config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        name, _, port = self.host.partition(":")
        end = time.monotonic() + _WAIT
        while time.monotonic() < end and self._process.poll() is None:
            try:
                socket.create_connection((name, int(port)), timeout=5).close()
                return self
            except OSError:
                time.sleep(0.05)
        self._stop()
        raise RuntimeError(f"docker-registry does not listen: {self._log.read_text()}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            error.add_note(f"docker-registry's log:\n{self._log.read_text()[-4000:]}")
        self._stop()

    def _stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_WAIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(_WAIT)
