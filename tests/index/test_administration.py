"""Administration of accounts: search, changes by several administrators at once, the last one."""

from __future__ import annotations

import threading

import pytest

from tests.index.conftest import PASSWORD, here, open_database
from v1registry.index.accounts import AccountStore
from v1registry.index.administration import Administration
from v1registry.index.database import Database
from v1registry.index.namespaces import Namespaces
from v1registry.index.repositories import RepositoryRecords
from v1registry.index.signup import SignUp
from v1registry.lib import errors
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName


@pytest.fixture
def administration(database: Database, accounts: AccountStore) -> Administration:
    for name in ("root", "boss"):
        accounts.add(name, PASSWORD, is_admin=True)
    for name in ("ann", "bob_1", "bobx1"):
        accounts.add(name, PASSWORD, email=f"{name}@Example.org")
    return Administration(database)


def version(accounts: AccountStore, name: str) -> str:
    return accounts.get(name).version


def test_search(administration: Administration):
    found = administration.search("", 1, 2)
    assert ([one.name for one in found.rows], found.total) == (["ann", "bob_1"], 5)
    assert [one.name for one in administration.search("", 3, 2).rows] == ["root"]
    assert [one.name for one in administration.search("B_1", 1, 9).rows] == ["bob_1"]
    assert [one.name for one in administration.search("example", 1, 9).rows] == [
        "ann",
        "bob_1",
        "bobx1",
    ]
    assert administration.search("%", 1, 9).total == 0
    assert administration.search("'; DROP TABLE accounts", 1, 9).total == 0


def test_a_stale_form_changes_nothing(administration: Administration, accounts: AccountStore):
    seen = version(accounts, "ann")
    administration.set_status("ann", seen, is_admin=False, is_disabled=True)
    for change in (
        lambda: administration.set_status("ann", seen, is_admin=True, is_disabled=False),
        lambda: administration.set_email("ann", "new@example.org", seen),
        lambda: administration.remove("ann", 60, seen),
    ):
        with pytest.raises(Failure, match=errors.ACCOUNT_CHANGED[1]):
            change()
    ann = accounts.get("ann")
    assert (ann.is_admin, ann.is_disabled, ann.email) == (False, True, "ann@Example.org")
    administration.set_email("ann", None, ann.version)
    assert accounts.get("ann").email is None
    assert administration.remove("ann", 60, version(accounts, "ann")) is True
    with pytest.raises(Failure, match="There is no account ann"):
        administration.set_status("ann", ann.version, is_admin=True, is_disabled=False)


def test_the_last_administrator_stays(administration: Administration, accounts: AccountStore):
    administration.set_status("boss", version(accounts, "boss"), is_admin=True, is_disabled=True)
    root = version(accounts, "root")
    for change in (
        lambda: administration.set_status("root", root, is_admin=False, is_disabled=False),
        lambda: administration.set_status("root", root, is_admin=True, is_disabled=True),
        lambda: administration.remove("root", 60, root),
    ):
        with pytest.raises(Failure, match=errors.LAST_ADMINISTRATOR[1]):
            change()
    administration.set_status("boss", version(accounts, "boss"), is_admin=True, is_disabled=False)
    administration.set_status("root", root, is_admin=False, is_disabled=False)
    assert not accounts.get("root").is_admin


def test_two_administrators_cannot_remove_each_other(url: str, cheap: None):
    first, second = open_database(url), open_database(url)
    accounts = AccountStore(first, here)
    for round_ in range(5):
        names = f"one-{round_}", f"two-{round_}"
        for name in names:
            accounts.add(name, PASSWORD, is_admin=True)
        versions = {name: version(accounts, name) for name in names}
        barrier, refused = threading.Barrier(2), []

        def demote(database: Database, name: str, seen: str) -> None:
            barrier.wait()  # noqa: B023
            try:
                Administration(database).set_status(name, seen, is_admin=False, is_disabled=False)
            except Failure as failure:
                refused.append(failure.text)  # noqa: B023

        both = zip((first, second), names, strict=True)
        threads = [
            threading.Thread(target=demote, args=(database, name, versions[name]))
            for database, name in both
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert refused == [errors.LAST_ADMINISTRATOR[1]]
        [left] = [name for name in names if accounts.get(name).is_admin]
        accounts.set_admin(left, False)
    first.close()
    second.close()


def test_who_administers_a_namespace(
    administration: Administration, accounts: AccountStore, namespaces: Namespaces
):
    namespaces.add("team")
    namespaces.grant("ann", "admin", "team")
    namespaces.grant("bob_1", "push", "team")
    namespaces.grant("bobx1", "admin", "team/app")
    found = [
        n
        for n in ("root", "ann", "bob_1", "bobx1", "none")
        if administration.administers(n, "team")
    ]
    assert found == ["root", "ann"]
    assert administration.administers("ann", "ann")
    assert not administration.administers("ann", "bob_1")
    accounts.set_disabled("ann", True)
    assert not administration.administers("ann", "team")


def test_counts_of_repositories(administration: Administration, repositories: RepositoryRecords):
    for name in ("ann/one", "ann/two", "team/one"):
        repositories.create(RepositoryName.parse(name))
    assert administration.repositories_in(["ann", "bob_1"]) == {"ann": 2}
    assert administration.repositories_in([]) == {}


def test_a_role_is_replaced_only_as_it_was_seen(
    administration: Administration, namespaces: Namespaces
):
    namespaces.add("team")
    namespaces.replace_role("ann", "team", "pull", "")
    namespaces.replace_role("ann", "team", "push", "pull")
    for role, seen in (("admin", ""), ("admin", "pull"), ("", "pull")):
        with pytest.raises(Failure, match="ann has the role push in team now"):
            namespaces.replace_role("ann", "team", role, seen)
    namespaces.replace_role("ann", "team", "", "push")
    assert namespaces.members("team") == []
    with pytest.raises(Failure, match="ann has no role in team now"):
        namespaces.replace_role("ann", "team", "admin", "push")
    with pytest.raises(Failure, match="There is no account none"):
        namespaces.replace_role("none", "team", "pull", "")


def test_invitations_are_listed_and_revoked(database: Database):
    sign_up = SignUp(database, here, "invitation", lambda _: False)
    code = sign_up.invite(None, 60)
    sign_up.invite("ann@example.org", 60)
    sign_up.invite("late@example.org", -1)
    ann, any_one = sign_up.invitations()
    assert (ann.email, any_one.email) == ("ann@example.org", None)
    assert sign_up.invitations(1) == [ann]
    sign_up.revoke_invitation(any_one.id)
    assert sign_up.invitations() == [ann]
    with pytest.raises(Failure, match="There is no such invitation"):
        sign_up.revoke_invitation(any_one.id)
    with pytest.raises(Failure, match="needs a valid invitation"):
        sign_up.sign_up("bob", PASSWORD, None, code)
