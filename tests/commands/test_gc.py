"""The command `v1registry gc` beside a server, run as users run it."""

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
from tests.protocol.engine import Image, expect, image, push, quoted
from v1registry.config.load import PROJECT

BASE = image("base")
TOP = image("top", BASE)
OLD = image("old", BASE)
AGE = 2 * 86400  # seconds, more than the grace time


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server with two images on one base image; the tag of one of them was deleted."""
    with Server(tmp_path / "store", env={"CACHE_LIFE": "0"}) as server:
        push(server, "library/app", [BASE, TOP], ["1"])
        push(server, "library/app", [BASE, OLD], ["0"])
        expect(raw.delete(server, "/v1/repositories/library/app/tags/0"))
        age(server)
        yield server


def age(server: Server) -> None:
    """Make the store look as if everything in it was done two days ago."""
    for path in (server.store / "images").rglob("*"):
        os.utime(path, (time.time() - AGE,) * 2)
    for path in (server.store / "_v1registry" / "pushes").rglob("*"):
        if path.is_file():
            path.unlink()
    for path in sorted((server.store / "_v1registry" / "pushes").glob("*")):
        path.rmdir()


def start(store: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "v1registry", "gc", *arguments],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT), "SETTINGS_FLAVOR": "local"}
        | {"STORAGE_PATH": str(store), "CACHE_LIFE": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def gc(store: Path, *arguments: str) -> tuple[int, str, str]:
    process = start(store, *arguments)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def make_due(store: Path) -> None:
    """Let the time between hiding and deleting pass."""
    for plan in (store / "_v1registry" / "gc").glob("*/plan"):
        document = json.loads(plan.read_text())
        plan.write_text(json.dumps(document | {"due": 0}))


def status(server: Server, found: Image) -> int:
    return raw.get(server, found.path("json")).status


def test_garbage_is_hidden_and_deleted_later(server: Server) -> None:
    refused = gc(server.store)
    assert refused[0] == 1
    assert "1 of 3 images are garbage, more than 20% (--max-share)" in refused[2]
    assert status(server, OLD) == 200
    code, out, _ = gc(server.store, "--max-share", "50%")
    assert code == 0
    assert "garbage: 1 (" in out
    assert "run gc again after" in out
    assert (status(server, OLD), status(server, TOP)) == (404, 200)
    code, out, _ = gc(server.store, "--max-share", "50%")
    assert (code, out.startswith("the garbage of an earlier run is hidden")) == (0, True)
    assert (server.store / "images" / OLD.id / "layer").exists()
    make_due(server.store)
    code, out, _ = gc(server.store, "--json")
    report = json.loads(out)
    assert (code, report["deleted"]) == (0, {"images": 1, "bytes": len(OLD.layer), "kept": 0})
    assert not (server.store / "images" / OLD.id).exists()
    assert (status(server, OLD), status(server, TOP), status(server, BASE)) == (404, 200, 200)
    assert set(OldRegistry(server.store).images()) == {BASE.id, TOP.id}
    push(server, "library/app", [BASE, OLD], ["0"])  # it can be pushed again
    assert raw.get(server, OLD.path("layer")).body == OLD.layer


def test_a_push_after_hiding_keeps_the_image(server: Server) -> None:
    assert gc(server.store, "--yes")[0] == 0
    assert status(server, OLD) == 404
    # An engine sends the JSON of an image that it does not find, and skips the layer after 409.
    answer = raw.put(server, OLD.path("json"), OLD.json)
    assert (answer.status, answer.json()) == (409, {"error": "Image already exists"})
    expect(raw.put(server, "/v1/repositories/library/app/tags/0", quoted(OLD.id)))
    assert status(server, OLD) == 200
    make_due(server.store)
    code, out, _ = gc(server.store)
    assert (code, "needed again: 1" in out) == (0, True)
    assert raw.get(server, OLD.path("layer")).body == OLD.layer


def test_a_dry_run_lists_the_largest_images(server: Server) -> None:
    code, out, _ = gc(server.store, "--dry-run")
    assert code == 0
    assert "images: 3, 2 of them with a tag" in out
    assert OLD.id in out
    assert status(server, OLD) == 200
    assert gc(server.store, "--dry-run", "--grace", "3d")[1].count("garbage: 0 (") == 1


def test_only_one_process_collects(server: Server) -> None:
    first = start(server.store, "--yes")
    lease = server.store / "_v1registry" / "leases" / "gc"
    while not lease.exists():
        assert first.poll() is None
        time.sleep(0.01)
    first.send_signal(signal.SIGSTOP)
    code, _, err = gc(server.store, "--yes")
    first.send_signal(signal.SIGCONT)
    assert (code, err.splitlines()[-1]) == (
        1,
        "v1registry: another process is collecting garbage: run gc again when it has ended",
    )
    assert first.communicate(timeout=120)[0]
    assert first.returncode == 0
    assert not lease.exists()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--grace", "soon"), "must be a time such as 3600, 30m, 1h or 7d"),
        (("--max-share", "120%"), "must be a share such as 20%"),
        (("--max-share", "x"), "must be a share such as 20%"),
    ],
)
def test_wrong_options_are_refused(tmp_path: Path, arguments: tuple[str, ...], text: str) -> None:
    code, _, err = gc(tmp_path, *arguments)
    assert code == 2
    assert text in err
