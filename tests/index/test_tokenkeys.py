"""Signing keys of an index: created once, shared by nodes, replaced without an interruption."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import raw
from tests.backends.postgres import Postgres
from tests.index.conftest import open_database
from tests.live_server import Server
from v1registry.index.database import Database
from v1registry.index.tokenkeys import LIFE, TokenKeys
from v1registry.lib.auth.tokens import TokenError, Verifier, parse_public
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName

APP = RepositoryName("team", "app")


class Clock:
    """A clock that the test advances."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_first_key_is_created_when_needed(database: Database) -> None:
    keys = TokenKeys(database)
    assert keys.all() == []
    token = keys.verify(keys.issue(APP, "write", "alice", 60))
    assert (token.repository, token.access, token.user) == ("team/app", "write", "alice")
    assert abs(token.expires - time.time() - 60) < 30
    [key] = keys.all()
    assert key.is_signing


@pytest.mark.parametrize("alone", ["false", "true"])
def test_the_first_start_creates_a_key(url: str, alone: str, tmp_path: Path) -> None:
    env = {"INDEX_DATABASE": url, "INDEX_ALONE": alone, "REGISTRY_ENDPOINTS": "registry.example"}
    with Server(tmp_path / "store", workers=2, env=env) as server:
        [key] = raw.get(server, "/v1/index/keys").json()["keys"]
        server.stop()
        server.restart()
        assert raw.get(server, "/v1/index/keys").json()["keys"] == [key]
    with Server(tmp_path / "store", env=env) as server:
        assert raw.get(server, "/v1/index/keys").json()["keys"] == [key]


def test_a_key_is_created_later_if_the_database_is_away_at_the_first_start(
    postgres: Postgres, tmp_path: Path
) -> None:
    url = postgres.database().replace("/test", "/later")
    with Server(tmp_path / "store", env={"INDEX_DATABASE": url}) as server:
        assert raw.get(server, "/v1/index/keys").status == 503
        postgres.sql(f"CREATE DATABASE {url.rpartition('/')[2]}")
        [key] = raw.get(server, "/v1/index/keys").json()["keys"]
        assert set(key) == {"id", "public"}


def test_concurrent_nodes_create_one_key(database: Database) -> None:
    nodes = [TokenKeys(database) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        issued = list(pool.map(lambda node: node.issue(APP, "read", None, 60), nodes))
    assert len(TokenKeys(database).all()) == 1
    for node in nodes:
        for text in issued:
            assert node.verify(text).repository == "team/app"


def test_keys_outlive_the_process(url: str) -> None:
    first = open_database(url)
    text = TokenKeys(first).issue(APP, "read", None, 60)
    first.close()
    second = open_database(url)
    assert TokenKeys(second).verify(text).access == "read"
    second.close()


def test_a_new_key(database: Database) -> None:
    clock = Clock()
    one, other = TokenKeys(database, clock), TokenKeys(database, clock)
    old = one.issue(APP, "read", None, 60)
    assert other.verify(old)
    new_key = one.add()
    assert not new_key.is_signing
    assert f"kid={new_key.id}" not in one.issue(APP, "read", None, 60)
    one.use(new_key.id)
    new = one.issue(APP, "read", None, 60)
    assert f"kid={new_key.id}" in new
    clock.now += 2
    assert other.verify(new)  # loaded when a token needs it
    assert other.verify(old)
    [signing, before] = other.all()
    assert (signing.id, signing.is_signing, before.is_signing) == (new_key.id, True, False)
    with pytest.raises(Failure, match="signs: use another one first"):
        one.remove(new_key.id)
    for call in (one.remove, one.use):
        with pytest.raises(Failure, match="There is no key"):
            call("0" * 16)
    one.remove(before.id)
    assert one.verify(new)
    with pytest.raises(TokenError):
        one.verify(old)
    clock.now += LIFE + 1
    with pytest.raises(TokenError):
        other.verify(old)


def test_wrong_tokens_do_not_reload_the_keys_each_time(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    keys = TokenKeys(database, clock)
    keys.issue(APP, "read", None, 60)
    reads = []
    load = keys._load
    monkeypatch.setattr(keys, "_load", lambda: (reads.append(1), load())[1])
    for _ in range(100):
        with pytest.raises(TokenError):
            keys.verify("signature=A,kid=b")
        clock.now += 0.05
    assert len(reads) < 10


def test_a_registry_verifies_with_the_public_part(database: Database) -> None:
    keys = TokenKeys(database)
    text = keys.issue(APP, "read", None, 60)
    public = {key.id: parse_public(key.public) for key in keys.all()}
    assert Verifier(public).verify(text, time.time()).repository == "team/app"
