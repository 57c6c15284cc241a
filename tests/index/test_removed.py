"""Removal of an account: its data, its namespace and its tokens."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests import raw
from tests.index.conftest import PASSWORD, here, open_database
from tests.index.engines import Engine
from tests.index.test_server import seeded_file
from tests.live_server import Server
from tests.protocol.engine import image
from tests.rights.accounts import JSON, basic
from v1registry.index.accounts import AccountStore
from v1registry.index.database import Database
from v1registry.index.namespaces import Namespaces
from v1registry.index.repositories import RepositoryRecords
from v1registry.index.schema import counters
from v1registry.index.social import Social
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName

APP = RepositoryName("anna", "app")
OTHER = RepositoryName("team", "other")


def test_data_that_is_removed_and_data_that_stays(
    database: Database,
    accounts: AccountStore,
    namespaces: Namespaces,
    repositories: RepositoryRecords,
) -> None:
    social = Social(database)
    for name in ("anna", "robert"):
        accounts.add(name, PASSWORD, email=f"{name}@example.org")
    secret = accounts.issue_secret("anna")
    namespaces.add("team")
    namespaces.grant("anna", "push", "team")
    namespaces.grant("robert", "push", "anna")
    for repository in (APP, OTHER):
        repositories.create(repository)
        for user in ("anna", "robert"):
            social.star(repository, user)
            social.comment(repository, user, f"by {user}")
    repositories.describe(APP, "described")
    repositories.flag(APP, is_private=True)
    assert accounts.remove("anna", 60)
    assert accounts.find("anna") is None
    with pytest.raises(Failure):
        accounts.authenticate("anna", secret)
    for repository in (APP, OTHER):
        kept = repositories.get(repository, "robert")
        assert kept.stars == 1
        assert [c.account for c in social.comments(repository, "robert", 0, 10)] == ["robert"]
    kept = repositories.get(APP, "robert")
    assert (kept.description, kept.is_private) == ("described", True)
    assert [(n.name, n.owner, n.members) for n in namespaces.all()] == [
        ("anna", None, 1), ("robert", "robert", 0), ("team", None, 0),
    ]  # fmt: skip
    with pytest.raises(Failure, match="There is no account anna"):
        accounts.remove("anna", 60)
    accounts.add("another", PASSWORD, email="anna@example.org")  # the address can be used again


def test_the_name_is_reserved_while_tokens_live(
    database: Database, accounts: AccountStore, namespaces: Namespaces
) -> None:
    accounts.add("anna", PASSWORD)
    accounts.add("robot", None)
    for name in ("anna", "robot"):
        accounts.remove(name, 60)
        for password in (PASSWORD, None):
            with pytest.raises(Failure, match=f"The account {name} was removed"):
                accounts.add(name, password, adopt=True)
    over = counters.update().values(expires=int(time.time()))
    database.write(lambda connection: connection.execute(over))
    accounts.add("robot", None)
    with pytest.raises(Failure, match="namespace"):
        accounts.add("anna", PASSWORD)  # no new account takes over the namespace
    accounts.add("anna", PASSWORD, adopt=True)


def test_running_servers_notice(tmp_path: Path) -> None:
    url = seeded_file(tmp_path)
    env = {"INDEX_DATABASE": url, "ACCOUNTS_ATTEMPTS": "0"}
    with Server(tmp_path / "store", workers=2, env=env) as server:
        engine = Engine([server], "owner", PASSWORD)
        one = image("removed")
        engine.push("owner/app", [one])
        change = b'{"is_private": true}'
        path = "/v1/index/repositories/owner/app"
        assert raw.put(server, path, change, basic("owner", PASSWORD) | JSON).status == 204
        answer = engine.ask_index("GET", "/v1/repositories/owner/app/images")
        token = {"Authorization": f"Token {answer.header('X-Docker-Token')}"}
        tags = "/v1/repositories/owner/app/tags"
        assert raw.get(server, tags, token).status == 200
        database = open_database(url)
        AccountStore(database, here).remove("owner", 60)
        database.close()
        end, refused = time.monotonic() + 20, 0
        while refused < 10:
            login = raw.get(server, "/v1/users/", basic("owner", PASSWORD)).status
            bearer = raw.get(server, tags, token).status
            refused = refused + 1 if (login, bearer) == (401, 401) else 0
            assert time.monotonic() < end, (login, bearer)
            time.sleep(0.05)
        body = f'{{"username": "owner", "password": "{PASSWORD}"}}'.encode()
        assert raw.request(server, "POST", "/v1/users/", JSON, body).status == 400
