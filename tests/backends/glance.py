"""A real OpenStack Glance: its API, a database in a file, layers in a folder.

    with Glance(folder) as glance:
        glance.url       # with tokens of `glance.keystone`, a fake
        glance.open_url  # without tokens: every client is the administrator

Started in 4 seconds. One thread serves: SQLite takes no two writers.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import secrets
import signal
import sqlite3
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import requests

from tests.backends.glancekeystone import FakeKeystone
from tests.live_server import free_port
from tests.needs import GLANCE, tool

OPTIONS: dict[str, Any] = {  # options of the driver as from the configuration; tests replace some
    "storage": "glance",
    "storage_alternate": "local",
    "nginx_x_accel_redirect": None,
    "glance_url": None,
    "glance_authurl": None,
    "glance_user": None,
    "glance_password": None,
    "glance_tenant_name": None,
    "glance_user_domain": "Default",
    "glance_project_domain": "Default",
    "glance_region_name": None,
    "glance_cacert": None,
    "glance_visibility": "public",
    "glance_read_timeout": 30,
    "glance_request_headers": False,
    "glance_endpoints": None,
}

QUOTA = 10**12  # bytes, of each project

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1
_WAIT = 80.0  # seconds for each step; a busy machine takes half of it
_CONFIG = """\
[DEFAULT]
bind_host = 127.0.0.1
bind_port = {port}
workers = 0
enabled_backends = fs:file
node_staging_uri = file://{folder}/staging
use_stderr = true
user_storage_quota = {quota}B
[database]
connection = sqlite:///{folder}/glance.sqlite?timeout=60
[glance_store]
default_backend = fs
[fs]
filesystem_store_datadir = {folder}/images
[os_glance_staging_store]
filesystem_store_datadir = {folder}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {folder}/tasks
[oslo_concurrency]
lock_path = {folder}/lock
[paste_deploy]
config_file = {folder}/paste.ini
flavor = keystone
[keystone_authtoken]
auth_type = password
auth_url = {keystone}
username = glance
password = glance
project_name = service
user_domain_id = default
project_domain_id = default
www_authenticate_uri = {keystone}
interface = public
token_cache_time = 1
[oslo_policy]
enforce_scope = false
enforce_new_defaults = false
policy_file = {folder}/policy.yaml
"""
_PASTE = """\
[composite:glance-api-keystone]
paste.composite_factory = glance.api:root_app_factory
/: closed
/open/v2: open
[pipeline:closed]
pipeline = versionnegotiation authtoken context root
[pipeline:open]
pipeline = unauthenticated-context v2
[composite:root]
paste.composite_factory = glance.api:root_app_factory
/: versions
/v2: v2
[app:versions]
paste.app_factory = glance.api.versions:create_resource
[app:v2]
paste.app_factory = glance.api.v2.router:API.factory
[filter:versionnegotiation]
paste.filter_factory = glance.api.middleware.version_negotiation:VersionNegotiationFilter.factory
[filter:context]
paste.filter_factory = glance.api.middleware.context:ContextMiddleware.factory
[filter:unauthenticated-context]
paste.filter_factory = glance.api.middleware.context:UnauthenticatedContextMiddleware.factory
[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
delay_auth_decision = true
"""


class Glance:
    """The running server."""

    _manage = str(GLANCE.parent / "glance-manage")

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.keystone = FakeKeystone()
        self.keystone.add("glance", "glance", "service", ["service"])
        self.keystone.glance = self.url
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def open_url(self) -> str:
        return f"{self.url}/open"

    def account(self, *roles: str) -> Account:
        """Make an account with its own project: it sees its own images and public ones only."""
        return Account(self, secrets.token_hex(4), roles or ("member",))

    def sql(self, statement: str, *values: object) -> None:
        """Change the database in a way that no request can."""
        with contextlib.closing(sqlite3.connect(self.folder / "glance.sqlite", 30)) as base:
            base.execute(statement, values)
            base.commit()

    def open_images(self) -> list[dict[str, Any]]:
        """Return all images, as any client sees them at `open_url`."""
        answer = requests.get(f"{self.open_url}/v2/images?limit=1000", timeout=_WAIT)
        return list(answer.json()["images"])

    # -- start and stop ---------------------------------------------------------------

    def __enter__(self) -> Glance:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
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
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)  # its data need not be kept
            self._process.wait(_WAIT)
            self._process = None
        self.keystone.__exit__(None, None, None)

    def _start(self) -> None:
        for name in ("images", "staging", "tasks", "lock"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "paste.ini").write_text(_PASTE)
        (self.folder / "policy.yaml").write_text('"publicize_image": "role:admin"\n')
        config = self.folder / "glance-api.conf"
        config.write_text(
            _CONFIG.format(
                folder=self.folder, port=self.port, keystone=self.keystone.url, quota=QUOTA
            )
        )
        self._run(self._manage, "--config-file", str(config), "db_sync")
        with (self.folder / "out").open("ab") as out:
            self._process = subprocess.Popen(
                self._command(config),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=self.folder,
                env={**os.environ, "OS_GLANCE_CONFIG_DIR": str(self.folder)},
                start_new_session=True,
                preexec_fn=_die_with_the_tests,
            )
        self._until_it_answers()

    def _command(self, _config: Path) -> list[str]:
        return [
            *(str(GLANCE), "-b", f"127.0.0.1:{self.port}", "-w", "1", "-k", "gthread"),
            *("--threads", "1", "--no-control-socket", "--timeout", "300"),
            "glance.wsgi.api:application",
        ]

    def _run(self, *command: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_WAIT)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")

    def _until_it_answers(self) -> None:
        end = time.monotonic() + _WAIT
        assert self._process is not None
        while time.monotonic() < end:
            if self._process.poll() is not None:
                break
            with contextlib.suppress(requests.RequestException):
                if requests.get(f"{self.open_url}/v2/images", timeout=5).status_code == 200:
                    return
            time.sleep(0.1)
        raise RuntimeError(f"Glance did not start: {(self.folder / 'out').read_text()[-3000:]}")


class OldGlance(Glance):
    """Debian's, of 2022: a server of its own, which takes many requests at once."""

    _manage = "glance-manage"

    def _command(self, config: Path) -> list[str]:
        return [tool("glance-api"), "--config-file", str(config)]


class Account:
    """An account of Glance, and its requests that do not use the registry."""

    def __init__(self, glance: Glance, name: str, roles: tuple[str, ...]) -> None:
        self.glance = glance
        self.name = name
        self._token = ""
        glance.keystone.add(name, f"{name}-secret", name, list(roles))

    def options(self, folder: Path, **more: object) -> dict[str, Any]:
        """Return options of the driver for this account; `folder` is the alternate store."""
        return {
            **OPTIONS,
            "storage_path": str(folder),
            "glance_authurl": f"{self.glance.keystone.url}/v3",
            "glance_user": self.name,
            "glance_password": f"{self.name}-secret",
            "glance_tenant_name": self.name,
            **more,
        }

    def environ(self, folder: Path, **more: str) -> dict[str, str]:
        """Return the variables of a 0.x deployment for this account."""
        return {
            "SETTINGS_FLAVOR": "glance",
            "STORAGE_PATH": str(folder),
            "OS_AUTH_URL": f"{self.glance.keystone.url}/v3",
            "OS_GLANCE_URL": self.glance.url,
            "OS_USERNAME": self.name,
            "OS_PASSWORD": f"{self.name}-secret",
            "OS_TENANT_NAME": self.name,
            **more,
        }

    def token(self) -> str:
        """Return a valid token."""
        keystone = self.glance.keystone
        if keystone.valid(self._token) is None:
            issued = keystone.issue(self.name, f"{self.name}-secret")
            assert issued is not None
            self._token = issued[0]
        return self._token

    def call(self, method: str, path: str, **more: Any) -> requests.Response:
        """Send a request."""
        headers = {"X-Auth-Token": self.token(), **more.pop("headers", {})}
        answer = requests.request(
            method, f"{self.glance.url}/v2{path}", headers=headers, timeout=_WAIT, **more
        )
        assert answer.ok, answer.text
        return answer

    def images(self, **filters: str) -> list[dict[str, Any]]:
        """Return the images that it owns."""
        filters = {"visibility": "all", "limit": "1000", **filters}
        found = self.call("GET", "/images", params=filters).json()["images"]
        project = self.glance.keystone.project(self.name)
        return [image for image in found if image["owner"] == project]

    def make(self, layer: bytes | None = None, **properties: str) -> str:
        """Make an image, with data if there are any; return its id."""
        body = {"disk_format": "raw", "container_format": "docker", **properties}
        made = self.call("POST", "/images", json=body).json()["id"]
        if layer is not None:
            self.send(made, layer)
        return made

    def send(self, image: str, layer: bytes) -> None:
        """Give an image its data."""
        headers = {"Content-Type": "application/octet-stream"}
        self.call("PUT", f"/images/{image}/file", data=layer, headers=headers)

    def make_old(self, image_id: str, layer: bytes | None = None, **files: bytes) -> str:
        """Make an image as 0.x did: files as `meta_` properties, and `id`, which v2 cannot write."""
        made = self.make(layer, **{f"meta_{name}": data.decode() for name, data in files.items()})
        self.glance.sql(
            "INSERT INTO image_properties (image_id, name, value, created_at, deleted)"
            " VALUES (?, 'id', ?, datetime('now'), 0)",
            made,
            image_id,
        )
        return made

    def fill(self) -> None:
        """Use up the quota by an image whose recorded size is that large."""
        self.glance.sql(
            "UPDATE images SET size = ? WHERE id = ?", QUOTA, self.make(b"x", meta_json="")
        )

    def change(self, image: str, **properties: str | None) -> None:
        """Set attributes or properties."""
        changes = [
            {"op": "add" if name.startswith(("meta_", "docker_")) else "replace"}
            | {"path": f"/{name}", "value": value}
            for name, value in properties.items()
        ]
        headers = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
        self.call("PATCH", f"/images/{image}", data=json.dumps(changes), headers=headers)

    def clear(self) -> None:
        """Delete the images that it owns."""
        for image in self.images():
            self.call("DELETE", f"/images/{image['id']}")

    def image(self, image: str) -> dict[str, Any]:
        return dict(self.call("GET", f"/images/{image}").json())


def _die_with_the_tests() -> None:
    """Stop servers of an earlier test run that was killed."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
