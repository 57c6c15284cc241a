"""What a test needs from the machine, by name. Without it the test is skipped, and fails in CI.

    @needs("nginx", "openssl")
    def test_x_accel(...): ...

or, inside a fixture, `require("loop")`. `scripts/servers.sh` installs what can be installed.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

T = TypeVar("T", bound=Callable[..., Any])

NPM_CLIENT = Path(__file__).parent / "clients" / "npm" / "node_modules" / "docker-registry-client"
GLANCE = Path(__file__).parent.parent / ".venv-servers" / "glance" / "bin" / "gunicorn"
SWIFT = Path(__file__).parent.parent / ".venv-servers" / "swift" / "bin" / "swift-proxy-server"
_PATH = ":".join(
    [
        os.environ.get("PATH", os.defpath),
        "/usr/local/sbin:/usr/sbin:/sbin",
        *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"))),
    ]
)


def tool(name: str) -> str:
    """Return the path of a command, even outside the PATH of an ordinary user; otherwise its name."""
    return shutil.which(name, path=_PATH) or name


def _command(name: str, package: str) -> str | None:
    return None if shutil.which(name, path=_PATH) else f"{name} (Debian: {package})"


def _runs(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, timeout=60).returncode == 0


@functools.cache
def _mounts(kind: str) -> bool:
    """Return whether we may mount, by trying it: the capabilities alone do not show it."""
    if os.geteuid() != 0 or not shutil.which("mount", path=_PATH):
        return False
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "mounted"
        target.mkdir()
        if kind == "tmpfs":
            mounted = _runs(tool("mount"), "-t", "tmpfs", "-o", "size=64k", "none", str(target))
        else:
            image = Path(folder) / "image"
            with image.open("wb") as file:
                file.truncate(512 * 1024 * 1024)  # sparse; mkfs.xfs refuses less than 300 MiB
            mounted = _runs(tool("mkfs.xfs"), "-q", str(image)) and _runs(
                tool("mount"), "-o", "loop", str(image), str(target)
            )
        if mounted:
            _runs(tool("umount"), str(target))
        return mounted


def _tmpfs() -> str | None:
    return None if _mounts("tmpfs") else "the right to mount a tmpfs (root)"


def _xfs() -> str | None:
    absent = _command("mkfs.xfs", "xfsprogs") or _command("xfs_io", "xfsprogs")
    return absent or (None if _mounts("xfs") else "the right to mount an xfs by loop device (root)")


@functools.cache
def _exfat() -> str | None:
    commands = {"mkfs.exfat": "exfatprogs", "mount.exfat-fuse": "exfat-fuse", "losetup": "mount"}
    absent = [text for pair in commands.items() if (text := _command(*pair))]
    if absent or os.geteuid() != 0:
        return ", ".join(absent) or "the right to mount an exFAT by loop device (root)"
    with tempfile.TemporaryDirectory() as folder, exfat(Path(folder)) as mounted:
        return None if mounted else "the right to mount an exFAT by loop device (root)"


@contextlib.contextmanager
def exfat(folder: Path) -> Iterator[Path | None]:
    """Mount an exFAT in a file of `folder`; return None if we may not."""
    image, mounted = folder / "image", folder / "exfat"
    mounted.mkdir()
    with image.open("wb") as file:
        file.truncate(64 * 1024 * 1024)
    made = _runs(tool("mkfs.exfat"), str(image))
    loop = subprocess.run([tool("losetup"), "-f", "--show", image], capture_output=True, text=True)
    device = loop.stdout.strip()
    try:
        if made and device and _runs(tool("mount.exfat-fuse"), device, str(mounted)):
            yield mounted
            _runs(tool("umount"), "-l", str(mounted))
        else:
            yield None
    finally:
        if device:
            _runs(tool("losetup"), "-d", device)


def _npm_client() -> str | None:
    absent = _command("node", "nodejs")
    if absent or NPM_CLIENT.is_dir():
        return absent
    return "the npm client (`npm ci` in tests/clients/npm; `make servers` does it)"


def _ceph() -> str | None:
    packages = {
        "ceph-mon": "ceph-mon",
        "ceph-osd": "ceph-osd",
        "radosgw": "radosgw",
        "radosgw-admin": "radosgw",
        "ceph": "ceph-common",
    }
    absent = [text for pair in packages.items() if (text := _command(*pair))]
    return ", ".join(absent) or None


def _swift() -> str | None:
    absent = _command("memcached", "memcached")
    if absent is None and not SWIFT.exists():
        absent = "Swift (`make servers` installs it into .venv-servers/swift)"
    return absent or (_xfs() if _tmpfs() else None)


def _swift_debian() -> str | None:
    parts = ("proxy", "account", "container", "object")
    absent = [text for part in parts if (text := _command(f"swift-{part}-server", f"swift-{part}"))]
    return ", ".join(absent) or _swift()


def _docker() -> str | None:
    commands = {"docker": "docker.io", "dockerd": "docker.io", "ctr": "containerd"}
    absent = [text for pair in commands.items() if (text := _command(*pair))]
    return ", ".join(absent) or None


def _postgres() -> str | None:
    absent = _command("initdb", "postgresql") or _command("psql", "postgresql")
    if absent or os.geteuid() != 0:
        return absent
    try:
        pwd.getpwnam("postgres")
    except KeyError:
        return "the user postgres, since root may not run it (Debian: postgresql)"
    return None


def _glance() -> str | None:
    if GLANCE.exists():
        return None
    return "Glance (`make servers` installs it into .venv-servers/glance)"


_CHECKS: dict[str, Callable[[], str | None]] = {
    "nginx": lambda: _command("nginx", "nginx-light"),
    "openssl": lambda: _command("openssl", "openssl"),
    "redis": lambda: (
        _command("redis-server", "redis-server") or _command("redis-cli", "redis-tools")
    ),
    "slapd": lambda: _command("slapd", "slapd"),
    "systemd-analyze": lambda: _command("systemd-analyze", "systemd"),
    "chromium": lambda: _command("chromium", "chromium"),
    "skopeo": lambda: _command("skopeo", "skopeo"),
    "docker": _docker,
    "podman": lambda: _command("podman", "podman"),
    "v2-registry": lambda: _command("docker-registry", "docker-registry"),
    "npm-client": _npm_client,
    "ceph": _ceph,
    "swift": _swift,
    "swift-debian": _swift_debian,
    "postgres": _postgres,
    "glance": _glance,
    "glance-25": lambda: _command("glance-api", "glance-api"),
    "tmpfs": _tmpfs,
    "xfs": _xfs,
    "exfat": _exfat,
    "root": lambda: None if os.geteuid() == 0 else "root",
}


def missing(*names: str) -> str:
    """Return a description of what is missing of `names`; empty if nothing is."""
    return ", ".join(text for text in (_CHECKS[name]() for name in names) if text)


def require(*names: str) -> None:
    """Skip the running test if something is missing, or fail it in CI. For use in fixtures."""
    _refuse(missing(*names))


def needs(*names: str) -> Callable[[T], T]:
    """Return a decorator for a test function or class, which is skipped with the name of what is missing."""
    absent = missing(*names)

    def decorate(test: T) -> T:
        if not absent:
            return test
        if not _in_ci():
            marked: T = pytest.mark.skip(reason=f"needs {absent}")(test)
            return marked
        if inspect.isclass(test):
            for name, member in list(vars(test).items()):
                if name.startswith("test") and inspect.isfunction(member):
                    setattr(test, name, decorate(member))
            return test

        @functools.wraps(test)
        def failing(*args: object, **kwargs: object) -> None:
            _refuse(absent)

        return failing  # type: ignore[return-value]

    return decorate


def _in_ci() -> bool:
    return os.environ.get("CI") == "true"


def _refuse(absent: str) -> None:
    if not absent:
        return
    if _in_ci():
        pytest.fail(f"CI must have {absent}", pytrace=False)
    pytest.skip(f"needs {absent}")
