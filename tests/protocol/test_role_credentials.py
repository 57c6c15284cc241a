"""Temporary credentials for S3 that change while a registry runs, or are not renewed."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import raw
from tests.backends.ceph import Ceph
from tests.backends.rolecredentials import RoleCredentials
from tests.faults.engine import Engine, make_image, make_tar, squeeze
from tests.live_server import Server
from v1registry.storage.errors import Unavailable
from v1registry.storage.s3.driver import S3Storage

MIB = 1024 * 1024


@pytest.fixture
def role(ceph: Ceph) -> Iterator[RoleCredentials]:
    with RoleCredentials(ceph, f"role{secrets.token_hex(4)}") as running:
        yield running


@pytest.fixture
def server(ceph: Ceph, role: RoleCredentials, tmp_path: Path) -> Iterator[Server]:
    own = {"AWS_BUCKET": role.name, "STORAGE_PATH": "/r", "CACHE_MEMORY": "0"}
    environ = ceph.environ(**own, **role.environ())
    del environ["AWS_KEY"], environ["AWS_SECRET"]
    with Server(tmp_path, env=environ) as running:
        yield running


def test_pushes_and_pulls_continue_while_keys_change(server: Server, role: RoleCredentials):
    base = make_image(f"{role.name}-base", squeeze(make_tar(41, MIB), 0))
    Engine(server, "x/base").push([base], "v1")
    ended, failures, counts = threading.Event(), [], [0, 0]

    def push() -> None:
        try:
            while not ended.is_set():
                number = counts[0] = counts[0] + 1
                # more than a part, so that an upload has begun with the keys before
                image = make_image(f"{role.name}-{number}", squeeze(make_tar(number, 9 * MIB), 0))
                Engine(server, f"x/{number}").push([image], "v1")
        except BaseException as error:
            failures.append(error)

    def pull() -> None:
        try:
            while not ended.is_set():
                counts[1] += 1
                assert Engine(server, "x/base").pull("v1") == {base.id: (base.json, base.layer)}
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=act) for act in (push, pull)]
    for thread in threads:
        thread.start()
    for _ in range(2):
        role.change()
    ended.set()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert min(counts) > 1
    assert role.asked > 2


@pytest.mark.heavy
def test_keys_that_are_not_renewed(server: Server, role: RoleCredentials):
    image = make_image(f"{role.name}-one", squeeze(make_tar(42, 1000), 0))
    engine = Engine(server, "x/one")
    engine.push([image], "v1")
    for broken, life, text in (
        (False, -60.0, "the refreshed credentials are still expired"),
        (True, 2.0, "retrieving credentials"),
    ):
        role.broken, role.life = broken, life
        # what is there counts for a moment yet
        threading.Event().wait(2.5)
        method, path, body = (
            ("GET", f"/v1/images/{image.id}/json", None)
            if broken
            else ("PUT", "/v1/repositories/x/one/tags/v2", f'"{image.id}"'.encode())
        )
        answer = engine.ask(method, path, body)
        assert (answer.status, answer.header("Retry-After")) == (503, "5"), str(answer)
        assert text in server.log
        role.broken, role.life = False, 2.0
        assert engine.pull("v1") == {image.id: (image.json, image.layer)}
    assert raw.get(server, "/v1/_ping").status == 200


def test_urls_are_signed_with_the_current_keys(
    ceph: Ceph, role: RoleCredentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a URL carries the token, and counts no longer than that."""
    for name, value in role.environ().items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    options = ceph.options(s3_access_key=None, s3_secret_key=None, boto_bucket=role.name)
    storage = S3Storage(options)
    storage.put("a", b"x")
    first = storage.url("a")
    role.change(0)
    second = storage.url("a")
    assert first is not None
    assert second is not None
    assert f"X-Amz-Security-Token=token-{role.name}0" in first
    assert f"X-Amz-Security-Token=token-{role.name}1" in second
    assert storage.get("a") == b"x"
    role.life = -60
    with pytest.raises(Unavailable, match="expired"):
        storage.url("a")
