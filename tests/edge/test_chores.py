"""A running server removes leftovers by itself, once for all its processes."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.server import Server


def test_leftovers_vanish(store: Path) -> None:
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
