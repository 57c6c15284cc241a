"""Debian's docker-registry: the v2 registry in Go, started as its users start it.

with V2Registry(folder) as registry:
    registry.host   # 127.0.0.1:PORT
"""

from __future__ import annotations

import base64
import json
import subprocess
import time
from pathlib import Path
from types import TracebackType

import requests

from tests.live_server import free_port
from tests.needs import tool

_START = 15.0  # seconds

_CONFIG = """\
version: 0.1
log: {{accesslog: {{disabled: true}}, level: error}}
storage:
  filesystem: {{rootdirectory: {folder}/store}}
  delete: {{enabled: true}}
http: {{addr: "127.0.0.1:{port}", secret: only-a-test{tls}}}
{auth}"""


class V2Registry:
    """`url`, `host`; `folder` holds its files and its log. With `account` (user, password) it wants Basic; `tls`: (certificate, key).

    `proxy` makes it a pull-through cache: `remoteurl`, and perhaps `username` and `password`.
    """

    def __init__(
        self,
        folder: Path,
        account: tuple[str, str] | None = None,
        tls: tuple[Path, Path] | None = None,
        proxy: dict[str, str] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"{'https' if tls else 'http'}://{self.host}"
        self.account = account
        self._verify = str(tls[0]) if tls else True
        self._config = folder / "config.yml"
        self._config.write_text(
            _CONFIG.format(
                folder=folder,
                port=self.port,
                tls=f", tls: {{certificate: {tls[0]}, key: {tls[1]}}}" if tls else "",
                auth=self._auth(),
            )
            + (f"proxy: {json.dumps(proxy)}\n" if proxy else "")
        )
        self.start()

    def _auth(self) -> str:
        if self.account is None:
            return ""
        import bcrypt

        user, password = self.account
        hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()
        file = self.folder / "htpasswd"
        file.write_text(f"{user}:{hashed.replace('$2b$', '$2y$', 1)}\n")
        return f"auth: {{htpasswd: {{realm: tests, path: {file}}}}}\n"

    def start(self) -> None:
        """Start it, or start it again with the same store after `stop` or `kill`."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [tool("docker-registry"), "serve", str(self._config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        end = time.monotonic() + _START
        while time.monotonic() < end:
            if self._process.poll() is not None:
                break
            try:
                if (
                    requests.get(f"{self.url}/v2/", timeout=5, verify=self._verify).status_code
                    < 500
                ):
                    return
            except requests.ConnectionError:
                time.sleep(0.05)
        self.kill()
        raise RuntimeError(f"docker-registry did not start: {(self.folder / 'log').read_text()}")

    def get(self, path: str, accept: str = "*/*") -> requests.Response:
        """Send a request as the account."""
        headers = {"Accept": accept}
        if self.account:
            text = ":".join(self.account).encode()
            headers["Authorization"] = f"Basic {base64.b64encode(text).decode()}"
        return requests.get(f"{self.url}{path}", headers=headers, timeout=30, verify=self._verify)

    def blobs(self) -> set[str]:
        """Return the digests of all blobs in its store."""
        folder = self.folder / "store/docker/registry/v2/blobs/sha256"
        return {f"sha256:{path.parent.name}" for path in folder.glob("*/*/data")}

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> V2Registry:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            log = (self.folder / "log").read_text()
            error.add_note(f"docker-registry's log:\n{log[-4000:]}")
        self.kill()
