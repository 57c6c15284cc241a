"""Image lists in the database: merged as by 0.x, and without rights to other users' images."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.index.conftest import PASSWORD
from v1registry.index.accounts import AccountStore
from v1registry.index.database import Database
from v1registry.index.imagelists import SqlImageLists
from v1registry.index.namespaces import Namespaces
from v1registry.index.repositories import RepositoryRecords
from v1registry.lib.errors import Failure
from v1registry.lib.names import ImageId, RepositoryName

A, B, C = (ImageId(letter * 64) for letter in "abc")
APP, OTHER = RepositoryName("team", "app"), RepositoryName("others", "other")


@pytest.fixture
def lists(database: Database, repositories: RepositoryRecords) -> SqlImageLists:
    for name in (APP, OTHER):
        repositories.create(name)
    return SqlImageLists(database)


def listed(*items: object) -> bytes:
    return json.dumps([i if isinstance(i, dict) else {"id": i} for i in items]).encode()


def test_merging(lists: SqlImageLists) -> None:
    assert lists.get(APP) == []
    lists.update(APP, listed({"id": B, "Tag": "latest"}, A, {"id": A, "checksum": "sum"}))
    assert lists.get(APP) == [{"id": A, "checksum": "sum"}, {"id": B}]
    lists.update(APP, b"[]")
    lists.update(APP, listed(A, {"id": B, "checksum": "b"}))
    assert lists.get(APP) == [{"id": A, "checksum": "sum"}, {"id": B, "checksum": "b"}]
    for odd in (5, "", "x" * 300, None, ["x"], "a\nb"):
        lists.update(APP, listed({"id": C, "checksum": odd}))
    assert lists.get(APP)[2] == {"id": C}


def test_a_long_list(lists: SqlImageLists) -> None:
    ids = [f"{number:064x}" for number in range(1700)]
    lists.update(APP, listed(*ids))
    assert [item["id"] for item in lists.get(APP)] == ids


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "Error Decoding JSON"),
        (b"{", "Error Decoding JSON"),
        (b"{}", "Invalid data"),
        (b"[5]", "Invalid data"),
        (b'[{"id": "../x"}]', "Invalid data"),
        (b"[{}]", "Invalid data"),
    ],
)
def test_malformed_lists_are_refused(lists: SqlImageLists, data: bytes, text: str) -> None:
    with pytest.raises(Failure, match=text) as caught:
        lists.update(APP, data)
    assert caught.value.status == 400
    assert lists.get(APP) == []


def test_unknown_repositories(lists: SqlImageLists) -> None:
    nowhere = RepositoryName("no", "where")
    for call in (lambda: lists.get(nowhere), lambda: lists.update(nowhere, b"[]")):
        with pytest.raises(Failure, match="images not found") as caught:
            call()
        assert caught.value.status == 404


def test_concurrent_lists_are_all_merged(lists: SqlImageLists) -> None:
    ids = [f"{number:064x}" for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: lists.update(APP, listed(ids[i], ids[-i])), range(40)))
    assert [item["id"] for item in lists.get(APP)] == ids


def test_a_list_gives_no_right_to_a_private_image(
    lists: SqlImageLists,
    repositories: RepositoryRecords,
    accounts: AccountStore,
    namespaces: Namespaces,
) -> None:
    for name in ("alice", "bob"):
        accounts.add(name, PASSWORD)
    lists.update(APP, listed(A), "bob")  # bob's
    repositories.flag(APP, is_private=True)
    assert lists.may_read(
        A, APP, None
    )  # for users who may read the repository, which is checked before
    lists.update(OTHER, listed(A, B), "alice")  # alice has learnt the id and lists it
    assert not lists.may_read(A, OTHER, "alice")
    assert lists.may_read(B, OTHER, "alice")
    assert [item["id"] for item in lists.get(OTHER)] == [A, B]
    lists.update(OTHER, listed({"id": A, "checksum": "x"}), "alice")  # again
    assert not lists.may_read(A, OTHER, "alice")
    assert lists.may_read(A, APP, "bob")  # bob keeps the right
    namespaces.grant("alice", "pull", "team/app")
    assert lists.may_read(A, OTHER, "alice")  # from the other repository
    lists.update(OTHER, listed(A), "alice")
    namespaces.revoke("alice", "team/app")
    assert lists.may_read(A, OTHER, "alice")  # it was added while she could read it


def test_a_public_image_may_join(lists: SqlImageLists, accounts: AccountStore) -> None:
    accounts.add("alice", PASSWORD)
    lists.update(APP, listed(A), None)
    lists.update(OTHER, listed(A), "alice")
    assert lists.may_read(A, OTHER, "alice")


def test_an_image_that_is_in_no_list(lists: SqlImageLists) -> None:
    assert not lists.may_read(C, APP, None)
