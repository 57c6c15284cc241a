"""The amount that a transfer moves is known before its first byte goes."""

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
from v1registry.commands import bars


class Recorder:
    """A progress that notes the total whenever bytes go."""

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
    monkeypatch.setattr(bars, "start", lambda images, quiet: recorder)
    return recorder


@pytest.fixture
def made(tmp_path: Path) -> MadeStore:
    """Images that share layers, in one repository and in several; names are used once."""
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
    """Names over there that nothing has had."""
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


def test_what_is_there_is_not_expected(go: V2Registry, made: MadeStore, progress: Recorder) -> None:
    """Whatever is in any of the repositories over there is mounted from it."""
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


def test_what_turns_out_otherwise_is_corrected(
    go: V2Registry, made: MadeStore, progress: Recorder
) -> None:
    with Quirky(go.port) as quirky:
        quirky.before = lambda asked: Answer(500) if "mount=" in asked.path else None
        planned = migrate(made, quirky.url, "--dry-run")["totals"]["bytes_sent"]
        sent = migrate(made, quirky.url)["totals"]["bytes_sent"]
        assert progress.totals[0] == planned < sent
        assert progress.total == progress.done == sent


def test_what_cannot_be_sent_is_expected_no_more(
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
