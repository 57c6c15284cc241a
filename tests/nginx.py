"""nginx with the configuration of docs/examples/nginx.conf, in front of registries under test.

with Nginx(folder, [server.port], store=server.store) as nginx:
    requests.get(f"{nginx.url}/v1/_ping")
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from tests.live_server import ROOT, free_port
from tests.needs import tool

EXAMPLE = ROOT / "docs" / "examples" / "nginx.conf"
_WAIT = 20.0


class Nginx:
    """Return the documented server block, with only the marked lines changed.

    `nodes` are ports of the registries, `store` the folder that `/_layers/` stands for, `changes`
    further lines to replace, `beside` further blocks. `url`, `host` and `port` are where it listens.
    """

    def __init__(
        self,
        folder: Path,
        nodes: Sequence[int],
        *,
        store: Path | None = None,
        changes: Mapping[str, str] | None = None,
        beside: str = "",
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.host}"
        self._changes = {
            "listen 80;": f"listen {self.host};",
            "/var/cache/nginx-v1registry": str(folder / "cache"),
            "alias /var/lib/v1registry/;": f"alias {store or folder}/;",
            **(changes or {}),
        }
        self._beside = beside
        folder.mkdir(parents=True, exist_ok=True)
        self._config = folder / "nginx.conf"
        self._log = folder / "error.log"
        self.write(nodes)

    def write(self, nodes: Sequence[int]) -> None:
        """Write the configuration for these nodes."""
        example = EXAMPLE.read_text()
        node = "server 127.0.0.1:5000 fail_timeout=2s;"
        servers = " ".join(node.replace("5000", str(port)) for port in nodes)
        for old, new in {node: servers, **self._changes}.items():
            assert example.count(old) == 1, old
            example = example.replace(old, new)
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = "\n".join(f"{kind}_temp_path {self.folder}/{kind};" for kind in kinds)
        user = "user root;" if os.geteuid() == 0 else ""
        self._config.write_text(
            f"daemon off; {user} pid {self.folder}/pid; error_log {self._log}; worker_processes 1;\n"
            f"events {{}}\nhttp {{ access_log off; {temporary}\n{example}\n{self._beside}\n}}\n"
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def connect(self, timeout: float = 30) -> socket.socket:
        """Connect to nginx, as `Server.connect` does: clients of tests accept both."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def temporary_files(self) -> list[Path]:
        """Return the files that nginx has written besides its cache."""
        found = (path for path in self.folder.glob("*/**/*") if path.is_file())
        return [path for path in found if path.parts[len(self.folder.parts)] != "cache"]

    def reload(self) -> None:
        self._process.send_signal(signal.SIGHUP)

    def __enter__(self) -> Nginx:
        command = [tool("nginx"), "-c", self._config, "-p", self.folder, "-e", self._log]
        self._process = subprocess.Popen(command, start_new_session=True)
        end = time.monotonic() + _WAIT
        while time.monotonic() < end and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
                return self
            except OSError:
                time.sleep(0.05)
        self._stop()
        raise RuntimeError(f"nginx does not listen: {self.log}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            error.add_note(f"nginx's log:\n{self.log[-4000:]}")
        self._stop()

    def _stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(_WAIT)


def block(name: str) -> str:
    """Return one block of the documented configuration, such as `location /_store/`."""
    found = re.search(rf"^( *){re.escape(name)} {{\n.*?^\1}}", EXAMPLE.read_text(), re.M | re.S)
    assert found, name
    return found[0]
