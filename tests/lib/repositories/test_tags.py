"""The cost of tags in a store whose listings contain MD5 sums: a real Ceph with the S3 driver."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
from botocore.awsrequest import AWSPreparedRequest

from tests.backends.ceph import Ceph
from tests.lib.stores import image_id
from v1registry.lib.names import RepositoryName
from v1registry.lib.repositories.tags import Tags
from v1registry.storage import ListEntry
from v1registry.storage.s3.driver import S3Storage, make

A, B, C = image_id("a"), image_id("b"), image_id("c")
NAME = RepositoryName("team", "app")
FOLDER = NAME.folder


@pytest.fixture
def storage(ceph: Ceph) -> S3Storage:
    return S3Storage(ceph.options(storage_path=f"/{secrets.token_hex(8)}"))


@pytest.fixture
def asked(storage: S3Storage, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of requested objects, not of listings."""
    found: list[str] = []
    http = storage._clients.get()._http
    send = http.send

    def noting(request: AWSPreparedRequest):
        found.append(request.url.partition("?")[0].rpartition("/")[2])
        return send(request)

    monkeypatch.setattr(http, "send", noting)
    return found


def test_many_tags_cost_one_request_once_they_were_read(
    storage: S3Storage, asked: list[str]
) -> None:
    wanted = {f"v{number}": (A, B)[number % 2] for number in range(20)}
    for tag, one in wanted.items():
        storage.put(f"{FOLDER}/tag_{tag}", one.encode())
    tags = Tags(storage)
    assert tags.all(NAME) == wanted
    asked.clear()
    for _ in range(2):
        assert tags.all(NAME) == wanted
        assert dict(tags.each(NAME)) == wanted
    assert asked == [""] * 4


def test_another_node_moves_a_tag(storage: S3Storage, asked: list[str]) -> None:
    tags = Tags(storage)
    for one in (A, B, A, C, B):
        storage.put(f"{FOLDER}/tag_latest", one.encode())
        assert tags.all(NAME) == {"latest": one}
    assert asked.count("tag_latest") == 5 + 3  # each id was read once


def test_a_tag_that_moves_between_its_listing_and_its_reading(
    storage: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the content has another MD5 than the listing."""
    tags, lists = Tags(storage), storage.list
    storage.put(f"{FOLDER}/tag_latest", A.encode())

    def moved(folder: str) -> Iterator[ListEntry]:
        entries = list(lists(folder))
        storage.put(f"{FOLDER}/tag_latest", B.encode())
        return iter(entries)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "list", moved)
        assert tags.all(NAME) == {"latest": B}
    storage.put(f"{FOLDER}/tag_latest", A.encode())
    assert tags.all(NAME) == {"latest": A}


def test_a_store_with_late_listings_gives_no_md5(ceph: Ceph) -> None:
    options = {"storage_path": f"/{secrets.token_hex(8)}", "s3_conditional_writes": False}
    loose = make(ceph.options(**options), lambda call: call())
    loose.put(f"{FOLDER}/tag_latest", A.encode())
    assert [entry.md5 for entry in loose.list(FOLDER)] == [None]
    assert Tags(loose).all(NAME) == {"latest": A}
