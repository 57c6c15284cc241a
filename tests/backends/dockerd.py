"""Docker and its containerd, started by their own commands on folders of their own.

with Docker() as docker:
    docker.run("pull", "127.0.0.1:5000/team/app:1.0")

No network, no firewall rules, no cgroups of ours: images alone. A kernel or a container that does
not let them run is told by `Forbidden`.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.needs import tool

_START = 30.0  # seconds
_COMMAND = 90.0


class Forbidden(Exception):
    """Docker cannot run on this machine; the text is the end of its log."""


class Docker:
    """A daemon with an empty store of images, and the containerd that it starts."""

    def __init__(self) -> None:
        # Paths of sockets must be short, so they are not below a test's folder.
        self._folder = tempfile.TemporaryDirectory(prefix="v1d-", ignore_cleanup_errors=True)
        self.folder = Path(self._folder.name)
        self._log = self.folder / "log"
        self._client = [tool("docker"), "--host", f"unix://{self.folder}/docker.sock"]
        self._client += ["--config", str(self.folder / "client")]
        command = [tool("dockerd"), "--host", f"unix://{self.folder}/docker.sock"]
        command += ["--data-root", str(self.folder / "data"), "--pidfile", str(self.folder / "pid")]
        command += ["--exec-root", str(self.folder / "exec"), "--storage-driver", "vfs"]
        command += ["--bridge=none", "--iptables=false", "--ip6tables=false"]
        command += ["--ip-forward=false", "--ip-masq=false"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            self._wait()
        except BaseException:
            self._end()
            raise

    def _wait(self) -> None:
        end = time.monotonic() + _START
        while self._process.poll() is None and time.monotonic() < end:
            if self._done("version").returncode == 0:
                return
            time.sleep(0.1)
        raise Forbidden(self._log.read_text(errors="replace")[-600:])

    def run(self, *arguments: str) -> str:
        """Run a command of the client `docker`, which must succeed; return its output."""
        done = self._done(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def fail(self, *arguments: str) -> str:
        """Run a command of the client, which must fail; return its error."""
        done = self._done(*arguments)
        assert done.returncode != 0, done.stdout
        return done.stderr

    def image(self, name: str) -> dict[str, Any]:
        """Return the daemon's description of one image."""
        (found,) = json.loads(self.run("image", "inspect", name))
        return dict(found)

    def empty(self) -> None:
        """Delete all images."""
        names = set(self.run("image", "ls", "--quiet", "--no-trunc").split())
        if names:
            self.run("image", "rm", "--force", *names)

    def ctr(self, *arguments: str) -> str:
        """Run a command of containerd's client, in a namespace that Docker does not use."""
        socket = self.folder / "exec" / "containerd" / "containerd.sock"
        command = [tool("ctr"), "--address", str(socket), "--namespace", "test", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_COMMAND)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _done(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self._client, *arguments], capture_output=True, text=True, timeout=_COMMAND
        )

    def _end(self) -> None:
        self._process.terminate()  # it stops its containerd as well
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()

    def __enter__(self) -> Docker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            error.add_note(f"dockerd's log:\n{self._log.read_text(errors='replace')[-4000:]}")
        self._end()
