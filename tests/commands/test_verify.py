"""The command `v1registry verify` beside a server, run as users run it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import raw
from tests.live_server import Server
from tests.oldregistry import OldRegistry
from tests.protocol.engine import expect, image, push
from v1registry.config.load import PROJECT

BASE = image("base")
TOP = image("top", BASE)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server with two repositories, one of them with a nested name, and a deleted tag."""
    with Server(tmp_path / "store") as server:
        push(server, "library/app", [BASE, TOP], ["1", "latest"])
        push(server, "team/deep/app", [BASE, TOP], ["1"])
        expect(raw.delete(server, "/v1/repositories/library/app/tags/1"))
        yield server


def start(store: Path, *arguments: str, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "v1registry", "verify", *arguments],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT), "SETTINGS_FLAVOR": "local"}
        | {"STORAGE_PATH": str(store)}
        | env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def verify(store: Path, *arguments: str, **env: str) -> tuple[int, str, str]:
    process = start(store, *arguments, **env)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def test_a_store_that_the_server_wrote_has_no_finding(server: Server) -> None:
    code, out, err = verify(server.store, "--deep", "--json")
    report = json.loads(out)
    assert (code, report["findings"]) == (0, [])
    assert (report["checked"]["images"], report["checked"]["repositories"]) == (2, 2)
    assert "not checked" not in err
    assert not (server.store / "_v1registry" / "verify").exists()
    assert not (server.store / "_v1registry" / "leases" / "verify").exists()


def test_findings_are_printed_and_repaired(server: Server) -> None:
    (server.store / "images" / TOP.id / "json").write_bytes(b"{")
    (server.store / "images" / TOP.id / "ancestry").write_bytes(b"[]")
    code, out, _ = verify(server.store)
    assert code == 3
    key = f"images/{TOP.id}/json"
    assert f"error: json-invalid: {key}: An image JSON is damaged or no JSON object: " in out
    assert "errors: 2, warnings: 0, info: 0; --repair repairs 1" in out  # no stale references
    code, out, err = verify(server.store, "--repair")
    assert (code, err.splitlines()[-1]) == (
        1,
        "v1registry: Repair 1 findings? Confirm with --yes",
    )
    assert f"repair: {key}: writes it as it was pushed" in out
    assert (server.store / key).read_bytes() == b"{"
    code, out, _ = verify(server.store, "--repair", "--yes")
    assert (code, out.splitlines()[-1]) == (0, "repaired")
    assert raw.get(server, TOP.path("json")).body == TOP.json
    assert OldRegistry(server.store).problems() == []
    assert verify(server.store, "--deep")[0] == 0


def test_what_cannot_be_repaired_remains(server: Server) -> None:
    layer = server.store / "images" / TOP.id / "layer"
    layer.write_bytes(layer.read_bytes()[:-9])
    (server.store / "repositories" / "library" / "app" / "json").write_bytes(b"{")
    code, out, _ = verify(server.store, "--deep", "--json", "--repair", "--yes")
    report = json.loads(out)
    assert code == 3
    assert {finding["code"] for finding in report["findings"]} == {
        "layer-size",
        "layer-damaged",
        "repository-json-invalid",
    }
    assert {finding["code"] for finding in report["remaining"]} == {"layer-size", "layer-damaged"}
    code, out, _ = verify(server.store, "--repositories", "team/*")
    assert (code, "checked: 2 images, 1 repositories" in out) == (3, True)


def test_a_read_only_store_is_not_written(server: Server) -> None:
    before = sorted(server.store.rglob("*"))
    (server.store / "images" / TOP.id / "ancestry").write_bytes(b"[]")
    code, out, _ = verify(server.store, READ_ONLY="true")
    assert (code, "ancestry-invalid" in out) == (3, True)
    assert sorted(server.store.rglob("*")) == before
    code, _, err = verify(server.store, "--repair", READ_ONLY="true")
    assert (code, "read_only is set: nothing is repaired" in err) == (1, True)


def test_an_interrupted_run_continues(server: Server) -> None:
    for number in range(3000):
        folder = server.store / "images" / image(f"{number}", layer=b"").id
        folder.mkdir()
        (folder / "json").write_bytes(b"{")
    cursor = server.store / "_v1registry" / "verify" / "cursor"
    first = start(server.store, "--jobs", "1")
    lease = server.store / "_v1registry" / "leases" / "verify"
    while not lease.exists():
        assert first.poll() is None
        time.sleep(0.01)
    first.send_signal(signal.SIGSTOP)
    assert "another process is verifying" in verify(server.store)[2]
    first.send_signal(signal.SIGINT)
    first.send_signal(signal.SIGCONT)
    assert first.wait(60) == 1
    assert not lease.exists()
    first.communicate()
    # Let the first phase look finished: the next run must not check it again.
    cursor.parent.mkdir(exist_ok=True)
    state = {"options": {"deep": False, "repositories": None}, "started": time.time()}
    state |= {"saved": time.time(), "phase": "repositories", "checked": {"images": 3002}}
    cursor.write_text(json.dumps(state))
    code, out, err = verify(server.store, "--json")
    assert "continuing the run of" in err
    assert (code, json.loads(out)["findings"]) == (0, [])
    assert not cursor.exists()
    code, out, _ = verify(server.store, "--json")
    codes = [finding["code"] for finding in json.loads(out)["findings"]]
    assert (code, codes.count("json-invalid")) == (3, 3000)


def test_wrong_options_are_refused(tmp_path: Path) -> None:
    code, _, err = verify(tmp_path, "--repair", "--json")
    assert (code, "--json with --repair needs --yes" in err) == (2, True)
