"""Tags, metadata, flags and search over a store (protocol-v1.md sections 2, 4, 6, 8)."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lib.stores import Domain, image_id, write_image
from v1registry.lib import errors
from v1registry.lib.auth.rights import ANONYMOUS, Access, Caller, Open, Rights
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName, Tag
from v1registry.lib.repositories import search as search_module
from v1registry.lib.repositories.image_list import ImageLists
from v1registry.lib.repositories.metadata import metadata_of
from v1registry.lib.repositories.name_index import RepositoryNameIndex
from v1registry.lib.repositories.repositories import Repositories
from v1registry.lib.repositories.search import BrowseQuery, Listing, SearchResult, StoreSearch
from v1registry.lib.repositories.tags import UNREACHABLE, UNREADABLE
from v1registry.storage import exists, keys
from v1registry.storage.local.driver import FileStorage, call
from v1registry.storage.memory import MemoryStorage

A, B = image_id("a"), image_id("b")
NAME, NESTED = RepositoryName("ns", "repo"), RepositoryName("ns", "a/b")
AGENT = "docker/1.0.1 go/go1.2 git-commit/990021a kernel/3.19.0-Generic os/Linux arch/AMD64"


@pytest.fixture
def domain(tmp_path: Path) -> Domain:
    domain = Domain(FileStorage(tmp_path))
    write_image(domain.storage, A)
    write_image(domain.storage, B)
    return domain


@pytest.fixture
def repositories(domain: Domain) -> Repositories:
    return domain.repositories


def quoted(id: str) -> bytes:
    return json.dumps(id).encode()


def fails(function, *args) -> tuple[int, str]:
    with pytest.raises(Failure) as caught:
        function(*args)
    return caught.value.status, caught.value.text


def test_set_read_delete(domain: Domain, repositories: Repositories) -> None:
    assert fails(repositories.tags, NAME) == (404, "Repository not found")
    repositories.set_tag(NAME, Tag("latest"), quoted(A), AGENT)
    repositories.set_tag(NAME, Tag("v1"), quoted(B), AGENT)
    assert repositories.tags(NAME) == {"latest": A, "v1": B}
    assert repositories.tag(NAME, Tag("v1")) == B
    assert domain.storage.get(f"{NAME.folder}/tag_v1") == B.encode()
    assert exists(domain.storage, f"{NAME.folder}/tagv1_json")
    repositories.delete_tag(NAME, Tag("v1"))
    assert fails(repositories.delete_tag, NAME, Tag("v1")) == (404, "Tag not found: v1")
    assert not exists(domain.storage, f"{NAME.folder}/tagv1_json")
    assert repositories.tags(NAME) == {"latest": A}
    repositories.delete(NAME)
    assert fails(repositories.delete, NAME) == (404, "Repository not found")
    assert domain.images.get(A).size == 5


def test_a_tag_of_a_repository_deleted_meanwhile_is_taken_back(
    domain: Domain, repositories: Repositories
) -> None:
    def deleted() -> None:
        raise Failure(*errors.REPOSITORY_DELETED)

    with pytest.raises(Failure, match="deleted during this push"):
        repositories.set_tag(NAME, Tag("latest"), quoted(A), AGENT, confirm=deleted)
    assert fails(repositories.tags, NAME) == (404, "Repository not found")


@pytest.mark.parametrize("tag", [Tag("latest"), Tag("v1"), Tag("_x")])
def test_a_newer_push_of_the_same_tag_is_kept(repositories: Repositories, tag: Tag) -> None:
    """The repository is deleted, created and pushed again before the first push notices it."""

    def deleted() -> None:
        repositories.delete(NAME)
        repositories.set_tag(NAME, tag, quoted(B), AGENT)
        raise Failure(*errors.REPOSITORY_DELETED)

    with pytest.raises(Failure, match="deleted during this push"):
        repositories.set_tag(NAME, tag, quoted(A), AGENT, confirm=deleted)
    assert repositories.tags(NAME) == {tag: B}
    if tag != "_x":  # no version stores metadata for such a tag
        assert repositories.metadata(NAME, tag)["docker_version"] == "1.0.1"


def test_another_failure_of_a_check_keeps_the_tag(repositories: Repositories) -> None:
    def unreachable() -> None:
        raise Failure(*errors.RIGHTS_UNAVAILABLE)

    with pytest.raises(Failure):
        repositories.set_tag(NAME, Tag("v1"), quoted(A), AGENT, confirm=unreachable)
    assert repositories.tags(NAME) == {"v1": A}


def test_metadata(repositories: Repositories) -> None:
    before = int(time.time())
    repositories.set_tag(NAME, Tag("latest"), quoted(A), AGENT)
    for metadata in (
        repositories.metadata(NAME),
        repositories.metadata(NAME, Tag("latest")),
    ):
        assert before <= metadata.pop("last_update") <= time.time()
        assert metadata == {
            "docker_version": "1.0.1",
            "docker_go_version": "go1.2",
            "arch": "amd64",
            "os": "linux",
            "kernel": "3.19.0-generic",
        }
    assert repositories.metadata(NAME, Tag("other")) == {
        "last_update": None,
        "docker_version": None,
        "docker_go_version": None,
        "arch": "amd64",
        "os": "linux",
        "kernel": None,
    }
    assert set(metadata_of("curl/8.0")) == {"last_update"}
    assert set(metadata_of("")) == {"last_update"}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", (400, "Invalid data")),
        (A.encode(), (400, "Invalid data")),
        (b"[]", (400, "Invalid data")),
        (b'""', (400, "Invalid data")),
        (b"5", (400, "Invalid data")),
        (quoted("../../etc/passwd"), (404, "Image not found")),
        (quoted(image_id("c")), (404, "Image not found")),
        (quoted(image_id("d")), (400, "Image is being uploaded, retry later")),
    ],
)
def test_wrong_targets(
    domain: Domain, repositories: Repositories, data: bytes, expected: tuple[int, str]
) -> None:
    domain.storage.put(keys.image(image_id("d"), "_inprogress"), b"true")
    assert fails(repositories.set_tag, NAME, Tag("t"), data, AGENT) == expected
    assert fails(repositories.tags, NAME)[0] == 404


@pytest.mark.parametrize("order", [("_x", "x_json"), ("x_json", "_x")])
def test_two_tags_with_one_key_in_0x(repositories: Repositories, order: tuple[str, str]) -> None:
    """Section 8 item 4: the metadata of `_x` has the key of the tag `x_json`."""
    for tag in order:
        repositories.set_tag(NAME, Tag(tag), quoted(A if tag == "_x" else B), AGENT)
    assert repositories.tags(NAME) == {"_x": A, "x_json": B}
    assert repositories.metadata(NAME, Tag("_x"))["arch"] == "amd64"
    repositories.delete_tag(NAME, Tag("_x"))
    assert repositories.tags(NAME) == {"x_json": B}
    repositories.set_tag(NAME, Tag("_x"), quoted(A), AGENT)
    repositories.delete_tag(NAME, Tag("x_json"))
    assert repositories.tags(NAME) == {"_x": A}
    assert fails(repositories.tag, NAME, Tag("x_json"))[0] == 404


def test_metadata_of_an_underscore_tag_is_not_a_tag(
    domain: Domain, repositories: Repositories
) -> None:
    """This version does not write it, because 0.x would list it, and does not list that of 0.x."""
    repositories.set_tag(NAME, Tag("_x"), quoted(A), AGENT)
    assert not exists(domain.storage, f"{NAME.folder}/tag_x_json")
    domain.storage.put(f"{NAME.folder}/tag_x_json", b'{"arch": "arm"}')
    assert repositories.tags(NAME) == {"_x": A}
    assert repositories.metadata(NAME, Tag("_x")) == {"arch": "arm"}
    assert fails(repositories.delete_tag, NAME, Tag("x_json"))[0] == 404


def test_tags_of_old_stores(domain: Domain, repositories: Repositories) -> None:
    domain.storage.put(f"{NAME.folder}/tag_odd+one%2F%7E", A.encode() + b"\n")
    domain.storage.put(f"{NAME.folder}/tag_half", b"")
    assert repositories.tags(NAME) == {"odd one/~": A}
    repositories.delete_tag(NAME, Tag("odd one/~"))
    assert repositories.tags(NAME) == {}


@pytest.mark.parametrize("tag", ["${x}", "50%", "a%2fb", "a+b", "\u00e9", "~1", "%24", ";#?"])
def test_tags_of_080(domain: Domain, repositories: Repositories, tag: str) -> None:
    """Tags are encoded since 0.8.1: both forms are read, the new form is written."""
    domain.storage.put(f"{NAME.folder}/_index_images", b"[]")
    domain.storage.put(f"{NAME.folder}/tag_{tag}", A.encode())
    domain.storage.put(f"{NAME.folder}/tag{tag}_json", b'{"arch": "arm"}')
    (listed,) = repositories.tags(NAME)
    for name in {Tag(tag), Tag(listed)}:
        assert repositories.tag(NAME, name) == A
        assert repositories.metadata(NAME, Tag(tag)) == {"arch": "arm"}
    moved = repositories.writable(NAME, tag)
    repositories.set_tag(NAME, moved, quoted(B), AGENT)
    assert exists(domain.storage, f"{NAME.folder}/{keys.tag(tag)}")
    assert repositories.tags(NAME)[tag] == repositories.tag(NAME, moved) == B
    assert repositories.metadata(NAME, moved)["arch"] == "amd64"
    repositories.delete_tag(NAME, moved)
    assert repositories.tags(NAME) == {}
    assert [entry.name for entry in domain.storage.list(NAME.folder)] == ["_index_images"]
    assert fails(repositories.tag, NAME, moved)[0] == 404
    assert fails(repositories.writable, NAME, tag)[0] == 400


def test_plain_tags_in_an_older_folder(domain: Domain, repositories: Repositories) -> None:
    older, newer = NESTED.folders[1], NESTED.folder
    domain.storage.put(f"{older}/tag_$", A.encode())
    domain.storage.put(f"{older}/tag_%24", B.encode())
    assert repositories.tags(NESTED) == {"$": B}
    assert repositories.tag(NESTED, Tag("$")) == B
    domain.storage.put(f"{newer}/tag_$", A.encode())
    assert repositories.tags(NESTED) == {"$": A}
    assert repositories.tag(NESTED, Tag("$")) == A
    repositories.delete_tag(NESTED, Tag("$"))
    assert fails(repositories.tags, NESTED)[0] == 404


@pytest.mark.parametrize("data", [b"", b"garbage", b"\xff\xfe", b"{}", b"[]", b"a" * 63, b"null"])
def test_unreadable_tags(domain: Domain, repositories: Repositories, data: bytes) -> None:
    """Lists omit them; a push or a DELETE of the tag repairs that."""
    domain.storage.put(f"{NAME.folder}/tag_bad", data)
    domain.storage.put(f"{NAME.folder}/tag_good", A.encode())
    told: list[tuple[str, str]] = []
    tags = domain.tags
    assert tags.all(NAME, lambda *one: told.append(one)) == dict(tags.each(NAME)) == {"good": A}
    assert told == [("bad", UNREADABLE)]
    assert tags.names(NAME, "", Tag.is_valid, 10) == ["good"]
    assert fails(repositories.tag, NAME, Tag("bad"))[0] == 404
    repositories.set_tag(NAME, Tag("bad"), quoted(B), AGENT)
    assert repositories.tags(NAME) == {"bad": B, "good": A}
    domain.storage.put(f"{NAME.folder}/tag_bad", data)
    repositories.delete_tag(NAME, Tag("bad"))
    assert not exists(domain.storage, f"{NAME.folder}/tag_bad")


FILES = st.dictionaries(
    st.text(st.sampled_from("ab_%2F45json+ ~$é"), max_size=8).map(lambda text: f"tag_{text}"),
    st.sampled_from([A.encode(), b'"%s"\n' % B.encode(), b"", b"garbage", b'{"arch": "arm"}']),
    max_size=6,
)


@given(files=FILES, older=FILES)
def test_lists_and_reads_agree_for_any_store(
    files: dict[str, bytes], older: dict[str, bytes]
) -> None:
    domain = Domain(MemoryStorage())
    for folder, found in zip(NESTED.folders, (files, older), strict=True):
        for name, data in found.items():
            domain.storage.put(f"{folder}/{name}", data)
    told: list[str] = []
    tags = domain.tags.all(NESTED, lambda tag, _: told.append(tag)) or {}
    assert dict(domain.tags.each(NESTED)) == tags
    assert (domain.tags.names(NESTED, "", Tag.may_exist, 100) or []) == sorted(tags)
    assert not set(told) & set(tags)
    for tag, id in tags.items():
        assert domain.repositories.tag(NESTED, Tag.parse_existing(tag)) == id
    for tag in [*tags, *(tag for tag in told if Tag.may_exist(tag))]:
        domain.repositories.delete_tag(NESTED, Tag(tag))
        assert fails(domain.repositories.tag, NESTED, Tag(tag))[0] == 404
    assert domain.tags.all(NESTED) in ({}, None)


def test_tags_that_no_client_can_ask_for(domain: Domain) -> None:
    domain.storage.put(f"{NAME.folder}/tag_a%0Ab", A.encode())
    domain.storage.put(f"{NAME.folder}/tag_{os.fsdecode(bytes([255]))}", A.encode())
    for folder in NESTED.folders:
        domain.storage.put(f"{folder}/tag_{os.fsdecode(bytes([255]))}", A.encode())
    assert domain.tags.all(NESTED) == {}
    told: list[tuple[str, str]] = []
    assert domain.tags.all(NAME, lambda *one: told.append(one)) == {}
    assert sorted(told) == [("\\udcff", UNREACHABLE), ("a\\nb", UNREACHABLE)]


def test_nested_names_of_080(domain: Domain, repositories: Repositories) -> None:
    """Nested names are encoded twice since 0.8.1: both forms are read, the new form is written."""
    older, newer = NESTED.folders[1], NESTED.folder
    domain.storage.put(f"{older}/tag_v1", A.encode())
    domain.storage.put(f"{older}/tag_v2", A.encode())
    domain.storage.put(f"{older}/_index_images", json.dumps([{"id": A}]).encode())
    domain.storage.put(f"{older}/json", b'{"arch": "arm"}')
    repositories.set_tag(NESTED, Tag("v2"), quoted(B), AGENT)
    assert repositories.tags(NESTED) == {"v1": A, "v2": B}
    assert repositories.tag(NESTED, Tag("v1")) == A
    assert repositories.metadata(NESTED) == {"arch": "arm"}
    lists = ImageLists(domain.storage)
    assert lists.get(NESTED) == [{"id": A}]
    lists.update(NESTED, json.dumps([{"id": B}]).encode())
    assert {item["id"] for item in lists.get(NESTED)} == {A, B}
    assert exists(domain.storage, f"{newer}/_index_images")
    repositories.delete_tag(NESTED, Tag("v2"))
    assert repositories.tags(NESTED) == {"v1": A}
    assert names(domain, "a/b") == ["ns/a/b"]
    repositories.delete(NESTED)
    assert fails(repositories.tags, NESTED)[0] == 404


def test_private(repositories: Repositories, domain: Domain) -> None:
    repositories.set_private(NAME, True)
    assert repositories.is_private(NAME)
    assert domain.storage.get(f"{NAME.folder}/_private") == b""
    assert names(domain, "") == []
    repositories.set_private(NAME, False)
    assert not repositories.is_private(NAME)


def searching(domain: Domain, rights: Rights) -> StoreSearch:
    roster = RepositoryNameIndex(domain.storage, call, read_only=False)
    return StoreSearch(roster, domain.tags, rights)


def names(domain: Domain, query: str, rights: Rights | None = None, user: str | None = None):
    search = searching(domain, rights or Open())
    page = search.find(Caller(user), query, 100, 1)
    assert page.total == len(page.results)
    return [found.name for found in page.results]


def test_a_page_of_a_list_ends_after_many_tags(
    repositories: Repositories, domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_module, "LISTED_TAGS", 3)
    for name, count in (("team/a", 5), ("team/b", 2), ("team/c", 1), ("team/d", 0), ("team/e", 1)):
        domain.storage.put(f"{RepositoryName.parse(name).folder}/json", b"{}")
        for number in range(count):
            tag = Tag(f"t{number}")
            repositories.set_tag(RepositoryName.parse(name), tag, quoted(A), AGENT)
    parts = []
    after: str | None = ""
    while after is not None:
        part = searching(domain, Open()).listed(Caller(None), after, 10)
        parts.append([(one["name"], len(one["tags"])) for one in part.repositories])
        after = part.more
    assert parts == [[("team/a", 5)], [("team/b", 2), ("team/c", 1), ("team/d", 0), ("team/e", 1)]]


def test_search(repositories: Repositories, domain: Domain) -> None:
    for name in ("library/busybox", "team/BusyBee".lower(), "team/app"):
        repositories.set_tag(RepositoryName.parse(name), Tag("t"), quoted(A), AGENT)
    assert names(domain, "busy") == ["library/busybox", "team/busybee"]
    assert names(domain, "BUSYBOX") == ["library/busybox"]
    assert names(domain, "library/") == ["library/busybox"]
    assert names(domain, "") == ["library/busybox", "team/app", "team/busybee"]
    assert names(domain, "%") == []


def test_pages_of_a_search(repositories: Repositories, domain: Domain) -> None:
    for name in ("a", "b", "c"):
        repositories.set_tag(RepositoryName("team", name), Tag("t"), quoted(A), AGENT)
    search = searching(domain, Open())
    page = search.find(ANONYMOUS, "team", 2, 2)
    assert (page.results, page.total) == ([SearchResult("team/c")], 3)
    assert search.find(ANONYMOUS, "team", 2, 3).results == []
    one, two, three = ({"name": f"team/{name}", "tags": {"t": A}} for name in "abc")
    assert search.listed(ANONYMOUS, "", 2) == Listing([one, two], "team/b")
    assert search.listed(ANONYMOUS, "team/b", 2) == Listing([three], None)
    assert search.listed(ANONYMOUS, "", 3) == Listing([one, two, three], None)
    assert search.listed(ANONYMOUS, "team/c", 2) == Listing([], None)


class Members(Open):
    """A member may pull everything, other users only the repository `public`."""

    open = False

    def may(self, caller: Caller, repository: RepositoryName | None, access: Access) -> bool:
        return caller.user == "member" or repository == RepositoryName("team", "public")


def test_search_returns_only_repositories_that_the_caller_may_pull(
    repositories: Repositories, domain: Domain
) -> None:
    for name in ("team/public", "team/secret"):
        repositories.set_tag(RepositoryName.parse(name), Tag("t"), quoted(A), AGENT)
    repositories.set_private(RepositoryName("team", "secret"), True)
    domain.storage.put("repositories/team/Not+A+Name/tag_t", A.encode())
    seen = ["team/Not A Name", "team/public", "team/secret"]  # the first as 0.x stored it
    for user, found in [(None, ["team/public"]), ("member", seen)]:
        assert names(domain, "team", Members(), user) == found
        search = searching(domain, Members())
        assert [item["name"] for item in search.listed(Caller(user), "", 10).repositories] == found
    assert names(domain, "team") == ["team/Not A Name", "team/public"]


def test_a_search_without_pages(
    repositories: Repositories, domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It checks only a limited number of matching names."""
    wanted = [f"team/image{number:02}" for number in range(30)]
    for name in wanted:
        domain.storage.put(f"repositories/{name}/tag_t", A.encode())
    whole = searching(domain, Open()).whole(ANONYMOUS, "IMAGE")
    assert (whole.total, [result.name for result in whole.results]) == (30, wanted)
    monkeypatch.setattr(search_module, "WHOLE", 20)
    whole = searching(domain, Open()).whole(ANONYMOUS, "image")
    assert (whole.total, [result.name for result in whole.results]) == (20, wanted[:20])
    assert searching(domain, Open()).whole(ANONYMOUS, "none").total == 0


class Heard:
    """Records each event, and the contents of the store at that moment."""

    def __init__(self, domain: Domain) -> None:
        self.found: list[tuple[object, ...]] = []
        self._domain = domain

    def tagged(self, repository: RepositoryName, tag: str) -> None:
        self.found.append(("tagged", tag, self._domain.tags.get(repository, tag)))

    def flagged(self, repository: RepositoryName, private: bool) -> None:
        stored = self._domain.repositories.is_private(repository)
        self.found.append(("flagged", private, stored))

    def deleted(self, repository: RepositoryName) -> None:
        self.found.append(("deleted", self._domain.tags.all(repository)))


def test_events_follow_changes(domain: Domain) -> None:
    heard = Heard(domain)
    named = Repositories(domain.storage, domain.images, domain.tags, domain.reach, heard)
    named.set_tag(NAME, Tag("v1"), quoted(A), AGENT)
    named.set_private(NAME, True)
    named.set_private(NAME, False)
    named.delete_tag(NAME, Tag("v1"))
    named.set_tag(NAME, Tag("v1"), quoted(B), AGENT)
    named.delete(NAME)
    for call_ in (named.delete, lambda name: named.delete_tag(name, Tag("v1"))):
        assert fails(call_, NAME)[0] == 404
    assert fails(named.set_tag, NAME, Tag("v1"), quoted("c" * 64), AGENT)[0] == 404
    assert heard.found == [
        ("tagged", "v1", A),
        ("flagged", True, True),
        ("flagged", False, False),
        ("tagged", "v1", None),
        ("tagged", "v1", B),
        ("deleted", None),
    ]


def test_pages_show_names_of_a_store(repositories: Repositories, domain: Domain) -> None:
    for name in ("library/box", "team/app", "team/box", "teams/box"):
        repositories.set_tag(RepositoryName.parse(name), Tag("t"), quoted(A), AGENT)
    repositories.set_private(RepositoryName("team", "app"), True)
    search = searching(domain, Open())

    def browsed(**query: Any) -> tuple[list[str], int]:
        page = search.browse(Caller(None), BrowseQuery(**query))
        return [row.name for row in page.rows], page.total

    assert browsed() == (["library/box", "team/box", "teams/box"], 3)
    assert browsed(text="BOX", namespace="team") == (["team/box"], 1)
    assert browsed(namespace="none") == ([], 0)
    assert browsed(page=2, size=2) == (["teams/box"], 3)
