"""Namespaces, members and roles, and the visibility of repositories that follows."""

from __future__ import annotations

import pytest

from tests.index.conftest import PASSWORD
from v1registry.index.accounts import AccountStore
from v1registry.index.database import Database
from v1registry.index.namespaces import Member, Namespace, Namespaces, role
from v1registry.index.repositories import RepositoryRecords
from v1registry.index.search import SqlSearch
from v1registry.lib.auth.rights import Caller
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName

APP = RepositoryName("team", "app")
OTHER = RepositoryName("team", "other")


@pytest.fixture
def people(accounts: AccountStore, namespaces: Namespaces) -> None:
    """Add alice and bob, a robot, an administrator, and the namespace `team`."""
    for name in ("alice", "bob"):
        accounts.add(name, PASSWORD)
    accounts.add("ci", None)
    accounts.add("root", PASSWORD, is_admin=True)
    namespaces.add("team")


def role_of(
    database: Database, accounts: AccountStore, name: str, where: RepositoryName
) -> str | None:
    account = accounts.get(name)
    return database.read(lambda connection: role(connection, account, where))


@pytest.mark.usefixtures("people")
def test_roles(database: Database, accounts: AccountStore, namespaces: Namespaces) -> None:
    def roles(name: str) -> tuple[str | None, ...]:
        return tuple(role_of(database, accounts, name, where) for where in (APP, OTHER))

    for name in ("alice", "bob", "ci"):
        assert roles(name) == (None, None)
    assert roles("root") == ("admin", "admin")
    namespaces.grant("alice", "push", "team")
    namespaces.grant("bob", "pull", "team/app")
    namespaces.grant("ci", "pull", "team")
    namespaces.grant("ci", "admin", "team/other")
    assert roles("alice") == ("push", "push")
    assert roles("bob") == ("pull", None)
    assert roles("ci") == ("pull", "admin")  # the higher role applies
    namespaces.grant("alice", "pull", "team")
    assert roles("alice") == ("pull", "pull")
    namespaces.revoke("alice", "team")
    namespaces.revoke("ci", "team/other")
    assert (roles("alice"), roles("ci")) == ((None, None), ("pull", "pull"))


@pytest.mark.usefixtures("people")
def test_the_namespace_of_the_account(database: Database, accounts: AccountStore) -> None:
    own = RepositoryName("alice", "app")
    assert role_of(database, accounts, "alice", own) == "admin"
    assert role_of(database, accounts, "bob", own) is None
    nowhere = RepositoryName("nowhere", "app")
    assert role_of(database, accounts, "alice", nowhere) is None


@pytest.mark.usefixtures("people")
def test_members(namespaces: Namespaces) -> None:
    namespaces.grant("bob", "pull", "team/app")
    namespaces.grant("bob", "push", "team")
    namespaces.grant("alice", "admin", "team")
    assert namespaces.members("team") == [
        Member("alice", "team", "", "admin"),
        Member("bob", "team", "", "push"),
        Member("bob", "team", "app", "pull"),
    ]
    assert namespaces.all(after="bob") == [
        Namespace("root", "root", 0, 0),
        Namespace("team", None, 2, 0),
    ]
    assert [n.name for n in namespaces.all(most=2)] == ["alice", "bob"]


@pytest.mark.usefixtures("people")
def test_bad_changes_are_refused(namespaces: Namespaces, repositories: RepositoryRecords) -> None:
    repositories.create(APP)
    for call, status, text in [
        (lambda: namespaces.add("team"), 400, "in use already"),
        (lambda: namespaces.add("alice"), 400, "in use already"),
        (lambda: namespaces.add("A b"), 400, "Invalid namespace name"),
        (lambda: namespaces.add(".."), 400, "Invalid namespace name"),
        (lambda: namespaces.remove("none"), 404, "There is no namespace none"),
        (lambda: namespaces.remove("alice"), 400, "belongs to the account alice"),
        (lambda: namespaces.remove("team"), 400, "has repositories"),
        (lambda: namespaces.members("none"), 404, "There is no namespace none"),
        (lambda: namespaces.grant("none", "pull", "team"), 404, "There is no account none"),
        (lambda: namespaces.grant("bob", "pull", "none"), 404, "There is no namespace none"),
        (lambda: namespaces.grant("bob", "owner", "team"), 400, "one of pull, push, admin"),
        (lambda: namespaces.grant("bob", "pull", "team/../x"), 400, "Invalid repository name"),
        (lambda: namespaces.revoke("bob", "team"), 404, "bob has no role in team"),
        (lambda: namespaces.revoke("bob", "team/app"), 404, "bob has no role in team/app"),
    ]:
        with pytest.raises(Failure) as caught:
            call()
        assert caught.value.status == status
        assert text in caught.value.text
    repositories.delete(APP)
    namespaces.remove("team")


@pytest.mark.usefixtures("people")
def test_visibility_by_role(
    database: Database,
    accounts: AccountStore,
    namespaces: Namespaces,
    repositories: RepositoryRecords,
) -> None:
    public, own = RepositoryName("team", "public"), RepositoryName("alice", "secret")
    for name in (APP, OTHER, public, own):
        repositories.create(name)
    for name in (APP, OTHER, own):
        repositories.flag(name, is_private=True)
    namespaces.grant("bob", "pull", "team/app")
    namespaces.grant("ci", "pull", "team")

    def seen(user: str | None) -> list[str]:
        return [
            found["name"] for found in SqlSearch(database).listed(Caller(user), "", 10).repositories
        ]

    assert seen(None) == seen("nobody") == ["team/public"]
    assert seen("alice") == ["alice/secret", "team/public"]
    assert seen("bob") == ["team/app", "team/public"]
    assert seen("ci") == ["team/app", "team/other", "team/public"]
    assert seen("root") == ["alice/secret", "team/app", "team/other", "team/public"]
    accounts.set_disabled("root", True)
    assert seen("root") == ["team/public"]
    assert repositories.get(APP, "bob").name == "team/app"
    for user in (None, "alice", "root"):
        with pytest.raises(Failure, match="Repository not found"):
            repositories.get(APP, user)
