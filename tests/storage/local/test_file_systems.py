"""Stores with folders on several file systems, or on one without hard links."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import raw
from tests.faults.test_unmounted import DONE, push
from tests.lib.stores import image_id, layer_of
from tests.live_server import Server
from tests.needs import exfat, require, tool
from v1registry.storage.errors import NotFound, StorageError
from v1registry.storage.local import disk
from v1registry.storage.local.driver import FileStorage

ELSEWHERE = {
    "images by a link": ("images", "link"),
    "repositories by a link": ("repositories", "link"),
    "a namespace by a link": ("repositories/team", "link"),
    "an image by a link": (f"images/{image_id('a')}", "link"),
    "images mounted": ("images", "bind"),
    "a namespace mounted": ("repositories/team", "bind"),
}


@pytest.fixture(params=ELSEWHERE)
def divided(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A store with one folder on another file system; a bind mount has the same device."""
    name, kind = ELSEWHERE[request.param]
    store = tmp_path / "store"
    folder = store / name
    folder.parent.mkdir(parents=True)
    with tempfile.TemporaryDirectory(dir="/dev/shm" if kind == "link" else tmp_path) as other:
        if kind == "link":
            assert os.stat(other).st_dev != store.stat().st_dev
            folder.symlink_to(other)
            yield store
            return
        require("tmpfs")
        folder.mkdir()
        subprocess.run([tool("mount"), "--bind", other, folder], check=True)
        try:
            yield store
        finally:
            subprocess.run([tool("umount"), folder], check=True)


def test_folders_on_other_file_systems(divided: Path) -> None:
    with Server(divided, workers=2) as server:
        for letter in "ab":
            assert push(server, letter) == DONE
            path = f"/v1/images/{image_id(letter)}/layer"
            assert raw.get(server, path).body == layer_of(letter)
        assert push(server, "a")[0] == DONE[0]  # again: nothing is in the way
        tags = "/v1/repositories/team/a/tags"
        assert raw.put(server, f"{tags}/two", json.dumps(image_id("b")).encode()).status == 200
        assert raw.get(server, tags).json() == {"latest": image_id("a"), "two": image_id("b")}
        assert raw.delete(server, f"{tags}/two").status == 200
        assert raw.delete(server, "/v1/repositories/team/b/").status == 200
        assert raw.get(server, "/v1/repositories/team/b/tags").status == 404
        assert raw.get(server, "/v1/_status").status == 200
        assert "Traceback" not in server.log
    assert left(divided) == []


def left(store: Path) -> list[str]:
    """Return temporary files and folders that a write has left."""
    found = subprocess.run(["find", "-L", store], capture_output=True, text=True, check=True)
    names = ("/put-", "/trash-", "/stage-", disk.TEMPORARY)
    return [line for line in found.stdout.splitlines() if any(name in line for name in names)]


def test_creating_on_another_file_system_has_one_winner(divided: Path) -> None:
    if not (divided / "images").exists():
        (divided / "images").mkdir()
    assert race(divided) == 1
    assert left(divided) == []


def test_files_of_a_killed_process_are_cleaned(tmp_path: Path) -> None:
    store = FileStorage(tmp_path)
    store.prepare()
    beside = [tmp_path / name / disk.TEMPORARY for name in ("images", "repositories/team")]
    for folder in beside:
        folder.mkdir(parents=True)
        (folder / "put-1").write_bytes(b"half")
        (folder / "trash-1").mkdir()
        assert list(store.list(str(folder.parent.relative_to(tmp_path)))) == []
    assert store.clean(time.time() - 60) == 0
    assert store.clean(time.time() + 60) == 4
    assert left(tmp_path) == []


@pytest.fixture
def without_links(tmp_path: Path) -> Iterator[Path]:
    """A folder on a real file system without hard links, where `a` and `A` are the same name."""
    require("exfat")
    with exfat(tmp_path) as mounted:
        assert mounted is not None
        (mounted / "one").touch()
        with pytest.raises(PermissionError):
            os.link(mounted / "one", mounted / "two")
        yield mounted


def test_a_file_system_without_hard_links(without_links: Path) -> None:
    store = without_links / "store"
    with Server(store, workers=2) as server:
        for letter in "ab":
            assert push(server, letter) == DONE
        assert push(server, "a")[-1] == DONE[-1]
        assert raw.delete(server, "/v1/repositories/team/b/").status == 200
        assert raw.get(server, "/v1/repositories/team/a/tags").json() == {"latest": image_id("a")}
        assert raw.get(server, "/v1/_status").status == 200
        assert "Traceback" not in server.log
        assert "takes upper and lower case for the same" in server.log
    assert left(store) == []


def test_creating_without_hard_links_has_one_winner(without_links: Path) -> None:
    assert race(without_links / "store") == 1
    assert left(without_links) == []


def race(root: Path, processes: int = 6) -> int:
    """How many of several processes are told that they created each of many keys, at most and least.

    Nobody may see a part of a value meanwhile.
    """
    start, wins = multiprocessing.Barrier(processes), multiprocessing.Queue()
    workers = [
        multiprocessing.Process(target=create, args=(root, number, start, wins))
        for number in range(processes)
    ]
    for worker in workers:
        worker.start()
    won = [name for _ in workers for name in wins.get(timeout=60)]
    for worker in workers:
        worker.join()
    counts = {won.count(f"images/{image_id('a')}/key-{n}") for n in range(KEYS)}
    assert len(counts) == 1
    return counts.pop()


Told = "multiprocessing.Queue[list[str]]"
KEYS = 20


def create(root: Path, number: int, start: threading.Barrier, wins: Told) -> None:
    store, won = FileStorage(root), []
    data = f"{number}".encode() * 1000
    for n in range(KEYS):
        key = f"images/{image_id('a')}/key-{n}"
        start.wait(30)
        if store.create(key, data):
            won.append(key)
        assert len(store.get(key)) == 1000
    wins.put(won)


def test_a_folder_is_deleted_while_others_write_into_it(tmp_path: Path) -> None:
    """On tmpfs, where each step takes microseconds, both sides disturb each other very often."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        end = time.monotonic() + 3
        wins: multiprocessing.Queue[list[str]] = multiprocessing.Queue()
        writers = [
            multiprocessing.Process(target=write, args=(name, n, end, wins)) for n in range(3)
        ]
        for writer in writers:
            writer.start()
        store, failed, rounds = FileStorage(name), [], 0
        while time.monotonic() < end:
            rounds += 1
            try:
                store.delete_folder("repositories/team/app")
            except StorageError as error:
                failed.append(str(error))
        for _ in writers:
            failed += wins.get(timeout=60)
        for writer in writers:
            writer.join()
        assert failed == []
        assert rounds > 100
        store.delete_folder("repositories/team/app")
        with pytest.raises(NotFound):
            store.stat("repositories/team/app/tag_0")
        assert left(Path(name)) == []


def write(root: str, number: int, end: float, failed: Told) -> None:
    store, errors, turn = FileStorage(root), [], 0
    while time.monotonic() < end:
        turn += 1
        try:
            store.put(f"repositories/team/app/tag_{number}_{turn % 7}", b"x", durable=False)
        except StorageError as error:
            errors.append(str(error))
    failed.put(errors)
