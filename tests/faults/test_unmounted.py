"""The disk of the store is unmounted and mounted again while the registry serves."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import raw
from tests.lib.stores import image_id, image_json, layer_of, payload
from tests.live_server import Server, StartError
from tests.needs import require, tool
from tests.waiting import wait_for

GOLDEN = Path(__file__).parent.parent / "fixtures" / "golden" / "store-0.9.1"
JSON = [("Content-Type", "application/json")]


def push(server: Server, letter: str) -> list[int]:
    """Push a repository with one image; return the status of every answer."""
    id, layer = image_id(letter), layer_of(letter)
    data = image_json(id)
    images = json.dumps([{"id": id}]).encode()
    checksum = [("X-Docker-Checksum-Payload", payload(data, layer))]
    answers = [
        raw.put(server, f"/v1/repositories/team/{letter}/", images, JSON),
        raw.put(server, f"/v1/images/{id}/json", data, JSON),
        raw.put(server, f"/v1/images/{id}/layer", layer),
        raw.put(server, f"/v1/images/{id}/checksum", b"", checksum),
        raw.put(server, f"/v1/repositories/team/{letter}/tags/latest", json.dumps(id).encode()),
        raw.put(server, f"/v1/repositories/team/{letter}/images", images, JSON),
    ]
    return [answer.status for answer in answers]


DONE = [200, 200, 200, 200, 200, 204]
REFUSED = [503] * 6


def marker(store: Path) -> str:
    return (store / "_v1registry/store").read_text()


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def away(store: Path) -> Iterator[None]:
    """Replace the store's folder by an empty one, like a mount point without its disk."""
    kept = store.with_name("kept")
    store.rename(kept)
    store.mkdir()
    yield
    left = files(store)
    shutil.rmtree(store)
    kept.rename(store)
    assert left == []


def unmounted(store: Path) -> Iterator[None]:
    """Unmount a real bind mount over an empty folder."""
    subprocess.run([tool("umount"), "-l", str(store)], check=True)
    yield
    left = files(store)
    subprocess.run([tool("mount"), "--bind", str(store.with_name("disk")), str(store)], check=True)
    assert left == []


Gone = Callable[[], contextlib.AbstractContextManager[None]]


@pytest.fixture(params=["renamed", "mounted"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, Gone]]:
    """A store's folder, and a way to unmount it. Nothing may be written to the mount point meanwhile."""
    store = tmp_path / "store"
    store.mkdir()
    if request.param == "renamed":
        yield store, lambda: contextlib.contextmanager(away)(store)
        return
    require("tmpfs")
    (tmp_path / "disk").mkdir()
    subprocess.run([tool("mount"), "--bind", str(tmp_path / "disk"), str(store)], check=True)
    try:
        yield store, lambda: contextlib.contextmanager(unmounted)(store)
    finally:
        subprocess.run([tool("umount"), "-l", str(store)], check=True)


def test_writes_wait_for_the_disk(disk: tuple[Path, Gone]) -> None:
    store, gone = disk
    with Server(store, workers=2, env={"CLEAN_INTERVAL": "1"}) as server:
        assert push(server, "a") == DONE
        id = marker(store)
        with gone():
            assert push(server, "b") == REFUSED
            status = raw.get(server, "/v1/_status")
            assert (status.status, list(status.json()["failures"])) == (503, ["storage"])
            assert raw.get(server, "/v1/_ping").status == 200
            assert raw.get(server, "/v1/_ready").status == 503
            assert raw.request(server, "DELETE", "/v1/repositories/team/a/").status == 503
            time.sleep(1.5)  # periodic tasks must not write either
        assert "The store's marker _v1registry/store is missing" in server.log
        assert id in server.log
        assert push(server, "b") == DONE
        assert raw.get(server, "/v1/_status").status == 200
        assert raw.get(server, "/v1/_ready").status == 200
        assert raw.get(server, "/v1/repositories/team/a/tags").json() == {"latest": image_id("a")}
        assert "is back" in server.log


def test_a_worker_that_starts_meanwhile_does_not_use_the_mount_point(
    disk: tuple[Path, Gone],
) -> None:
    store, gone = disk
    with Server(store, workers=1) as server:
        assert push(server, "a") == DONE
        with gone():
            before = server.worker_pids()
            os.kill(before[0], signal.SIGKILL)
            wait_for(lambda: server.worker_pids() not in ([], before))
            assert push(server, "b") == REFUSED
            before = server.worker_pids()
            os.kill(server.pid, signal.SIGHUP)
            wait_for(lambda: len(pids := server.worker_pids()) == 1 and pids != before)
            assert push(server, "c") == REFUSED
        assert push(server, "b") == DONE


def test_another_store_is_mounted(tmp_path: Path) -> None:
    store, other = tmp_path / "store", tmp_path / "other"
    with Server(other) as server:
        assert push(server, "a") == DONE
    with Server(store) as server:
        assert push(server, "a") == DONE
        store.rename(tmp_path / "kept")
        other.rename(store)
        before = files(store)
        assert push(server, "b") == REFUSED
        assert raw.get(server, "/v1/_status").status == 503
        assert f"holds {marker(store)}" in server.log
        assert files(store) == before
        server.stop()
        server.restart()  # the administrator wants the other store
        assert push(server, "b") == DONE


def test_an_old_store_gets_a_marker_and_nothing_else(tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(GOLDEN, store)
    before = set(files(store))
    with Server(store):
        pass
    new = set(files(store)) - before
    assert all(name.startswith("_v1registry") for name in new)
    id = marker(store)
    with Server(store, workers=2) as server:
        assert marker(store) == id
        assert push(server, "a") == DONE


def test_a_start_without_the_pinned_store_is_refused(tmp_path: Path) -> None:
    store = tmp_path / "store"
    with Server(store):
        pass
    pinned = {"STORE_ID": marker(store)}
    with Server(store, env=pinned) as server:
        assert push(server, "a") == DONE
    store.rename(tmp_path / "kept")
    store.mkdir()
    with pytest.raises(StartError, match="store_id: the store has no marker"):
        Server(store, env=pinned)
    assert files(store) == []


@pytest.mark.parametrize("name", ["images", "repositories"])
def test_a_folder_with_a_file_system_of_its_own_is_not_mounted(tmp_path: Path, name: str) -> None:
    require("tmpfs")
    store, folder = tmp_path / "store", tmp_path / "store" / name
    folder.mkdir(parents=True)
    mount = [tool("mount"), "-t", "tmpfs", "-o", "size=8m", "none", folder]
    subprocess.run(mount, check=True)
    with contextlib.ExitStack() as ends:
        ends.callback(subprocess.run, [tool("umount"), "-l", folder], stderr=subprocess.DEVNULL)
        with Server(store) as server:
            assert push(server, "a") == DONE
            subprocess.run([tool("umount"), "-l", folder], check=True)
            assert push(server, "b") == REFUSED
            assert raw.get(server, "/v1/_status").status == 503
            assert f"{folder} was on a file system of its own and is not now" in server.log
            assert files(folder) == []
            subprocess.run(mount, check=True)
            assert push(server, "c") == DONE
            subprocess.run([tool("umount"), "-l", folder], check=True)
        with pytest.raises(StartError, match="was on a file system of its own and is not now"):
            Server(store)
        assert files(folder) == []
        (store / "_v1registry/mounts").unlink()  # the content was moved to another file system
        with Server(store) as server:
            assert push(server, "d") == DONE
