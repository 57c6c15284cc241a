"""gcp-storage-emulator (a package of PyPI): a weak mock of Google Cloud Storage, for happy paths.

It keeps no precondition, gives no pages, no 416 and not `p` beside `p/q`; it does not stream, and
does not look at a token or a signature. For all that see fakegcs.py.
"""

from __future__ import annotations

import contextlib
import ctypes
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

from tests.backends.fakegcs import OPTIONS
from tests.live_server import free_port

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1
_WAIT = 20.0  # seconds


class Emulator:
    """The running emulator, with the bucket `registry`, in memory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def options(self, **more: object) -> dict[str, object]:
        """Return options of the driver for this server."""
        own = {"gcs_credentials": "anonymous", "gcs_conditional_writes": False}
        return {**OPTIONS, "gcs_endpoint": self.url, **own, **more}

    def environ(self, **more: str) -> dict[str, str]:
        """Return the variables that make a registry use this server."""
        return {
            "SETTINGS_FLAVOR": "gcs",
            "GCS_BUCKET": "registry",
            "GCS_ENDPOINT": self.url,
            "GCS_CREDENTIALS": "anonymous",
            "GCS_CONDITIONAL_WRITES": "false",
            **more,
        }

    def __enter__(self) -> Emulator:
        words = ("--host=127.0.0.1", f"--port={self.port}", "--default-bucket=registry")
        with (self._folder / "out").open("ab") as out:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "gcp_storage_emulator",
                    "start",
                    *words,
                    "-q",
                    "--in-memory",
                ],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                preexec_fn=_die_with_the_tests,
            )
        end = time.monotonic() + _WAIT
        while not self._accepts():
            if self._process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise RuntimeError((self._folder / "out").read_text())
            time.sleep(0.05)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()  # its data need not be kept
            self._process.wait(_WAIT)

    def _accepts(self) -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return True
        return False


def _die_with_the_tests() -> None:
    """Stop servers of an earlier test run that was killed."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
