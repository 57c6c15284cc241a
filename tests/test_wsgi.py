"""Starting on a store or a configuration that cannot be used: one clear line, and no new try."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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


def test_a_store_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = start(tmp_path / "file" / "store")
    assert done.returncode == 4
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("v1registry: ")
