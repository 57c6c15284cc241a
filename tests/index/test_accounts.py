"""Accounts: logins, secrets, unique names and sign-up."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.index.conftest import PASSWORD, here
from v1registry.index import accounts as subject
from v1registry.index.accounts import AccountStore
from v1registry.index.database import Database
from v1registry.index.namespaces import Namespaces
from v1registry.index.signup import SignUp
from v1registry.lib.errors import Failure


def refused(status: int, text: str):
    return pytest.raises(Failure, match=text, check=lambda failure: failure.status == status)


# -- login ------------------------------------------------------------------------------


def test_a_user_logs_in_with_the_password(accounts: AccountStore) -> None:
    accounts.add("alice", PASSWORD, email="alice@example.org")
    account = accounts.authenticate("alice", PASSWORD)
    assert (account.name, account.email) == ("alice", "alice@example.org")
    assert not account.is_admin
    assert not account.is_robot
    assert abs(account.created - time.time()) < 60
    for name, password in [
        ("alice", "secret-2"),
        ("alice", ""),
        ("Alice", PASSWORD),
        ("alice ", PASSWORD),
        ("bob", PASSWORD),
        ("", ""),
        ("al%", PASSWORD),
        ("alice\0", PASSWORD),
        ("\ud800", PASSWORD),
    ]:
        with refused(401, "Wrong user name or password"):
            accounts.authenticate(name, password)


def test_a_disabled_account_is_reported_only_with_its_password(accounts: AccountStore) -> None:
    accounts.add("alice", PASSWORD)
    accounts.set_disabled("alice", True)
    with refused(403, "not active"):
        accounts.authenticate("alice", PASSWORD)
    with refused(401, "Wrong"):
        accounts.authenticate("alice", "secret-2")
    accounts.set_disabled("alice", False)
    assert accounts.authenticate("alice", PASSWORD).name == "alice"


def test_a_new_password_replaces_the_old(accounts: AccountStore) -> None:
    accounts.add("alice", PASSWORD)
    accounts.set_password("alice", "secret-2")
    assert accounts.authenticate("alice", "secret-2").name == "alice"
    with refused(401, "Wrong"):
        accounts.authenticate("alice", PASSWORD)
    with refused(400, "at least 8"):
        accounts.set_password("alice", "short")


def test_passwords_are_stored_as_hashes(accounts: AccountStore, database: Database) -> None:
    accounts.add("alice", PASSWORD)
    secret = accounts.issue_secret("alice")
    rows = database.read(
        lambda c: [
            *c.exec_driver_sql("SELECT * FROM accounts"),
            *c.exec_driver_sql("SELECT * FROM secrets"),
        ]
    )
    assert PASSWORD not in str(rows)
    assert secret not in str(rows)


# -- secrets ----------------------------------------------------------------------------


def test_a_robot_logs_in_with_a_secret(accounts: AccountStore) -> None:
    accounts.add("ci", None)
    secret = accounts.issue_secret("ci", "builds")
    other = accounts.issue_secret("ci")
    assert accounts.authenticate("ci", secret).is_robot
    assert accounts.authenticate("ci", other).name == "ci"
    [first, second] = accounts.secrets("ci")
    assert (first.account, first.label, first.expires) == ("ci", "builds", None)
    assert accounts.secrets() == [first, second]
    accounts.revoke_secret(first.id)
    assert accounts.secrets("ci") == [second]
    for password in (secret, "", "None", secret + "x", "v1r_"):
        with refused(401, "Wrong"):
            accounts.authenticate("ci", password)
    with refused(404, "no secret"):
        accounts.revoke_secret(first.id)
    with refused(400, "robot"):
        accounts.set_password("ci", PASSWORD)


def test_a_secret_is_valid_for_its_account_only(accounts: AccountStore) -> None:
    accounts.add("ci", None)
    accounts.add("alice", PASSWORD)
    secret = accounts.issue_secret("alice")
    assert accounts.authenticate("alice", secret).name == "alice"
    assert accounts.authenticate("alice", PASSWORD).name == "alice"
    with refused(401, "Wrong"):
        accounts.authenticate("ci", secret)
    accounts.set_disabled("alice", True)
    with refused(403, "not active"):
        accounts.authenticate("alice", secret)


def test_a_secret_expires(accounts: AccountStore, monkeypatch: pytest.MonkeyPatch) -> None:
    accounts.add("ci", None)
    secret = accounts.issue_secret("ci", life=60)
    assert accounts.authenticate("ci", secret).name == "ci"
    monkeypatch.setattr(subject, "now", lambda: int(time.time()) + 61)
    with refused(401, "Wrong"):
        accounts.authenticate("ci", secret)


def test_a_password_that_looks_like_a_secret(accounts: AccountStore) -> None:
    accounts.add("alice", "v1r_own-choice")
    assert accounts.authenticate("alice", "v1r_own-choice").name == "alice"


# -- unique names ---------------------------------------------------------------------------


def test_names_and_addresses_are_unique(accounts: AccountStore) -> None:
    accounts.add("alice", PASSWORD, email="a@example.org")
    for name, email in [("alice", None), ("alice", "b@example.org"), ("bob", "a@example.org")]:
        with refused(400, "^Username or email already exists$"):
            accounts.add(name, PASSWORD, email=email)
    assert [account.name for account in accounts.all()] == ["alice"]
    accounts.add("bob", PASSWORD)
    with refused(400, "already exists"):
        accounts.set_email("bob", "a@example.org")
    accounts.set_email("alice", "a@example.org")
    accounts.set_email("alice", None)
    accounts.set_email("bob", "a@example.org")
    assert accounts.get("bob").email == "a@example.org"


def test_concurrent_additions_create_one_account(accounts: AccountStore) -> None:
    def add(number: int) -> str:
        try:
            accounts.add("alice", PASSWORD, email=f"{number}@example.org")
        except Failure as failure:
            return failure.text
        return "made"

    with ThreadPoolExecutor(8) as pool:
        found = sorted(pool.map(add, range(16)))
    assert found == ["Username or email already exists"] * 15 + ["made"]


@pytest.mark.parametrize(
    "name", ["", "a", "A", "Alice", ".a", "-a", "a b", "a/b", "a:b", "a" * 65, "ü", "a\n", "a%"]
)
def test_bad_names_are_refused(accounts: AccountStore, name: str) -> None:
    with refused(400, "A user name has"):
        accounts.add(name, PASSWORD)


@pytest.mark.parametrize("email", ["", "x", "@x", "x@", "a b@c", "a@b\n", "x" * 250 + "@x.org"])
def test_bad_addresses_are_refused(accounts: AccountStore, email: str) -> None:
    with refused(400, "e-mail address is not valid"):
        accounts.add("alice", PASSWORD, email=email)


def test_a_user_gets_the_namespace_of_the_name(
    accounts: AccountStore, namespaces: Namespaces
) -> None:
    accounts.add("alice", PASSWORD)
    accounts.add("ci", None)
    assert [(n.name, n.owner) for n in namespaces.all()] == [("alice", "alice")]


def test_an_existing_namespace_is_not_taken_over(
    accounts: AccountStore, namespaces: Namespaces
) -> None:
    namespaces.add("team")
    with refused(400, "The namespace of this name is in use"):
        accounts.add("team", PASSWORD)
    assert accounts.find("team") is None
    accounts.add("team", None)  # a robot has no namespace
    with refused(400, "already exists"):
        accounts.add("team", PASSWORD, adopt=True)


def test_an_administrator_may_give_an_existing_namespace_to_an_account(
    accounts: AccountStore, namespaces: Namespaces
) -> None:
    namespaces.add("alice")
    accounts.add("alice", PASSWORD, adopt=True)
    assert [(n.name, n.owner) for n in namespaces.all()] == [("alice", "alice")]


def test_unknown_accounts(accounts: AccountStore) -> None:
    for call in (
        lambda: accounts.get("bob"),
        lambda: accounts.set_password("bob", PASSWORD),
        lambda: accounts.set_disabled("bob", True),
        lambda: accounts.set_admin("bob", True),
        lambda: accounts.issue_secret("bob"),
        lambda: accounts.secrets("bob"),
    ):
        with refused(404, "There is no account bob"):
            call()


def test_all_accounts_in_pages(accounts: AccountStore) -> None:
    for name in ("carol", "alice", "bob"):
        accounts.add(name, None)
    assert [account.name for account in accounts.all(most=2)] == ["alice", "bob"]
    assert [account.name for account in accounts.all(after="bob")] == ["carol"]
    accounts.set_admin("bob", True)
    assert [account.is_admin for account in accounts.all()] == [False, True, False]


# -- sign-up --------------------------------------------------------------------------------


def sign_up(database: Database, mode: str, taken: frozenset[str] = frozenset()) -> SignUp:
    return SignUp(database, here, mode, taken.__contains__)


def test_open(database: Database, accounts: AccountStore) -> None:
    sign_up(database, "open").sign_up("alice", PASSWORD, "a@example.org")
    account = accounts.authenticate("alice", PASSWORD)
    assert (account.email, account.is_admin, account.is_robot) == ("a@example.org", False, False)


def test_an_existing_account_is_reported_before_other_errors(
    database: Database, accounts: AccountStore
) -> None:
    """An engine signs up at every login. After this answer it must try to log in."""
    accounts.add("alice", PASSWORD)
    for mode in ("open", "invitation", "closed"):
        for email in ("new@example.org", "nonsense", "", None):
            with refused(400, "^Username or email already exists$"):
                sign_up(database, mode).sign_up("alice", "short", email)


def test_closed(database: Database, accounts: AccountStore) -> None:
    with refused(400, "^Username or email already exists$"):
        sign_up(database, "closed").sign_up("alice", PASSWORD, "a@example.org")
    assert accounts.all() == []


def test_bad_sign_ups_are_refused(database: Database, accounts: AccountStore) -> None:
    opened = sign_up(database, "open", frozenset({"team"}))
    for name, password, email, text in [
        ("Alice", PASSWORD, None, "A user name has"),
        ("alice", "short", None, "at least 8"),
        ("alice", PASSWORD, "nonsense", "e-mail address"),
        ("library", PASSWORD, None, "namespace"),
        ("team", PASSWORD, None, "namespace"),
    ]:
        with refused(400, text):
            opened.sign_up(name, password, email)
    assert accounts.all() == []


def test_invitation(database: Database, accounts: AccountStore) -> None:
    inviting = sign_up(database, "invitation")
    code = inviting.invite("alice@example.org", 60)
    for email, given in [("a@example.org", None), ("a@example.org", "wrong"), ("wrong", None)]:
        with refused(403, "needs a valid invitation"):
            inviting.sign_up("alice", PASSWORD, email, given)
    inviting.sign_up("alice", PASSWORD, code)  # in the field that an engine has
    assert accounts.get("alice").email == "alice@example.org"
    with refused(403, "needs a valid invitation"):
        inviting.sign_up("bob", PASSWORD, "b@example.org", code)
    inviting.sign_up("bob", PASSWORD, "b@example.org", inviting.invite(None, 60))
    assert accounts.get("bob").email == "b@example.org"


def test_an_invitation_is_not_used_up_by_a_failure(
    database: Database, accounts: AccountStore
) -> None:
    inviting = sign_up(database, "invitation")
    accounts.add("alice", PASSWORD, email="a@example.org")
    code = inviting.invite(None, 60)
    with refused(400, "already exists"):
        inviting.sign_up("bob", PASSWORD, "a@example.org", code)
    inviting.sign_up("bob", PASSWORD, "b@example.org", code)


def test_an_invitation_expires(database: Database) -> None:
    inviting = sign_up(database, "invitation")
    with refused(403, "needs a valid invitation"):
        inviting.sign_up("alice", PASSWORD, inviting.invite(None, 0))


def test_an_invitation_is_valid_once(database: Database, accounts: AccountStore) -> None:
    inviting = sign_up(database, "invitation")
    code = inviting.invite(None, 60)

    def try_it(number: int) -> int:
        try:
            inviting.sign_up(f"user{number}", PASSWORD, code)
        except Failure as failure:
            return failure.status
        return 201

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(try_it, range(8))) == [201, *[403] * 7]
    assert len(accounts.all()) == 1
