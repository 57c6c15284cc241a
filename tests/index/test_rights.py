"""Rights of the index: by account and by token, for private and public repositories."""

from __future__ import annotations

import time

import pytest

from tests.index.conftest import PASSWORD
from v1registry.index import rights as subject
from v1registry.index.accounts import AccountStore
from v1registry.index.database import Database
from v1registry.index.namespaces import Namespaces
from v1registry.index.people import AccountProver
from v1registry.index.repositories import RepositoryRecords
from v1registry.index.rights import OwnIndexRights
from v1registry.index.tokenkeys import TokenKeys
from v1registry.lib.auth.rights import ANONYMOUS, Access, Caller, Credentials
from v1registry.lib.auth.tokens import Issuer, Token, new_key
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName

PULL, PUSH, DELETE = Access.PULL, Access.PUSH, Access.DELETE
PUBLIC, SECRET = RepositoryName("team", "public"), RepositoryName("team", "secret")
NEW, OWN = RepositoryName("team", "new"), RepositoryName("reader", "own")


def by_name(credentials: Credentials, address: str) -> Caller:
    """Identify a caller by name only, instead of by password."""
    return Caller(credentials.user) if credentials.user else ANONYMOUS


@pytest.fixture
def keys(database: Database) -> TokenKeys:
    return TokenKeys(database)


@pytest.fixture
def rights(
    database: Database,
    keys: TokenKeys,
    accounts: AccountStore,
    namespaces: Namespaces,
    repositories: RepositoryRecords,
    monkeypatch: pytest.MonkeyPatch,
) -> OwnIndexRights:
    for name in ("other", "reader", "writer", "owner"):
        accounts.add(name, PASSWORD)
    accounts.add("robot", None)
    accounts.add("root", PASSWORD, is_admin=True)
    namespaces.add("team")
    for name, role in [
        ("reader", "pull"),
        ("writer", "push"),
        ("owner", "admin"),
        ("robot", "push"),
    ]:
        namespaces.grant(name, role, "team")
    for repository in (PUBLIC, SECRET):
        repositories.create(repository)
    repositories.flag(SECRET, is_private=True)
    monkeypatch.setattr(subject, "LIFE", 0.0)
    return OwnIndexRights(database, keys, by_name)


ALLOWED = {
    None: {PUBLIC: "pull", SECRET: "", NEW: ""},
    "nobody-of-this-name": {PUBLIC: "", SECRET: "", NEW: ""},
    "other": {PUBLIC: "pull", SECRET: "", NEW: ""},
    "reader": {PUBLIC: "pull", SECRET: "pull", NEW: "pull"},
    "writer": {PUBLIC: "pull push", SECRET: "pull push", NEW: "pull push"},
    "robot": {PUBLIC: "pull push", SECRET: "pull push", NEW: "pull push"},
    "owner": {PUBLIC: "pull push delete", SECRET: "pull push delete", NEW: "pull push delete"},
    "root": {PUBLIC: "pull push delete", SECRET: "pull push delete", NEW: "pull push delete"},
}


@pytest.mark.parametrize("user", ALLOWED)
def test_rights_by_user(rights: OwnIndexRights, user: str | None) -> None:
    asker = rights.identify(Credentials(user=user, password="x"), "") if user else ANONYMOUS
    for repository, words in ALLOWED[user].items():
        allowed = " ".join(a.value for a in Access if rights.may(asker, repository, a))
        assert allowed == words, repository
    own = " ".join(a.value for a in Access if rights.may(asker, OWN, a))
    assert own == ("pull push delete" if user in ("reader", "root") else "")


def test_with_any_repository(rights: OwnIndexRights) -> None:
    assert rights.may(ANONYMOUS, None, PULL)
    assert not rights.may(ANONYMOUS, None, PUSH)
    assert rights.may(Caller("other"), None, PUSH)  # in the namespace of the account


def test_lost_rights(
    rights: OwnIndexRights,
    accounts: AccountStore,
    namespaces: Namespaces,
    repositories: RepositoryRecords,
) -> None:
    assert rights.may(Caller("writer"), SECRET, PUSH)
    namespaces.revoke("writer", "team")
    assert not rights.may(Caller("writer"), SECRET, PULL)
    accounts.set_disabled("root", True)
    for access in Access:
        assert not rights.may(Caller("root"), SECRET, access)
    assert not rights.may(Caller("root"), PUBLIC, PULL)
    repositories.flag(PUBLIC, is_private=True)
    assert not rights.may(ANONYMOUS, PUBLIC, PULL)


# -- tokens -----------------------------------------------------------------------------------


def shown(text: str) -> Credentials:
    return Credentials(token=text, header=f"Token {text}")


def bearer(rights: OwnIndexRights, keys: TokenKeys, access: str, user: str | None) -> Caller:
    return rights.identify(shown(keys.issue(SECRET, access, user, 60)), "")


@pytest.mark.parametrize(
    ("access", "allowed"), [("read", "pull"), ("write", "push"), ("delete", "delete")]
)
def test_a_token_grants_its_access_to_its_repository(
    rights: OwnIndexRights, keys: TokenKeys, access: str, allowed: str
) -> None:
    asker = bearer(rights, keys, access, "owner")
    assert (asker.user, asker.grant is not None) == ("owner", True)
    assert " ".join(a.value for a in Access if rights.may(asker, SECRET, a)) == allowed
    for repository in (PUBLIC, NEW, RepositoryName("owner", "own")):
        for each in Access:
            assert not rights.may(asker, repository, each)
    assert rights.may(asker, None, PUSH) == (access == "write")


def test_a_token_does_not_outlive_the_role(
    rights: OwnIndexRights, keys: TokenKeys, accounts: AccountStore, namespaces: Namespaces
) -> None:
    asker = bearer(rights, keys, "write", "writer")
    assert rights.may(asker, SECRET, PUSH)
    namespaces.grant("writer", "pull", "team")
    assert not rights.may(asker, SECRET, PUSH)
    namespaces.grant("writer", "push", "team")
    assert rights.may(asker, SECRET, PUSH)
    accounts.set_disabled("writer", True)
    assert not rights.may(asker, SECRET, PUSH)


def test_an_anonymous_token(
    rights: OwnIndexRights, keys: TokenKeys, repositories: RepositoryRecords
) -> None:
    asker = rights.identify(shown(keys.issue(PUBLIC, "read", None, 60)), "")
    assert rights.may(asker, PUBLIC, PULL)
    assert not rights.may(asker, PUBLIC, PUSH)
    repositories.flag(PUBLIC, is_private=True)
    assert not rights.may(asker, PUBLIC, PULL)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("team/secret", "team/public"),
        lambda text: text.replace("access=read", "access=write"),
        lambda text: text.replace('user="owner"', 'user="root"'),
        lambda text: text[:20] + ("A" if text[20] != "A" else "B") + text[21:],
        lambda text: text + ",access=delete",
        lambda text: "",
        lambda text: Issuer(new_key()).issue(
            Token("team/secret", "delete", int(time.time()) + 60, "root")
        ),
    ],
)
def test_forged_tokens(rights: OwnIndexRights, keys: TokenKeys, change) -> None:
    text = change(keys.issue(SECRET, "read", "owner", 60))
    with pytest.raises(Failure, match="Requires authorization") as caught:
        rights.identify(shown(text), "")
    assert caught.value.status == 401
    assert caught.value.headers["WWW-Authenticate"] == 'Basic realm="auth required",Token'


def test_expired_tokens(rights: OwnIndexRights, keys: TokenKeys) -> None:
    text = keys.issue(SECRET, "read", "owner", -1)
    with pytest.raises(Failure, match="Requires authorization"):
        rights.identify(shown(text), "")


def test_a_token_with_a_bad_repository_name(rights: OwnIndexRights, keys: TokenKeys) -> None:
    text = keys.issue(RepositoryName("team", "images"), "read", "owner", 60)
    with pytest.raises(Failure, match="Requires authorization"):
        rights.identify(shown(text), "")


# -- credentials --------------------------------------------------------------------------------


def test_the_account_prover(
    database: Database, accounts: AccountStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    prover = AccountProver(database, accounts)
    accounts.add("alice", PASSWORD)
    assert prover.groups("alice", PASSWORD, "") == frozenset()
    for user, password in [("alice", "wrong"), ("bob", PASSWORD), ("", ""), ("a\0", "x")]:
        assert prover.groups(user, password, "") is None
    accounts.set_disabled("alice", True)
    with pytest.raises(Failure, match="not active"):
        prover.groups("alice", PASSWORD, "")


def test_changes_of_an_account_change_its_state(database: Database, accounts: AccountStore) -> None:
    """Otherwise an old password would stay valid after a change."""

    def state() -> str:
        return AccountProver(database, accounts).state("alice")

    states = [state()]
    for change in (
        lambda: accounts.add("alice", PASSWORD),
        lambda: accounts.set_password("alice", "secret-2"),
        lambda: accounts.issue_secret("alice"),
        lambda: accounts.issue_secret("alice", life=60),
        lambda: accounts.revoke_secret(accounts.secrets("alice")[0].id),
        lambda: accounts.set_disabled("alice", True),
    ):
        change()
        states.append(state())
    assert len(set(states)) == len(states)
    assert states[0] == ""
