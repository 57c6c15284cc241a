"""The rights that a configuration describes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from v1registry.auth.accounts import AccountRights
from v1registry.auth.external_index import ExternalIndexRights
from v1registry.auth.load import rights_of
from v1registry.config import load_config
from v1registry.lib.auth import passwords, tokens
from v1registry.lib.auth.rights import ANONYMOUS, Access, Credentials, Open, Rights
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName

APP, PRIVATE = RepositoryName("team", "app"), RepositoryName("team", "secret")


def run(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


def load(tmp_path: Path, **environ: str) -> Rights:
    environ |= {"SETTINGS_FLAVOR": "test", "STORAGE_PATH": str(tmp_path)}
    config = load_config(environ=environ)
    return rights_of(
        config, lambda name: name == PRIVATE, lambda *_: None, None, run, lambda _, call: call()
    )


@pytest.fixture
def htpasswd(tmp_path: Path) -> str:
    file = tmp_path / "htpasswd"
    file.write_text(f"ann:{passwords.hash('hush hush', 4)}\n")
    return str(file)


def test_standalone_without_accounts(tmp_path: Path) -> None:
    assert isinstance(load(tmp_path), Open)


def test_an_index_whose_tokens_are_not_checked(tmp_path: Path) -> None:
    assert isinstance(load(tmp_path, STANDALONE="false", DISABLE_TOKEN_AUTH="true"), Open)


def test_access_rules_without_accounts(tmp_path: Path) -> None:
    rules = "[{who: anybody, repositories: 'team/*', allow: pull}]"
    rights = load(tmp_path, ACCESS_RULES=rules)
    assert isinstance(rights, AccountRights)
    assert not rights.open
    assert not rights.knows_users
    assert rights.may(ANONYMOUS, APP, Access.PULL)
    assert not rights.may(ANONYMOUS, PRIVATE, Access.PULL)
    assert not rights.may(ANONYMOUS, APP, Access.PUSH)


def test_accounts_without_rules(tmp_path: Path, htpasswd: str) -> None:
    rights = load(tmp_path, ACCOUNTS_HTPASSWD=htpasswd)
    assert isinstance(rights, AccountRights)
    assert rights.knows_users
    assert not any(rights.may(ANONYMOUS, APP, access) for access in Access)
    ann = rights.identify(Credentials(user="ann", password="hush hush"), "")
    assert ann.user == "ann"
    assert all(rights.may(ann, PRIVATE, access) for access in Access)
    with pytest.raises(Failure) as caught:
        rights.identify(Credentials(user="ann", password="wrong"), "")
    assert caught.value.status == 401


def test_the_user_of_a_trusted_proxy(tmp_path: Path) -> None:
    rules = "[{who: '@ops', repositories: '*', allow: pull}]"
    more = {"ACCOUNTS_USER_HEADER": "X-User", "TRUSTED_PROXIES": "127.0.0.1"}
    rights = load(tmp_path, ACCESS_RULES=rules, **more)
    for groups, may in ((frozenset({"ops"}), True), (frozenset({"dev"}), False)):
        caller = rights.identify(Credentials(proxy_user="ann", proxy_groups=groups), "")
        assert caller.user == "ann"
        assert rights.may(caller, PRIVATE, Access.PULL) is may


def test_too_many_wrong_passwords(tmp_path: Path, htpasswd: str) -> None:
    rights = load(tmp_path, ACCOUNTS_HTPASSWD=htpasswd, ACCOUNTS_ATTEMPTS="2")
    found = []
    for number in range(3):
        with pytest.raises(Failure) as caught:
            rights.identify(Credentials(user="ann", password=f"wrong {number}"), "10.0.0.1")
        found.append(caught.value.status)
    assert found == [401, 401, 429]


def test_an_index_with_a_public_key(tmp_path: Path) -> None:
    issuer = tokens.Issuer(bytes(range(32)))
    key = tokens.public_text(issuer.public)
    rights = load(tmp_path, STANDALONE="false", INDEX_KEYS=key)
    assert isinstance(rights, ExternalIndexRights)
    assert rights.challenge == "Token"
    caller = rights.identify(Credentials(user="ann", password="hush hush"), "")
    assert caller == ANONYMOUS  # a registry of an index knows tokens, not passwords
