"""The amount of a transfer is known before the first byte is sent."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

import pytest

from tests.backends.quirky import Answer, Quirky
from tests.backends.v2registry import V2Registry
from tests.transfer.made import MadeStore
from tests.transfer.run import call
from v1registry.commands import progress as module


class Recorder:
    """A display that records the total for each call of `bytes`."""

    def __init__(self) -> None:
        self.total = self.done = 0
        self.totals: list[int] = []

    def expect(self, count: int) -> None:
        self.total += count

    def bytes(self, count: int) -> None:
        self.totals.append(self.total)
        self.done += count

    def layer(self) -> None: ...

    def image(self, text: str) -> None: ...

    def note(self, text: str) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def progress(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(module, "transfer_progress", lambda images, quiet: recorder)
    return recorder


@pytest.fixture
def made(tmp_path: Path) -> MadeStore:
    """Return a store whose images share layers, within and across repositories."""
    made = MadeStore(tmp_path / "store", seed=secrets.randbits(60))
    base = made.image(None, 300_000)
    middle = made.image(base, 200_000)
    for number in range(3):
        made.tag(f"team{number}/app", "1", made.image(middle, 50_000))
        made.tag(f"team{number}/app", "2", base)
    return made


def command(made: MadeStore, *arguments: str, status: int = 0) -> dict[str, Any]:
    env = {"SETTINGS_FLAVOR": "local", "STORAGE_PATH": str(made.folder), "HOME": "/nonexistent"}
    out, _ = call([*arguments, "--json"], env, status)
    document: dict[str, Any] = json.loads(out)
    return document


def maps() -> list[str]:
    """Return options that map to new repository names in the target."""
    return [f"--map=team{number}/=x{secrets.token_hex(4)}/" for number in range(3)]


def migrate(made: MadeStore, url: str, *arguments: str, status: int = 0) -> dict[str, Any]:
    if not any(argument.startswith("--map") for argument in arguments):
        arguments = (*maps(), *arguments)
    return command(made, "migrate", "--to", url, "--no-journal", *arguments, status=status)


def test_all(go: V2Registry, made: MadeStore, progress: Recorder) -> None:
    planned = migrate(made, go.url, "--dry-run")["totals"]
    assert (planned["blobs_uploaded"], planned["blobs_mounted"]) == (5, 4)
    assert progress.totals == []
    sent = migrate(made, go.url)["totals"]
    for name in ("bytes_sent", "blobs_uploaded", "blobs_mounted"):
        assert sent[name] == planned[name]
    assert set(progress.totals) == {sent["bytes_sent"]} == {progress.done}


def test_present_blobs_are_not_expected(
    go: V2Registry, made: MadeStore, progress: Recorder
) -> None:
    """A blob that any repository of the target has is mounted from it."""
    names = maps()
    migrate(made, go.url, *names, "--repositories", "team1/*", "--tags", "2")
    first, progress.totals, progress.done, progress.total = progress.done, [], 0, 0
    assert first > 300_000
    planned = migrate(made, go.url, "--dry-run", *names)["totals"]
    sent = migrate(made, go.url, *names, "--jobs", "1")["totals"]
    for name in ("bytes_sent", "blobs_uploaded", "blobs_mounted", "there"):
        assert sent[name] == planned[name], name
    assert sent["there"] == 1
    assert sent["bytes_sent"] < 500_000
    assert set(progress.totals) == {sent["bytes_sent"]} == {progress.done}


def test_a_changed_amount_is_corrected(go: V2Registry, made: MadeStore, progress: Recorder) -> None:
    with Quirky(go.port) as quirky:
        quirky.before = lambda asked: Answer(500) if "mount=" in asked.path else None
        planned = migrate(made, quirky.url, "--dry-run")["totals"]["bytes_sent"]
        sent = migrate(made, quirky.url)["totals"]["bytes_sent"]
        assert progress.totals[0] == planned < sent
        assert progress.total == progress.done == sent


def test_refused_images_are_no_longer_expected(
    go: V2Registry, made: MadeStore, progress: Recorder
) -> None:
    with Quirky(go.port) as quirky:
        quirky.before = lambda asked: (
            Answer(403) if asked.method == "POST" and "/refused/" in asked.path else None
        )
        names = [*maps()[1:], "--map=team0/=refused/"]
        report = migrate(made, quirky.url, *names, status=3)["totals"]
        assert report["failed"] == 2
        assert progress.total == progress.done == report["bytes_sent"]


# -- export and import ---------------------------------------------------------------------------


def run(made: MadeStore, progress: Recorder, *arguments: str, status: int = 0) -> int:
    """Run a command, and return the number of reported bytes, all of which were expected."""
    progress.total = progress.done = 0
    progress.totals = []
    command(made, *arguments, status=status)
    assert progress.total == progress.done
    return progress.done


def layers(made: MadeStore) -> int:
    return sum(path.stat().st_size for path in made.folder.glob("images/*/layer"))


@pytest.mark.parametrize("packing", ["gzip", "bzip2", "tar"])
@pytest.mark.parametrize("form", ["oci", "docker"])
def test_export_and_import(tmp_path: Path, progress: Recorder, form: str, packing: str) -> None:
    made = MadeStore(tmp_path / "store")
    base = made.image(None, 300_000, packing)
    for number in range(3):
        made.tag(f"team/app{number}", "1", made.image(base, 50_000, packing))
    place = str(tmp_path / "to")
    told = run(made, progress, "export", place, "--format", form)
    assert set(progress.totals) == {told}
    assert told == layers(made) if packing != "bzip2" else told > layers(made)
    if form == "oci":
        assert run(made, progress, "export", place) == 0  # everything is there
    other = MadeStore(tmp_path / "other")
    told = run(other, progress, "import", place, "--repositories", "team/app1")
    assert set(progress.totals) == {told}
    assert told > 300_000
    rest = run(other, progress, "import", place)
    assert set(progress.totals) == {rest}
    assert 90_000 < rest < 150_000


def test_failed_images_are_no_longer_expected(tmp_path: Path, progress: Recorder) -> None:
    made = MadeStore(tmp_path / "store")
    made.tag("team/good", "1", made.image(None, 50_000))
    bad = made.image(None, 70_000)
    made.tag("team/bad", "1", bad)
    place = tmp_path / "to"
    run(made, progress, "export", str(place))
    index = json.loads((place / "index.json").read_text())
    for entry in index["manifests"]:
        if "bad" in str(entry["annotations"]):
            blob = place / "blobs/sha256" / entry["digest"].removeprefix("sha256:")
            digest = json.loads(blob.read_text())["layers"][0]["digest"]
    layer = place / "blobs/sha256" / digest.removeprefix("sha256:")
    layer.write_bytes(layer.read_bytes()[:-100])
    other = MadeStore(tmp_path / "other")
    assert 50_000 < run(other, progress, "import", str(place), status=3) < 60_000
    # an export whose layer is truncated after the layer scan
    (made.folder / "images" / bad / "layer").write_bytes(b"x")
    run(made, progress, "export", str(tmp_path / "again"), status=3)
