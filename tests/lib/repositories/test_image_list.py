"""Image lists: merged as in 0.x, without losing entries (protocol-v1.md section 2.1)."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest

from tests.lib.stores import image_id
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName
from v1registry.lib.repositories.image_list import ImageLists
from v1registry.storage.local.driver import FileStorage

NAME = RepositoryName("ns", "repo")
A, B, C = (image_id(letter) for letter in "abc")


@pytest.fixture
def lists(tmp_path: Path) -> ImageLists:
    return ImageLists(FileStorage(tmp_path))


def update(lists: ImageLists, value: object) -> None:
    lists.update(NAME, json.dumps(value).encode())


def stored(tmp_path: Path) -> list[dict[str, str]]:
    """Return the list as 0.x reads it."""
    return json.loads((tmp_path / NAME.folder / "_index_images").read_text())


def test_first_verbatim_then_folded(lists: ImageLists, tmp_path: Path) -> None:
    with pytest.raises(Failure) as caught:
        lists.get(NAME)
    assert (caught.value.status, caught.value.text) == (404, "images not found")
    first = [{"id": A}, {"id": A, "Tag": "v1"}, {"id": B, "Tag": "latest", "odd": 1}]
    update(lists, first)
    assert lists.get(NAME) == stored(tmp_path) == first
    update(lists, [])
    assert lists.get(NAME) == stored(tmp_path) == [{"id": A}, {"id": B}]
    update(lists, [{"id": C, "Tag": "x"}])
    assert {item["id"] for item in stored(tmp_path)} == {A, B, C}


def test_an_empty_first_list(lists: ImageLists) -> None:
    update(lists, [])
    assert lists.get(NAME) == []


def test_an_entry_with_a_checksum_wins(lists: ImageLists, tmp_path: Path) -> None:
    update(lists, [{"id": A}])
    update(lists, [{"id": A, "checksum": "tarsum+sha256:1"}])
    update(lists, [{"id": A}, {"id": A, "checksum": "tarsum+sha256:2"}])
    assert stored(tmp_path)[0]["checksum"] in ("tarsum+sha256:1", "tarsum+sha256:2")
    update(lists, [{"id": A}])
    assert "checksum" in lists.get(NAME)[0]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "Error Decoding JSON"),
        (b"{", "Error Decoding JSON"),
        (b"{}", "Invalid data"),
        (b"5", "Invalid data"),
        (b"[5]", "Invalid data"),
        (b"[{}]", "Invalid data"),
        (b'[{"id": null}]', "Invalid data"),
        (b'[{"id": "../../x"}]', "Invalid data"),
    ],
)
def test_invalid_lists(lists: ImageLists, tmp_path: Path, data: bytes, text: str) -> None:
    with pytest.raises(Failure) as caught:
        lists.update(NAME, data)
    assert (caught.value.status, caught.value.text) == (400, text)
    assert not (tmp_path / "repositories").exists()


def test_entries_that_0x_lost_are_still_read(lists: ImageLists, tmp_path: Path) -> None:
    update(lists, [{"id": A}])
    update(lists, [{"id": B}])
    (tmp_path / NAME.folder / "_index_images").write_text(json.dumps([{"id": A}]))
    assert {item["id"] for item in lists.get(NAME)} == {A, B}
    assert {item["id"] for item in stored(tmp_path)} == {A, B}, "0.x should find it, too"


def _write(root: str, number: int, count: int) -> None:
    lists = ImageLists(FileStorage(root))
    for turn in range(count):
        lists.update(NAME, json.dumps([{"id": f"{number * 1000 + turn:064x}"}]).encode())


def test_no_entry_is_lost_under_concurrent_pushes(tmp_path: Path) -> None:
    """Eight processes write ten lists each: 0.x loses most of these entries."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_write, args=(str(tmp_path), n, 10)) for n in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(100)
        assert process.exitcode == 0
    wanted = {f"{number * 1000 + turn:064x}" for number in range(8) for turn in range(10)}
    lists = ImageLists(FileStorage(tmp_path))
    assert {item["id"] for item in lists.get(NAME)} == wanted
    assert {item["id"] for item in stored(tmp_path)} == wanted


def test_numbers_that_json_cannot_contain(lists: ImageLists, tmp_path: Path) -> None:
    for number in (b"1e400", b"1" * 400, b"NaN"):
        with pytest.raises(Failure, match="Error Decoding JSON"):
            lists.update(NAME, b'[{"id": "%s", "x": %s}]' % (b"a" * 64, number))
    folder = tmp_path / NAME.folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "_index_images").write_text('[{"id": "%s", "x": 1e400, "y": NaN}]' % ("a" * 64))
    assert lists.get(NAME) == [{"id": "a" * 64, "x": None, "y": None}]
