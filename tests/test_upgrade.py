"""docs/upgrade.md step by step on a store of 0.9.1: upgrade, roll-back and upgrade again."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import raw
from tests.live_server import Server
from tests.oldregistry import OldRegistry
from tests.protocol import engine

ROOT = Path(__file__).parent.parent
GOLDEN = Path(__file__).parent / "fixtures" / "golden" / "store-0.9.1"
SAMPLE = Path(__file__).parent / "fixtures" / "config" / "original-sample.yml"
NAME = "libtest/d101"


def command(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "v1registry", *arguments],
        cwd=ROOT,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN, tmp_path / "store"))


def test_before(store: Path) -> None:
    """Steps 1 to 3 of "Before": the old file and environment are accepted and reported."""
    done = command("config", "--check", str(SAMPLE), "--flavor", "local", STORAGE_PATH=str(store))
    assert done.returncode == 0, done.stderr
    assert "temporary folder" in done.stderr
    assert "index_endpoint" in done.stderr


def test_there_and_back(store: Path) -> None:
    before = {
        path.relative_to(store): path.read_bytes()
        for path in store.rglob("*")
        if path.is_file() and path.name in ("json", "layer", "ancestry", "_checksum")
        if "images" in path.parts
    }
    top = OldRegistry(store).tags(NAME)["latest"]

    # upgrade: the old environment, the unchanged folder
    config = SAMPLE.read_text()
    with Server(store, env={"SETTINGS_FLAVOR": "local"}, config=config) as server:
        assert raw.get(server, f"/v1/repositories/{NAME}/tags").json()["latest"] == top
        assert raw.get(server, f"/v1/images/{top}/layer").body == OldRegistry(store).layer(top)
        base = engine.image("new")
        engine.push(server, NAME, [base], ["new"])
        engine.expect(raw.delete(server, f"/v1/repositories/{NAME}/tags/v2"))
        half = engine.image("half")
        engine.expect(raw.put(server, half.path("json"), half.json))

    done = command("backfill", "--json", SETTINGS_FLAVOR="local", STORAGE_PATH=str(store))
    assert done.returncode == 3, done.stderr
    report = json.loads(done.stdout)
    problems = report["problems"]
    assert problems, "the store has tags that point to nothing"
    assert all("missing" in problem["problem"] for problem in problems), problems
    assert top in {row["image"] for row in report["tags"]}
    counts = report["reach"]
    assert counts["repositories"] == len(list((store / "repositories").glob("*/*")))
    assert counts["written"] >= len(json.loads((store / "images" / top / "ancestry").read_text()))
    assert (store / "images" / top / "_repositories").is_dir()
    refused = command("backfill", "--only", "x", SETTINGS_FLAVOR="local", STORAGE_PATH=str(store))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "no kind 'x' (there are: reach" in refused.stderr

    # roll back: clean once, then 0.9.1 finds everything
    done = command("clean", "--older-than", "0", SETTINGS_FLAVOR="local", STORAGE_PATH=str(store))
    assert done.returncode == 0, done.stderr
    old = OldRegistry(store)
    assert old.tags(NAME) == {"latest": top, "new": base.id}
    assert old.layer(base.id) == base.layer
    assert old.image_problems(base.id) == []
    assert {item["id"] for item in old.index_images(NAME)} >= {top, base.id}
    assert not (store / "images" / half.id).exists(), "0.x would take it for half pushed"
    for path, data in before.items():
        assert (store / path).read_bytes() == data, f"{path} was changed"

    # 0.9.1 then moves a tag and adds to the list
    folder = old.folder(NAME)
    (folder / "tag_latest").write_text(base.id)
    listed = [*old.index_images(NAME), {"id": "c" * 64}]
    (folder / "_index_images").write_text(json.dumps(listed))

    # upgrade again
    with Server(store) as server:
        assert raw.get(server, f"/v1/repositories/{NAME}/tags/latest").json() == base.id
        found = {item["id"] for item in raw.get(server, f"/v1/repositories/{NAME}/images").json()}
        assert found == {item["id"] for item in listed}


def test_every_command_on_the_page_exists() -> None:
    """The page names only commands and variables that exist."""
    text = (ROOT / "docs" / "upgrade.md").read_text()
    for name in re.findall(r"v1registry\s+(clean|config|backfill|serve)", text):
        assert command(name, "--help").returncode == 0
    assert "FLUSHDB" in text
    assert "cache_path:" in text
    options = (ROOT / "docs" / "configuration.md").read_text()
    for variable in re.findall(r"-e ([A-Z_]+)=|`([A-Z_]+)=true`", text):
        name = "".join(variable)
        assert name == "SETTINGS_FLAVOR" or f"`{name}`" in options, name
