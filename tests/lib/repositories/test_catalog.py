"""The catalog: repositories in order, in pages."""

from __future__ import annotations

import pytest

from tests.lib.stores import image_id
from v1registry.lib.names import RepositoryName, Tag
from v1registry.lib.repositories.catalog import RepositoryCatalog
from v1registry.lib.repositories.tags import Tags
from v1registry.storage import keys
from v1registry.storage.local.driver import call
from v1registry.storage.memory import MemoryStorage

NAMES = [
    "a-b/x",
    "a.b/x",
    "a/b",
    "a/b-c",
    "a/b/c",
    "a/b/c/d",
    "a/c",
    "library/busybox",
    "z/z",
]


@pytest.fixture
def storage() -> MemoryStorage:
    storage = MemoryStorage()
    for name in NAMES:
        storage.put(f"{RepositoryName.parse(name).folder}/tag_x", image_id("1").encode())
    # names that v2 clients cannot ask for, and folders that are not repositories
    for namespace, name in [("a", "_x"), ("a", "x..y"), ("-a", "x"), ("A", "x"), ("a", "tags")]:
        storage.put(f"{keys.repository(namespace, name)}/tag_x", b"")
    storage.put("repositories/a/file", b"")
    storage.put("repositories/file", b"")
    return storage


def names(storage: MemoryStorage, after: str = "") -> list[str]:
    return [str(name) for name in RepositoryCatalog(storage, call).names(after)]


def test_sorted_as_texts(storage: MemoryStorage) -> None:
    assert sorted(NAMES) == NAMES
    assert names(storage) == NAMES


@pytest.mark.parametrize("after", ["", *NAMES, "a", "a/", "a/b/", "a0", "b", "zzz", "library/a"])
def test_from_the_middle(storage: MemoryStorage, after: str) -> None:
    assert names(storage, after) == [name for name in NAMES if name > after]


def test_only_returned_names_are_read(storage: MemoryStorage) -> None:
    read = []

    def counted(function: object, *arguments: object) -> object:
        read.append(arguments[0])
        return call(function, *arguments)  # type: ignore[arg-type]

    next(RepositoryCatalog(storage, counted).names())
    assert read == ["repositories", "repositories/-a", "repositories/A", "repositories/a-b"]
    read.clear()
    next(RepositoryCatalog(storage, counted).names("library/"))
    assert read == ["repositories", "repositories/library"]


def test_a_nested_name_as_080_wrote_it(storage: MemoryStorage) -> None:
    """A name encoded once and one encoded twice are one repository."""
    storage.put(f"{keys.repository_before_081('a', 'b/c')}/tag_y", b"")
    storage.put(f"{keys.repository_before_081('a', 'old/er')}/tag_y", b"")
    assert names(storage) == sorted([*NAMES, "a/old/er"])


def test_names_of_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    """In order; only the files of returned names are read. Metadata of `_x` is not a tag `x_json`."""
    storage = MemoryStorage()
    repository = RepositoryName.parse("a/b/c")
    tags = Tags(storage)
    assert tags.names(repository, "", Tag.is_valid, 10) is None
    folder = repository.folder
    for tag in ("1.0", "_x", "y_json", "odd one"):
        storage.put(f"{folder}/{keys.tag(tag)}", image_id("1").encode())
    storage.put(f"{folder}/{keys.tag_metadata('_x')}", b'{"last_update": 1}')
    storage.put(f"{folder}/{keys.tag_metadata('1.0')}", b'{"last_update": 1}')
    storage.put(f"{folder}/tag_empty", b"")
    storage.put(f"{keys.repository_before_081('a', 'b/c')}/tag_old", image_id("1").encode())
    found = tags.names(repository, "", Tag.may_exist, 10)
    assert found == ["1.0", "_x", "odd one", "old", "y_json"]
    read: list[str] = []
    get = storage.get
    monkeypatch.setattr(storage, "get", lambda key: read.append(key) or get(key))
    assert tags.names(repository, "1.0", Tag.is_valid, 1) == ["_x"]
    assert read == [f"{folder}/tag__x"]
