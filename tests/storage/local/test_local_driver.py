"""The driver for local files beyond the contract: disk errors, remains, links, the layout."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.needs import needs
from v1registry.storage import Storage, marker
from v1registry.storage.errors import NotFound, NotMounted, Refused, StoreFull, Unavailable
from v1registry.storage.local import disk, readiness
from v1registry.storage.local.disk import storage_error
from v1registry.storage.local.driver import FileStorage

GOLDEN = Path(__file__).parents[2] / "fixtures" / "golden" / "store-0.9.1"

as_root = needs("root")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte with few inodes."""
    mount = tmp_path / "small"
    mount.mkdir()
    options = "size=1m,nr_inodes=20"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", mount], check=True)
    yield mount
    subprocess.run(["umount", mount], check=True)


def files_below(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


@as_root
def test_disk_full(small: Path) -> None:
    storage = FileStorage(small)
    storage.put("kept", b"x" * 1000)
    with pytest.raises(StoreFull):
        storage.stage("images/a/layer", (b"x" * 65536 for _ in range(100)))
    with pytest.raises(StoreFull):
        storage.put("big", b"x" * 2_000_000)
    with pytest.raises(StoreFull):
        storage.create("big", b"x" * 2_000_000)
    assert files_below(small) == {"kept"}
    storage.put("more", b"y" * 1000)
    assert storage.get("kept") == b"x" * 1000


@as_root
def test_no_inode_left(small: Path) -> None:
    storage = FileStorage(small)
    with pytest.raises(StoreFull):
        for number in range(30):
            storage.put(f"f/{number}", b"")
    before = files_below(small)
    storage.delete("f/0")
    storage.put("f/again", b"")
    assert files_below(small) == before - {"f/0"} | {"f/again"}


@as_root
def test_read_only(small: Path) -> None:
    storage = FileStorage(small)
    storage.put("f/key", b"value")
    subprocess.run(["mount", "-o", "remount,ro", small], check=True)
    for write in (
        lambda: storage.put("f/other", b""),
        lambda: storage.delete("f/key"),
        lambda: storage.delete_folder("f"),
        lambda: storage.stage("f/other", [b""]),
        storage.check,
    ):
        with pytest.raises(Refused):
            write()
    assert storage.get("f/key") == b"value"


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOENT, NotFound),
        (errno.ENAMETOOLONG, NotFound),
        (errno.ENOSPC, StoreFull),
        (errno.EDQUOT, StoreFull),
        (errno.EFBIG, StoreFull),
        (errno.EACCES, Refused),
        (errno.EROFS, Refused),
        (errno.EIO, Unavailable),
        (errno.EMFILE, Unavailable),
        (errno.ESTALE, Unavailable),
    ],
)
def test_operating_system_errors_are_mapped(number: int, expected: type) -> None:
    error = storage_error(OSError(number, os.strerror(number)), "a/key")
    assert type(error) is expected
    assert "a/key" in str(error)


def test_folders_are_not_objects(tmp_path: Path) -> None:
    storage = FileStorage(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(NotFound):
        storage.open("folder")
    with pytest.raises(NotFound):
        storage.stat("folder")


def test_a_truncated_file_is_never_padded(tmp_path: Path) -> None:
    storage = FileStorage(tmp_path)
    storage.put("key", b"x" * 3_000_000)
    with storage.open("key") as blob:
        pieces = blob.pieces()
        next(pieces)
        os.truncate(tmp_path / "key", 1_500_000)
        with pytest.raises(Unavailable, match="cut short"):
            list(pieces)


def test_remains_of_failed_writes_are_deleted_by_age(tmp_path: Path) -> None:
    storage = FileStorage(tmp_path)
    uploads = tmp_path / "_v1registry" / "uploads"
    uploads.mkdir(parents=True)
    (uploads / "put-old").write_bytes(b"x")
    (uploads / "put-new").write_bytes(b"x")
    (uploads / "trash-old").mkdir()
    (uploads / "trash-old" / "file").write_bytes(b"x")
    handle = storage.stage("images/a/layer", [b"x"])
    hour_ago = time.time() - 3600
    for name in ("put-old", "trash-old", handle):
        os.utime(uploads / name, (hour_ago, hour_ago))
    assert storage.clean(time.time() - 60) == 2
    assert {path.name for path in uploads.iterdir()} == {"put-new", handle}


def test_delete_if_never_deletes_a_newer_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process replaces the value between the comparison and the deletion."""
    code = """if True:
        import sys
        from v1registry.storage.local.driver import FileStorage
        store = FileStorage(sys.argv[1])
        deleted = store.delete_if("a/b", b"one")
        print(deleted, store.create("a/b", b"two"))
        """
    store, read = FileStorage(tmp_path), disk.read_all
    store.create("a/b", b"one")
    other: list[subprocess.Popen[str]] = []

    def look(path: str) -> bytes:
        data = read(path)
        if not other:
            command = [sys.executable, "-c", code, str(tmp_path)]
            other.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            with contextlib.suppress(subprocess.TimeoutExpired):
                other[0].wait(2)  # as long as we are in here, it has to wait
        return data

    monkeypatch.setattr(disk, "read_all", look)
    assert store.delete_if("a/b", b"one")
    assert other[0].communicate(timeout=30)[0] == "False True\n"
    assert store.get("a/b") == b"two"


def test_foreign_handles_are_refused(tmp_path: Path) -> None:
    storage: Storage = FileStorage(tmp_path / "store")
    (tmp_path / "secret").write_bytes(b"x")
    for handle in ("../../secret", "put-1", "stage-/../../secret", ""):
        with pytest.raises(NotFound):
            storage.open_staged(handle)


def test_accel_path(tmp_path: Path) -> None:
    assert FileStorage(tmp_path).accel_path("images/a/layer") is None
    storage = FileStorage(tmp_path, accel="/_layers/")
    assert storage.accel_path("images/a/layer") == "/_layers/images/a/layer"


def test_files_have_the_mode_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        storage = FileStorage(tmp_path)
        storage.put("key", b"")
        storage.commit(storage.stage("layer", [b""]))
    finally:
        os.umask(before)
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in ("key", "layer")} == {0o644}


NOBODY = 65534


def refusal_as_nobody(root: Path) -> str:
    """Return the error of `prepare` in a process of the user nobody; empty if it succeeds."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        text = "did not end as it should"
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            FileStorage(root).prepare()
            text = ""
        except Refused as refused:
            text = str(refused)
        finally:
            os.write(writing, text.encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return text


@as_root
@pytest.mark.parametrize("part", ["", "images", "repositories/libtest/d101", "_v1registry"])
def test_a_store_of_another_user_stops_the_start(tmp_path: Path, part: str) -> None:
    """The container of 0.x ran as root: the error says how to hand the store over."""
    for folder in (tmp_path, *tmp_path.parents):
        if not folder.stat().st_mode & 0o001:  # pytest's own folders are closed to other users
            folder.chmod(0o711)
    store = tmp_path / "store"
    shutil.copytree(GOLDEN, store)
    FileStorage(store).prepare()
    for path in [store, *store.rglob("*")]:
        os.chown(path, NOBODY, NOBODY)
    assert refusal_as_nobody(store) == ""
    for path in [store / part, *(store / part).rglob("*")]:
        os.chown(path, 0, 0)
        path.chmod(0o755 if path.is_dir() else 0o644)
    refusal = refusal_as_nobody(store)
    assert f"run: chown -R {NOBODY}:{NOBODY} {store} " in refusal
    assert "container, run it on the host, for the folder mounted there" in refusal


def test_a_file_that_vanishes_during_prepare_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process that starts at the same time writes and deletes its own check object."""
    gone = str(tmp_path / "_v1registry" / "check-of-another")
    monkeypatch.setattr(readiness, "sample", lambda root: iter([(gone, os.R_OK)]))
    FileStorage(tmp_path).prepare()


@pytest.fixture
def few_descriptors() -> Iterator[None]:
    """Allow 300 open files only, as 5,000 values exceed the limits of real servers."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (300, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_write_of_many_values_takes_few_file_descriptors(
    tmp_path: Path, few_descriptors: None
) -> None:
    storage = FileStorage(tmp_path)
    values = {f"images/{number:04x}/_repositories/a": b"%d" % number for number in range(1000)}
    storage.put_all(values)
    assert {key: storage.get(key) for key in values} == values
    assert len(list(storage.list("images"))) == 1000
    assert not list(storage.list("_v1registry/uploads"))


def test_values_are_named_in_order_also_in_a_write_of_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named: list[str] = []
    place = disk.into_place
    monkeypatch.setattr(
        disk, "into_place", lambda one, two, how: named.append(two) or place(one, two, how)
    )
    values = {f"images/{number}": b"" for number in range(500, 300, -1)}
    FileStorage(tmp_path).put_all(values)
    assert named == [f"{tmp_path}/{key}" for key in values]


def test_a_large_folder_is_listed_completely(tmp_path: Path) -> None:
    for number in range(2500):
        (tmp_path / f"f{number}").touch()
    (tmp_path / "folder").mkdir()
    found = {entry.name: entry.is_folder for entry in FileStorage(tmp_path).list(".")}
    assert found == {f"f{number}": False for number in range(2500)} | {"folder": True}


def test_a_process_that_starts_without_the_store_learns_its_mounts(tmp_path: Path) -> None:
    """Otherwise it would write into the mount point of a folder that is not mounted."""
    root, away = tmp_path / "store", tmp_path / "away"
    ids: dict[str, str] = {}
    memory = SimpleNamespace(get=ids.get, set=ids.__setitem__)
    marker.MarkedStorage(FileStorage(root), memory=memory).prepare()
    (root / "_v1registry/mounts").write_text("images")  # which lay on a disk of its own
    root.rename(away)
    root.mkdir()
    storage = marker.MarkedStorage(FileStorage(root), memory=memory)
    storage.prepare()
    with pytest.raises(NotMounted, match="_v1registry/store is missing"):
        storage.put("images/a/json", b"{}")
    root.rmdir()
    away.rename(root)
    for _ in range(2):
        with pytest.raises(NotMounted, match="images was on a file system of its own"):
            storage.put("images/a/json", b"{}")
    (root / "_v1registry/mounts").unlink()  # its content was moved
    again = marker.MarkedStorage(FileStorage(root), memory=memory)
    again.prepare()
    again.put("images/a/json", b"{}")
