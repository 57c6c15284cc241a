"""A FAKE of Google Cloud Storage's JSON API: what no server that we can run does, and its faults.

    with FakeGcs(folder) as fake:
        fake.fail(503, times=2)               # the next two requests
        GcsStorage(fake.options())

It is written from Google's documentation, by the same hands as the driver: it shows that the driver
keeps to that, not that Google does. It is strict: unknown calls and parameters, missing or expired
tokens, chunks of the wrong size and preconditions are refused as the documents say.
"""

from __future__ import annotations

import json
import secrets
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.backends.fakegcshandler import Handler

ACCOUNT = "registry@project.iam.gserviceaccount.com"
OPTIONS = {  # options of the driver as from the configuration; tests replace some
    "storage": "gcs",
    "storage_path": "/registry",
    "boto_bucket": "registry",
    "boto_proxy": None,
    "boto_proxy_port": None,
    "boto_proxy_user": None,
    "boto_proxy_pass": None,
    "gcs_credentials": None,
    "gs_access_key": None,
    "gs_secret_key": None,
    "gs_secure": True,
    "oauth2": False,
    "gcs_endpoint": None,
    "gcs_storage_class": None,
    "gcs_chunk_size": 8 * 1024 * 1024,
    "gcs_upload_memory": 64 * 1024 * 1024,
    "gcs_conditional_writes": True,
    "gcs_read_timeout": 30,
}


class QuietServer(ThreadingHTTPServer):
    """A server with a thread for each connection; it ignores clients that disconnect."""

    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


@dataclass
class Object:
    """A stored object; each write makes a new one with another generation."""

    name: str
    data: bytes
    generation: int
    properties: dict[str, str]
    created: float = field(default_factory=time.time)


@dataclass
class Session:
    """A resumable upload."""

    name: str
    properties: dict[str, str]
    data: bytearray = field(default_factory=bytearray)
    done: Object | None = None


@dataclass
class Fault:
    """A fault of the requests whose method and path contain `matches`."""

    times: int
    status: int
    matches: str = ""
    reason: str = "backendError"
    retry_after: int | None = None
    every: int = 1  # 2: the first, the third, the fifth ...
    seen: int = 0
    #: "before": not carried out; "after": carried out, and the connection ends without an answer
    when: str = "before"


class FakeGcs:
    """The running fake: `port`, the bucket `registry`, and attributes that change what it does.

    `requests` lists method and path of each request. `page`: most entries of a listing's page.
    `rounds`: how often a rewrite must be called. `moves`: whether objects.move is known. `quotas`:
    most bytes below a prefix. `kept_of_chunk`: the next chunk of an upload is kept as far as this.
    `stands_still`: none is kept. `spoils`: a byte of it is another. `token_life`: seconds.
    `conditions` and `ranges`: whether they are looked at.
    """

    def __init__(self, folder: Path) -> None:
        self.objects: dict[str, Object] = {}
        self.buckets = {"registry"}
        self.sessions: dict[str, Session] = {}
        self.requests: list[str] = []
        self.faults: list[Fault] = []
        self.page = 1000
        self.rounds = 1
        self.moves = True
        self.conditions = True
        self.quotas: dict[str, int] = {}
        self.kept_of_chunk: int | None = None
        self.ranges = True
        self.spoils = False
        self.stands_still = False
        self.token_life = 3600.0
        self.tokens: dict[str, float] = {}  # tokens and their end times
        self.signed_by_us = 0
        self.lock = threading.RLock()
        self._generation = int(time.time() * 1e6)
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        handler = type("FakeHandler", (Handler,), {"fake": self})
        self._server = QuietServer(("127.0.0.1", 0), handler)
        self.port: int = self._server.server_address[1]
        self.credentials = folder / "account.json"
        self.credentials.write_text(json.dumps(self.account()))
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def options(self, **more: object) -> dict[str, object]:
        """Return options of the driver for this server, with the account's key."""
        return {
            **OPTIONS,
            "gcs_endpoint": self.url,
            "gcs_credentials": str(self.credentials),
            **more,
        }

    def environ(self, **more: str) -> dict[str, str]:
        """Return the variables that make a registry use this server."""
        return {
            "SETTINGS_FLAVOR": "gcs",
            "GCS_BUCKET": "registry",
            "GCS_ENDPOINT": self.url,
            "GCS_CREDENTIALS": str(self.credentials),
            **more,
        }

    def account(self) -> dict[str, str]:
        """Write the key file of a service account whose tokens come from this server."""
        private = self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return {
            "type": "service_account",
            "project_id": "project",
            "client_email": ACCOUNT,
            "private_key_id": "1",
            "private_key": private.decode(),
            "token_uri": f"{self.url}/token",
        }

    # -- faults, for tests ------------------------------------------------------

    def fail(self, status: int, times: int = 1, **more: Any) -> None:
        """Let the next requests fail. See Fault."""
        self.faults.append(Fault(times, status, **more))

    def names(self, begin: str = "") -> list[str]:
        return sorted(name for name in self.objects if name.startswith(begin))

    # -- state, for the handler ------------------------------------------------------

    def fault(self, request: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and fault.matches in request:
                    fault.seen += 1
                    if fault.seen % fault.every == 1 % fault.every:
                        fault.times -= 1
                        return fault
            return None

    def new_token(self) -> str:
        token = secrets.token_hex(16)
        self.tokens[token] = time.time() + self.token_life
        return token

    def store(self, name: str, data: bytes, properties: dict[str, str]) -> Object:
        with self.lock:
            self._generation += 1
            kept = {"storageClass": "STANDARD", **properties}
            self.objects[name] = Object(name, data, self._generation, kept)
            return self.objects[name]

    def change(self, act: Callable[[], Any]) -> Any:
        """Check the condition and write atomically."""
        with self.lock:
            return act()

    # -- start and stop -------------------------------------------------------------------

    def __enter__(self) -> FakeGcs:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)
