"""A real OpenStack Swift: proxy, account, container and object server, memcached, one device.

    with Swift(folder) as swift:
        swift.client().put_object("registry", "a", b"bytes")

Started in about 3 seconds. It authenticates by tempauth (v1) and also speaks S3. Objects lie on a
tmpfs, or on a loop-mounted xfs where a tmpfs takes no large attributes: Swift keeps all it knows of
an object in them. One copy of everything, no replicator: for tests alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

import swiftclient

from tests.live_server import ROOT, free_port
from tests.needs import tool

USER, PASSWORD = "test:tester", "testing"
TEMP_URL_KEY = "a-key-for-temporary-urls"
OURS = ROOT / ".venv-servers" / "swift" / "bin"  # scripts/servers.sh makes it
DEBIAN = Path("/usr/bin")  # the packages swift-proxy, swift-account, swift-container, swift-object
BIN = DEBIAN if os.environ.get("TEST_SWIFT") == "debian" else OURS

OPTIONS = {  # options of the driver as from the configuration; tests replace some
    "storage": "swift",
    "storage_path": "/registry",
    "swift_authurl": None,
    "swift_auth_version": None,
    "swift_container": "registry",
    "swift_user": USER,
    "swift_password": PASSWORD,
    "swift_tenant_name": None,
    "swift_project_name": None,
    "swift_region_name": None,
    "swift_user_domain": "Default",
    "swift_project_domain": "Default",
    "swift_endpoint_type": "public",
    "swift_cacert": None,
    "swift_temp_url_key": None,
    "swift_temp_url_digest": "sha256",
    "swift_segment_size": 8 * 1024 * 1024,
    "swift_upload_memory": 64 * 1024 * 1024,
    "swift_conditional_writes": False,
    "swift_read_timeout": 30,
}

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1
_WAIT = 40.0  # seconds for each step

_SWIFT = """\
[swift-hash]
swift_hash_path_prefix = pre
swift_hash_path_suffix = suf
[storage-policy:0]
name = Policy-0
default = yes
"""
_BACKEND = """\
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
disable_fallocate = true
fallocate_reserve = 0
log_address = /nonexistent
[pipeline:main]
pipeline = {name}-server
[app:{name}-server]
use = egg:swift#{name}
replication_server = false
"""
_PROXY = """\
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
swift_dir = {folder}
log_address = /nonexistent
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck cache listing_formats bulk tempurl s3api tempauth copy container-quotas slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
# all of Swift shares two cores with its clients
conn_timeout = 10
node_timeout = 30
allow_account_management = true
# one device: do not exclude it after an error, or 60 s of 503 follow
error_suppression_limit = 1000000
error_suppression_interval = 1
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{memcached}
memcache_max_connections = 200
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:tempurl]
use = egg:swift#tempurl
[filter:s3api]
use = egg:swift#s3api
s3_acl = false
location = us-east-1
check_bucket_owner = false
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
user_other_other = other .admin
user_test_guest = guest
token_life = 86400
[filter:copy]
use = egg:swift#copy
[filter:container-quotas]
use = egg:swift#container_quotas
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
"""
_RINGS = """\
from swift.common.ring import RingBuilder
for name, port in {ports!r}:
    builder = RingBuilder(4, 1, 0)
    builder.add_dev(dict(region=1, zone=1, ip="127.0.0.1", port=port, device="d1", weight=1,
                         replication_ip="127.0.0.1", replication_port=port, meta=""))
    builder.rebalance()
    builder.get_ring().save({folder!r} + "/" + name + ".ring.gz")
"""


class Swift:
    """The running server; `port` is the proxy server's. `bin` is where its programs lie.

    `tls` are the files (certificate, key) of one that speaks HTTPS; `without` a part of the
    pipeline that some have not.
    """

    def __init__(
        self,
        folder: Path,
        bin: Path = BIN,
        tls: tuple[Path, Path] | None = None,
        without: str = "",
    ) -> None:
        self.folder = folder
        self._bin = bin
        self._tls = tls
        self._without = without
        self.port, self._memcached = free_port(), free_port()
        self._ports = [(name, free_port()) for name in ("account", "container", "object")]
        self._device = folder / "devices" / "d1"
        self._named: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def authurl(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/auth/v1.0"

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._named.values()]

    def options(self, **more: object) -> dict[str, object]:
        """Return options of the driver `swift` for this server."""
        return {**OPTIONS, "swift_authurl": self.authurl, **more}

    def environ(self, **more: str) -> dict[str, str]:
        """Return the variables of a 0.x deployment that make a registry use this server."""
        return {
            "SETTINGS_FLAVOR": "swift",
            "OS_AUTH_URL": self.authurl,
            "OS_CONTAINER": "registry",
            "OS_USERNAME": USER,
            "OS_PASSWORD": PASSWORD,
            **more,
        }

    def s3_options(self, **more: object) -> dict[str, object]:
        """Return options of the driver `s3` for this server's S3 API."""
        from tests.backends.ceph import OPTIONS as S3

        keys = {"s3_access_key": USER, "s3_secret_key": PASSWORD, "s3_region": "us-east-1"}
        # its S3 API checks If-None-Match before it writes: two puts may succeed
        return {**S3, **keys, "boto_port": self.port, "s3_conditional_writes": False, **more}

    def client(self, user: str = USER, password: str = PASSWORD) -> swiftclient.Connection:
        """Return an ordinary client without the driver's settings."""
        cacert = str(self._tls[0]) if self._tls else None
        return swiftclient.Connection(
            self.authurl, user, password, auth_version="1", retries=0, cacert=cacert
        )

    def forget_tokens(self) -> None:
        """Refuse all tokens from now on, as if they had expired."""
        with socket.create_connection(("127.0.0.1", self._memcached), timeout=5) as memcached:
            memcached.sendall(b"flush_all\r\n")
            assert memcached.recv(100) == b"OK\r\n"

    def kill(self, name: str) -> None:
        """Stop the account, container or object server for good."""
        process = self._named[name]
        process.send_signal(signal.SIGKILL)
        process.wait(_WAIT)

    # -- start and stop ---------------------------------------------------------------

    def __enter__(self) -> Swift:
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
        for name in reversed(self._named):
            self.kill(name)  # its data need not be kept
        self._named.clear()
        if os.path.ismount(self._device):
            subprocess.run([tool("umount"), "--lazy", self._device], check=True, timeout=_WAIT)

    def _start(self) -> None:
        self._device.mkdir(parents=True)
        mount_for_attributes(self._device, self.folder / "device.img")
        self._configure()
        rings = _RINGS.format(ports=self._ports, folder=str(self.folder))
        subprocess.run([self._python(), "-c", rings], check=True, timeout=_WAIT)
        self._spawn("memcached", tool("memcached"), "-u", "root", "-l", "127.0.0.1", "-U", "0", "-m", "32",
                    "-p", str(self._memcached))  # fmt: skip
        for name in ("account", "container", "object", "proxy"):
            config = str(self.folder / f"{name}-server.conf")
            self._spawn(name, str(self._bin / f"swift-{name}-server"), config, "-v")
        for port in (self._memcached, *(port for _, port in self._ports), self.port):
            self._until(lambda port=port: _accepts(port), f"nobody listens on {port}")
        client = self.client()
        client.put_container("registry")
        client.post_account({"X-Account-Meta-Temp-URL-Key": TEMP_URL_KEY})
        client.close()

    def _configure(self) -> None:
        common = {"folder": self.folder, "user": "root", "memcached": self._memcached}
        (self.folder / "swift.conf").write_text(_SWIFT)
        for name, port in self._ports:
            text = _BACKEND.format(name=name, port=port, **common)
            (self.folder / f"{name}-server.conf").write_text(text)
        proxy = _PROXY.format(port=self.port, **common)
        if self._without:
            proxy = proxy.replace(f" {self._without} ", " ", 1)
        if self._tls:
            certificate, key = self._tls
            files = f"[DEFAULT]\ncert_file = {certificate}\nkey_file = {key}"
            proxy = proxy.replace("[DEFAULT]", files, 1)
        (self.folder / "proxy-server.conf").write_text(proxy)

    def _python(self) -> str:
        return str(self._bin / "python") if self._bin != DEBIAN else str(DEBIAN / "python3")

    def _spawn(self, name: str, *command: str) -> None:
        with (self.folder / "out").open("ab") as out:
            self._named[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=self.folder,
                start_new_session=True,
                preexec_fn=_die_with_the_tests,
            )

    def _until(self, true, complaint: str) -> None:
        end = time.monotonic() + _WAIT
        while time.monotonic() < end:
            for process in self._named.values():
                if process.poll() is not None:
                    log = (self.folder / "out").read_text()[-4000:]
                    raise RuntimeError(f"{process.args} ended: {log}")
            if true():
                return
            time.sleep(0.05)
        raise TimeoutError(complaint)


def mount_for_attributes(target: Path, image: Path) -> None:
    """Mount a file system with large extended attributes. Raise RuntimeError if there is none."""
    tmpfs = [tool("mount"), "-t", "tmpfs", "-o", "size=2g,mode=0755", "swift", str(target)]
    if _ran(tmpfs):
        if _takes_attributes(target):
            return
        _ran([tool("umount"), str(target)])
    with image.open("wb") as file:
        file.truncate(2 * 1024**3)  # sparse
    if not (_ran([tool("mkfs.xfs"), "-q", str(image)])
            and _ran([tool("mount"), "-o", "loop,noatime", str(image), str(target)])):  # fmt: skip
        raise RuntimeError("neither a tmpfs with attributes nor an xfs by loop device")


def _ran(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, timeout=_WAIT).returncode == 0


def _takes_attributes(folder: Path) -> bool:
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        try:
            os.setxattr(file.name, "user.swift", bytes(16 * 1024))
        except OSError:
            return False
    return True


def _die_with_the_tests() -> None:
    """Stop servers of an earlier test run that was killed."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _accepts(port: int) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    return False
