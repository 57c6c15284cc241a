"""`_status` names the services that fail. The reasons are only in the log."""

from __future__ import annotations

import json
import platform
import shutil
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import raw
from tests.live_server import Server, free_port
from tests.rights.accounts import basic, environment, password_file
from v1registry.lib.support.health import Health

TOLD = "cannot be used now, the log says why"


def status(server: Server, headers: Mapping[str, str]) -> tuple[int, str]:
    answer = raw.get(server, "/v1/_status", headers)
    return answer.status, answer.body.decode()


@pytest.mark.parametrize("who", [None, "ada"], ids=["anonymous", "an account"])
@pytest.mark.parametrize("kind", ["open", "accounts", "an index of one's own"])
def test_responses_name_no_host_paths_or_urls(tmp_path: Path, kind: str, who: str | None) -> None:
    store = tmp_path / "the-store"
    env = {"CACHE_REDIS_HOST": "127.0.0.1", "CACHE_REDIS_PORT": str(free_port())}  # it is not there
    if kind == "accounts":
        env |= environment(password_file(tmp_path, ["ada"]))
    elif kind != "open":
        env |= {"INDEX_DATABASE": f"sqlite:///{tmp_path}/index.db"}
    headers = basic(who if kind == "accounts" else None)
    with Server(store, env=env) as server:
        names = json.loads(status(server, headers)[1])["services"]
        shutil.move(store, tmp_path / "kept")
        code, text = status(server, headers)
        assert code == 503
        assert json.loads(text) == {
            "services": names,
            "failures": {"redis": TOLD, "storage": TOLD},
            "host": "",
        }
        for secret in (platform.node(), str(tmp_path), "127.0.0.1", env["CACHE_REDIS_PORT"]):
            assert secret not in text
        for _ in range(20):
            status(server, headers)
        lines = [line for line in server.log.splitlines() if "The service storage cannot" in line]
        assert len(lines) == 1
        shutil.move(tmp_path / "kept", store)
        assert json.loads(status(server, headers)[1])["failures"] == {"redis": TOLD}
        assert "The service storage can be used again" in server.log


class Failing:
    name = "store"
    reason: str | None = None

    def check(self) -> str | None:
        return self.reason


def test_a_failure_is_logged_when_it_begins_changes_and_ends(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    service = Failing()
    health = Health([service])
    assert (health.names, health.failing()) == (["store"], [])
    for seconds, reason, lines in [
        (0, "first", 1),
        (0.5, "second", 0),
        (1, "second", 1),
        (59, "second", 0),
        (2, "second", 1),
        (0, None, 1),
        (0, None, 0),
        (0, "second", 1),
    ]:
        now += seconds
        service.reason = reason
        caplog.clear()
        assert health.failing() == ([] if reason is None else ["store"])
        assert len(caplog.records) == lines, (seconds, reason)


class Slow:
    name = "store"
    looks = 0

    def check(self) -> str | None:
        self.looks += 1
        time.sleep(0.2)
        return "it is away"


def test_concurrent_requests_share_one_check() -> None:
    """A check writes to the store, and every client may request one."""
    service = Slow()
    health = Health([service])
    with ThreadPoolExecutor(20) as pool:
        found = list(pool.map(lambda _: health.failing(), range(20)))
    assert found == [["store"]] * 20
    assert service.looks <= 2  # a thread may begin after the first look has ended
    health.failing()
    assert service.looks <= 3
