"""Periodic tasks of a running server: the cleaner, in one worker only; the scan of pushed layers."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from tests.live_server import Server
from tests.protocol import engine
from tests.waiting import wait_for


def test_old_staged_uploads_are_deleted(store: Path) -> None:
    uploads = store / "_v1registry" / "uploads"
    uploads.mkdir(parents=True)
    old, new = uploads / "put-old", uploads / "put-new"
    for path in (old, new):
        path.write_bytes(b"x")
    os.utime(old, (time.time() - 7200,) * 2)
    environ = {"CLEAN_INTERVAL": "1", "UPLOADS_LIFE": "3600"}
    with Server(store, workers=2, env=environ) as server:
        ends = time.monotonic() + 30
        while old.exists() and time.monotonic() < ends:
            time.sleep(0.05)
        assert not old.exists()
        assert new.exists()
        while "Cleaned up" not in server.log and time.monotonic() < ends:
            time.sleep(0.05)
        assert server.log.count("Cleaned up") == 1


def test_pushed_layers_are_scanned(store: Path) -> None:
    """Soon after the push. Layers that are no archive are logged, and do not stop the scan."""
    good, bad = engine.image("good"), engine.image("bad", layer=b"no archive" * 1000)
    last = engine.image("last", good)
    with Server(store, env={"V2_READ_PUSHED": "1"}) as server:
        engine.push(server, "a/b", [good], ["1"])
        engine.push(server, "a/b", [bad], ["2"])
        engine.push(server, "a/b", [good, last], ["3"])
        wait_for(lambda: (store / "images" / last.id / "_oci").exists(), 30, lambda: server.log)
        assert f"Image {bad.id}: the layer cannot be read: it holds no tar archive" in server.log
        assert (store / "images" / good.id / "_oci").exists()
        facts = json.loads((store / "images" / last.id / "_oci").read_text())["facts"]
        digest = facts["digest"].removeprefix("sha256:")
        assert list((store / "_v1registry/digests/sha256").glob(f"*/{digest}.layer-{last.id}"))


def test_pushed_layers_are_not_scanned_if_switched_off(store: Path) -> None:
    image = engine.image("pushed")
    with Server(store, env={"V2_READ_PUSHED": "0"}) as server:
        engine.push(server, "a/b", [image], ["1"])
        time.sleep(0.5)
        assert not (store / "images" / image.id / "_oci").exists()
