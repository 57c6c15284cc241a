"""A start with an unusable store or configuration ends with one clear line and is not retried.

A server that already serves keeps serving, and retries the start of new workers.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import raw
from tests.live_server import Server
from tests.waiting import wait_for

ROOT = Path(__file__).parent.parent


def start(store: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "import wsgi"],
        cwd=ROOT,
        env={**os.environ, "SETTINGS_FLAVOR": "local", "STORAGE_PATH": str(store), **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_usable_store(tmp_path: Path) -> None:
    assert start(tmp_path / "new").returncode == 0


def test_an_unknown_flavor(tmp_path: Path) -> None:
    done = start(tmp_path, SETTINGS_FLAVOR="nothing")
    assert done.returncode == 4
    assert "Traceback" not in done.stderr
    assert "nothing" in done.stderr


def test_an_unusable_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = start(tmp_path / "file" / "store")
    assert done.returncode == 4
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("v1registry: ")


def test_a_reload_while_the_store_is_unusable(tmp_path: Path) -> None:
    store, away = tmp_path / "store", tmp_path / "away"
    with Server(store) as server:
        old = server.worker_pids()
        uploads = store / "_v1registry/uploads"
        uploads.rename(away)
        uploads.write_text("in the way")
        os.kill(server.pid, signal.SIGHUP)
        wait_for(lambda: "A worker cannot start" in server.log, 60, lambda: server.log)
        assert "v1registry: _v1registry/check-" in server.log
        assert raw.get(server, "/v1/_ping").status == 200
        assert set(old) <= set(server.worker_pids())
        uploads.unlink()
        away.rename(uploads)
        wait_for(lambda: not set(old) & set(server.worker_pids()), 60, lambda: server.log)
        assert raw.get(server, "/v1/_ping").status == 200


APPLICATION = "import sys, wsgi"
MASTER = """
import sys
from v1registry.config import load_config
from v1registry.wiring.preload import import_for
import_for(load_config())
"""


@pytest.mark.parametrize("code", [APPLICATION, MASTER], ids=["application", "master"])
def test_optional_packages_are_loaded_only_if_configured(tmp_path: Path, code: str) -> None:
    """Unused drivers, clients and databases would cost memory in every process."""
    optional = [
        "boto3",
        "google",
        "keystoneauth1",
        "swiftclient",
        "redis",
        "sqlalchemy",
        "psycopg",
        "ldap3",
        "bcrypt",
        "cryptography",
        "requests",
        "urllib3",
        "tqdm",
        "zstandard",
    ]
    code += f"\nprint(*(name for name in {optional} if name in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "SETTINGS_FLAVOR": "local", "STORAGE_PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.split() == []


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"ACCOUNTS_HTPASSWD": "{folder}/users"},
        {"ACCOUNTS_HTPASSWD": "{folder}/users", "CACHE_REDIS_HOST": "127.0.0.1"},
        {"INDEX_DATABASE": "sqlite:///{folder}/index.db"},
        {"STANDALONE": "false", "INDEX_ENDPOINT": "http://127.0.0.1:1"},
    ],
    ids=["plain", "accounts", "redis", "index", "asking"],
)
def test_the_master_imports_all_modules_of_the_application(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    """The configuration alone tells the master which modules these are."""
    (tmp_path / "users").write_text("ann:$2y$05$" + "a" * 53 + "\n")
    code = f"""{MASTER}
before = set(sys.modules)
import wsgi
print(*sorted(set(sys.modules) - before))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={
            **os.environ,
            "SETTINGS_FLAVOR": "local",
            "STORAGE_PATH": str(tmp_path / "store"),
            **{name: value.format(folder=tmp_path) for name, value in environ.items()},
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.split() == ["wsgi"]
