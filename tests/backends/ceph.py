"""A real S3 server: Ceph's gateway over one monitor and one object daemon that keeps all in memory.

    with Ceph(folder) as ceph:
        boto3.client("s3", endpoint_url=ceph.url, ...)

Started in 2 to 4 seconds; with `on_disk`, which outlives SIGKILL, in 6. Everything lies in `folder`; each process is ended by its pid. No
manager, no authentication between the daemons, one copy of everything: for tests alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time
import uuid
from pathlib import Path
from types import TracebackType

import boto3
from botocore.config import Config

from tests.live_server import free_port
from tests.needs import tool
from tests.tls import Certificate

ACCESS, SECRET = "ACCESSKEY0123456789", "SECRETKEY0123456789"
OPTIONS = {  # options of the driver as from the configuration; tests replace some
    "storage": "s3",
    "storage_path": "/registry",
    "boto_bucket": "registry",
    "boto_host": "127.0.0.1",
    "boto_port": 0,
    "boto_calling_format": None,
    "boto_proxy": None,
    "boto_proxy_port": None,
    "boto_proxy_user": None,
    "boto_proxy_pass": None,
    "s3_access_key": ACCESS,
    "s3_secret_key": SECRET,
    "s3_use_sigv4": True,
    "s3_region": None,
    "s3_secure": False,
    "s3_encrypt": False,
    "s3_storage_class": None,
    "s3_part_size": 8 * 1024 * 1024,
    "s3_upload_memory": 64 * 1024 * 1024,
    "s3_conditional_writes": True,
    "s3_etag_is_md5": True,
    "s3_read_timeout": 30,
    "cloudfront.base": None,
    "cloudfront.keyid": None,
    "cloudfront.keysecret": None,
}

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1

_WAIT = 40.0  # seconds for each step
_CONFIG = """\
[global]
fsid = {fsid}
mon initial members = a
mon host = v1:127.0.0.1:{mon_port}
monmap = {folder}/monmap
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind msgr2 = false
auth cluster required = none
auth service required = none
auth client required = none
auth supported = none
run dir = {folder}
admin socket = {folder}/$name.asok
log file = {folder}/$name.log
pid file =
keyring = /dev/null
# one daemon, one copy
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
# decide at once: there is no other monitor
paxos propose interval = 0.05
paxos min wait = 0.01
mon tick interval = 1
# however full the machine's disk is
mon data avail warn = 1
mon data avail crit = 1
auth allow insecure global id reclaim = false
{more}
[mon.a]
mon data = {folder}/mon
[osd]
osd data = {folder}/osd
osd objectstore = {store}
memstore device bytes = 4294967296
bluestore block size = 4294967296
osd op num shards = 2
osd op num threads per shard = 1
osd class update on start = true
[client.rgw.a]
rgw data = {folder}/rgw
rgw frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1{tls}
rgw dns name = localhost
rgw thread pool size = 64
rgw enable usage log = false
"""

DAEMONS = {  # in the order in which they start
    "ceph-mon": ("-i", "a", "-f"),
    "ceph-osd": ("-i", "0", "-f", "--no-mon-config"),
    "radosgw": ("-n", "client.rgw.a", "-f", "--no-mon-config"),
}


class Ceph:
    """The running server. `port` speaks HTTP; `tls_port` HTTPS if it was given a certificate.

    `more` goes to its configuration, for all daemons.
    """

    def __init__(
        self,
        folder: Path,
        tls: Certificate | None = None,
        *,
        on_disk: bool = False,
        more: str = "",
    ) -> None:
        self.folder = folder
        self._store = "bluestore" if on_disk else "memstore"
        self._more = more
        self.port, self.tls_port, self._mon_port = free_port(), free_port(), free_port()
        self.tls = tls
        self._config = folder / "ceph.conf"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pids(self) -> list[int]:
        """The process ids of monitor, object daemon and gateway."""
        return [process.pid for process in self._processes.values()]

    def options(self, **more: object) -> dict[str, object]:
        """Return options of the driver for this server."""
        return {**OPTIONS, "boto_port": self.port, **more}

    def environ(self, **more: str) -> dict[str, str]:
        """Return the variables of a 0.x deployment that make a registry use this server."""
        return {
            "SETTINGS_FLAVOR": "ceph-s3",
            "AWS_BUCKET": "registry",
            "AWS_HOST": "127.0.0.1",
            "AWS_PORT": str(self.port),
            "AWS_KEY": ACCESS,
            "AWS_SECRET": SECRET,
            **more,
        }

    def client(self, access: str = ACCESS, secret: str = SECRET):
        """Return an ordinary client without the driver's settings."""
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=access,
            aws_secret_access_key=secret,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}),
        )

    def admin(self, *words: str) -> str:
        """Run radosgw-admin; retry it, because the monitor refuses requests before it has its map."""
        return self._ask("radosgw-admin", *words)

    # -- start and stop ---------------------------------------------------------------

    def __enter__(self) -> Ceph:
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
        self.kill(*reversed(self._processes))  # its data need not be kept

    def kill(self, *names: str) -> None:
        """Send SIGKILL to some of DAEMONS."""
        for name in names:
            process = self._processes.pop(name)
            process.send_signal(signal.SIGKILL)
            process.wait(_WAIT)

    def start_again(self) -> None:
        """Start the daemons that were killed; with `on_disk`, they still have their data."""
        for name in DAEMONS:
            if name not in self._processes:
                self._spawn(name)

    def _start(self) -> None:
        for name in ("mon", "osd", "rgw"):
            (self.folder / name).mkdir(parents=True)
        fsid = str(uuid.uuid4())
        tls = ""
        if self.tls:
            tls = f" ssl_endpoint=127.0.0.1:{self.tls_port} ssl_certificate={self.tls.both}"
        self._config.write_text(
            _CONFIG.format(
                fsid=fsid,
                folder=self.folder,
                mon_port=self._mon_port,
                store=self._store,
                more=self._more,
                port=self.port,
                tls=tls,
            )
        )
        monmap = str(self.folder / "monmap")
        address = f"[v1:127.0.0.1:{self._mon_port}]"
        self._run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", address, monmap)
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", "/dev/null")
        self._spawn("ceph-mon")
        osd = str(uuid.uuid4())
        self._ask("ceph", "osd", "new", osd, "0")
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        self._spawn("ceph-osd")
        self._spawn("radosgw")
        user = ("--uid=reg", "--display-name=reg", f"--access-key={ACCESS}", f"--secret={SECRET}")
        self.admin("user", "create", *user)
        self.client().create_bucket(Bucket="registry")

    def _command(self, name: str, *words: str) -> list[str]:
        return [tool(name), "-c", str(self._config), *words]

    def _environ(self) -> dict[str, str]:
        return {**os.environ, "CEPH_CONF": str(self._config)}

    def _run(self, name: str, *words: str) -> str:
        command = [tool(name), *words] if name == "monmaptool" else self._command(name, *words)
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_WAIT, env=self._environ()
        )
        if done.returncode:
            raise RuntimeError(f"{name} {' '.join(words)}: {done.stdout}{done.stderr}")
        return done.stdout

    def _ask(self, name: str, *words: str) -> str:
        # Before the monitor has its map, it refuses commands as if from another cluster.
        for attempt in range(8):
            try:
                return self._run(name, *words)
            except RuntimeError as error:
                if attempt == 7 or "exists" in str(error):
                    raise
                time.sleep(0.2)
        raise AssertionError("unreachable")

    def _spawn(self, name: str) -> None:
        """Start one of DAEMONS, and wait until the next one can start."""
        with (self.folder / f"{name}.out").open("ab") as out:
            self._processes[name] = subprocess.Popen(
                self._command(name, *DAEMONS[name]),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=self._environ(),
                start_new_session=True,
                preexec_fn=_die_with_the_tests,
            )
        if name == "ceph-osd":
            self._until(lambda: "1 up" in self._ask("ceph", "osd", "stat"), "the osd is not up")
        else:
            self._listening(self._mon_port if name == "ceph-mon" else self.port)

    def _listening(self, port: int) -> None:
        self._until(lambda: _accepts(port), f"nobody listens on {port}")

    def _until(self, true, complaint: str) -> None:
        end = time.monotonic() + _WAIT
        while time.monotonic() < end:
            for process in self._processes.values():
                if process.poll() is not None:
                    logs = "".join(p.read_text()[-2000:] for p in self.folder.glob("*.out"))
                    raise RuntimeError(f"{process.args} ended: {logs}")
            if true():
                return
            time.sleep(0.05)
        raise TimeoutError(complaint)


def _die_with_the_tests() -> None:
    """Stop servers of an earlier test run that was killed."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _accepts(port: int) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    return False
