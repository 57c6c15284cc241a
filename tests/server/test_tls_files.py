"""A certificate and a key that do not match: at the start, at a reload, and while serving."""

from __future__ import annotations

import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import raw
from tests.live_server import ROOT, Server, free_port
from tests.tls import Certificate, make_certificate
from tests.waiting import wait_for

NO_PAUSE = 8  # workers begun in three seconds, at most: with pauses of 1, 2, 4 s
REASON = "does not belong to the first certificate"


@pytest.fixture
def pair(tmp_path: Path) -> Certificate:
    return make_certificate(tmp_path / "pair")


@pytest.fixture
def other(tmp_path: Path) -> Certificate:
    return make_certificate(tmp_path / "other")


def command(store: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run `v1registry ...`, which must end by itself."""
    env = {
        "PATH": os.environ["PATH"],
        "SETTINGS_FLAVOR": "local",
        "STORAGE_PATH": str(store),
        "REGISTRY_HOST": "127.0.0.1",
        "REGISTRY_PORT": str(free_port()),
        "GUNICORN_WORKERS": "2",
        **environ,
    }
    line = [sys.executable, "-m", "v1registry", *arguments]
    return subprocess.run(line, cwd=ROOT, env=env, capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize("subcommand", ["config", "serve"])
def test_a_pair_that_does_not_match_is_reported_before_the_start(
    store: Path, pair: Certificate, other: Certificate, subcommand: str
) -> None:
    files = {"TLS_CERTIFICATE": str(pair.certificate), "TLS_KEY": str(other.key)}
    done = command(store, subcommand, **files)
    assert (done.returncode, done.stdout) == (1, "")
    told = [line for line in done.stderr.splitlines() if "warning" not in line]
    assert len(told) == 1, done.stderr
    assert f"local.tls.key: the key in {other.key} {REASON} in {pair.certificate}" in told[0]


def test_workers_that_never_serve_end_the_server(
    store: Path, pair: Certificate, other: Certificate
) -> None:
    """Only the workers load files that are named in options of gunicorn."""
    files = ["--certfile", str(pair.certificate), "--keyfile", str(other.key)]
    done = command(store, "serve", *files)
    assert done.returncode == 3, done.stderr
    assert "The certificate and key cannot be loaded" in done.stderr
    assert done.stderr.splitlines()[-1].endswith("Reason: Worker failed to boot.")
    assert len(done.stderr.splitlines()) < 20, done.stderr
    assert "Traceback" not in done.stderr


def shown(server: Server) -> str:
    """Return the certificate that clients receive."""
    return ssl.get_server_certificate(("127.0.0.1", server.port), timeout=10)


def answered_by(server: Server) -> str:
    """Return the common prefix of the request ids of one worker."""
    return (raw.get(server, "/v1/_ping").header("X-Request-Id") or "")[:12]


def began(server: Server) -> int:
    return server.log.count("Booting worker")


@pytest.mark.parametrize("named", ["by our options", "by gunicorn's"])
def test_a_reload_with_such_a_pair_changes_nothing(
    store: Path, pair: Certificate, other: Certificate, named: str
) -> None:
    reason, env = REASON, {}
    if named != "by our options":
        reason = "the certificate and key cannot be loaded"
        env["GUNICORN_OPTS"] = f"[--certfile, {pair.certificate}, --keyfile, {pair.key}]"
        env |= {"TLS_CERTIFICATE": "", "TLS_KEY": ""}
    with Server(store, workers=1, env=env, tls=(pair.certificate, pair.key)) as server:
        before, workers = shown(server), server.worker_pids()
        shutil.copy(other.certificate, pair.certificate)  # the key comes later, as with some tools
        os.kill(server.pid, signal.SIGHUP)
        wait_for(lambda: "Not reloaded, the old configuration stays" in server.log)
        time.sleep(2)
        assert server.log.count(reason) == 1
        assert (server.worker_pids(), began(server)) == (workers, 1)
        assert shown(server) == before
        shutil.copy(other.key, pair.key)
        os.kill(server.pid, signal.SIGHUP)
        wait_for(lambda: not set(workers) & set(server.worker_pids()))
        assert shown(server) == other.certificate.read_text() != before
        assert "Traceback" not in server.log


@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_replaced_meanwhile_is_retried_with_pauses(
    store: Path, pair: Certificate, other: Certificate, workers: int
) -> None:
    with Server(store, workers=workers, tls=(pair.certificate, pair.key)) as server:
        good = pair.key.read_bytes()
        answering: set[str] = set()
        wait_for(lambda: len(answering) == workers or answering.add(answered_by(server)))
        shutil.copy(other.key, pair.key)
        os.kill(server.worker_pids()[0], signal.SIGKILL)
        wait_for(lambda: "A worker cannot start" in server.log)
        time.sleep(3)
        assert began(server) <= workers + NO_PAUSE
        if workers > 1:
            assert shown(server) == pair.certificate.read_text()
        pair.key.write_bytes(good)
        wait_for(lambda: len(server.worker_pids()) == workers, 30)
        wait_for(lambda: shown(server) == pair.certificate.read_text())
        assert "Traceback" not in server.log
