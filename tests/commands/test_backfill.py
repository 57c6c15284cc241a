"""The command `v1registry backfill`, run as users run it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import wait_for
from v1registry.config.load import PROJECT

GOLDEN = Path(__file__).parents[1] / "fixtures" / "golden"
MADE_BY_1_5_0 = "deebd557a9a4d8a93c670f23d9c4d46569a625da6ada1eac0fef9e32b5a40f86"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return the golden store without tags that point to missing images."""
    store = Path(shutil.copytree(GOLDEN / "store-0.9.1", tmp_path / "store"))
    for path in store.glob("repositories/*/*/tag_v2"):
        path.unlink()
    return store


def start(store: Path, *arguments: str, **environ: str) -> subprocess.Popen[str]:
    base = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT), "SETTINGS_FLAVOR": "local"}
    return subprocess.Popen(
        [sys.executable, "-m", "v1registry", "backfill", *arguments],
        env=base | {"STORAGE_PATH": str(store)} | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(store: Path, *arguments: str, **environ: str) -> tuple[int, str, str]:
    process = start(store, *arguments, **environ)
    out, err = process.communicate(timeout=60)
    told = ("images may be lost at the next restart", f"v1registry: store: {store} (flavor local)")
    progress = re.compile(r"[0-9,]+ (of [0-9,]+ )?(repositories|layers|images)\b")  # if it is slow
    others = [
        line for line in err.splitlines() if not (line.endswith(told) or progress.match(line))
    ]
    return process.returncode, out, "\n".join(others)


def test_a_report_with_every_tag(store: Path) -> None:
    status, out, err = run(store, "--json")
    assert (status, err) == (0, "")
    report = json.loads(out)
    assert report["problems"] == []
    assert report["blobs"]["read"] == report["blobs"]["layers"] == 12
    golden = json.loads((GOLDEN / "image-ids.json").read_text())
    assert {(row["repository"], row["image"], row["image_id"]) for row in report["tags"]} == {
        (row["repository"], row["v1_id"], row["image_id"]) for row in golden
    }
    status, out, err = run(store, "--only", "blobs")
    assert (status, out, err) == (0, "layer metadata: 12 layers, 4 tags\n", "")


def test_facts_is_a_hidden_alias(store: Path) -> None:
    """Scripts and cron jobs call `backfill` by the name that it had before release 1.0."""
    results = [
        subprocess.run(
            [sys.executable, "-m", "v1registry", *arguments],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT)}
            | {"SETTINGS_FLAVOR": "local", "STORAGE_PATH": str(store)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for arguments in (["facts", "--only", "blobs"], ["backfill", "--only", "blobs"], ["--help"])
    ]
    assert results[0].startswith("layer metadata: 12 layers, 12 read")
    assert results[1] == "layer metadata: 12 layers, 4 tags\n"
    assert "  backfill  " in results[2]
    assert "facts" not in results[2]


def test_problems_are_named_and_have_a_status(store: Path) -> None:
    (store / "images" / MADE_BY_1_5_0 / "layer").write_bytes(b"gone bad")
    for _ in range(2):
        status, out, _ = run(store, "--only", "blobs")
        assert status == 3
        assert f"{MADE_BY_1_5_0}: the layer cannot be read: it holds no tar archive\n" in out
        assert f"libtest/d150:latest ({MADE_BY_1_5_0}): {MADE_BY_1_5_0}: the layer" in out


def test_unreadable_tags_are_named_once(store: Path) -> None:
    (store / "repositories/libtest/d150/tag_empty").write_bytes(b"")
    (store / "repositories/libtest/d150/tag_bad").write_bytes(b"garbage")
    status, out, _ = run(store)
    assert status == 3
    reason = "the file of the tag holds no image id: push the tag again, or delete it"
    assert sorted(out.splitlines()[2:]) == [
        f"libtest/d150:bad: {reason}",
        f"libtest/d150:empty: {reason}",
    ]
    status, out, _ = run(store, "--only", "reach", "--json")
    rows = json.loads(out)["problems"]
    assert status == 3
    assert sorted((row["repository"], row["tag"], row["problem"]) for row in rows) == [
        ("libtest/d150", "bad", reason),
        ("libtest/d150", "empty", reason),
    ]


@pytest.mark.parametrize("data", [b"", b"garbage", b"{}", b"\xff"])
def test_damaged_image_lists_are_named(store: Path, data: bytes) -> None:
    """0.x wrote files in place, so a crash left empty files."""
    (store / "repositories/libtest/d150/_index_images").write_bytes(data)
    status, out, _ = run(store)
    assert status == 3
    reason = "its image list is damaged, so pulls find no images: push the repository again"
    assert out.splitlines()[2:] == [f"libtest/d150: {reason}"]


def test_a_read_only_store_is_refused(store: Path) -> None:
    status, out, err = run(store, READ_ONLY="true")
    assert (status, out) == (1, "")
    assert "read_only" in err


def test_a_killed_run_resumes(tmp_path: Path, store: Path) -> None:
    for number in range(300):
        shutil.copytree(store / "images" / MADE_BY_1_5_0, store / "images" / f"{number:064x}")
    total = 312

    def known() -> int:
        return len(list(store.glob("images/*/_oci")))

    kills = 0
    while kills < 5 and known() < total:
        before = known()
        process = start(store, "--only", "blobs", "--jobs", "2")
        enough = min(before + 20, total)
        wait_for(lambda n=enough, p=process: known() >= n or p.poll() is not None, 30)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
        kills += 1
    before = known()
    assert kills >= 2
    status, out, _ = run(store, "--only", "blobs", "--json")
    report = json.loads(out)
    assert report["blobs"]["layers"] == total
    assert report["blobs"]["read"] <= total - before
    assert status == 0, report["problems"]
    assert known() == total
