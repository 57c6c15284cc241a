"""The suite for all drivers: they fulfil the contract of `v1registry.storage.Storage`.

With STORE=config.yml it also tests the store of the flavor `test` in that configuration, such as one
of a driver in another package. It deletes all objects there, and refuses a store with repositories.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from v1registry.config import load_config
from v1registry.storage import ListEntry, Storage, exists, marker
from v1registry.storage.errors import NotFound, Refused, Unavailable
from v1registry.storage.loading import load
from v1registry.storage.local.driver import FileStorage
from v1registry.storage.memory import MemoryStorage

LAYER = "images/" + "a" * 64 + "/layer"


GIVEN = os.environ.get("STORE")
GIVENS = ["given"] if GIVEN else []


#: what each is kept in, by the fixture of its server
SERVERS = {
    "s3": "ceph",
    "swift": "swift",
    "gcs": "fake_gcs",
    "gcs-hmac": "fake_gcs_xml",
    "gcs-emulator": "gcs_emulator",
}

#: what an emulator is known not to do: see tests/backends/gcs.py
BEYOND_THE_EMULATOR = {
    "test_missing_keys",
    "test_a_commit_can_be_repeated_without_atomic_create",
}


#: the same, for what keeps its layers in one and all else in a folder
GLANCES = {"glance": "glance", "glance-25": "old_glance"}

HEAVY = {"gcs-hmac", "glance-25"}  # most of them is another's driver


@pytest.fixture(
    params=[
        pytest.param(name, marks=[pytest.mark.heavy] if name in HEAVY else [])
        for name in ("file", "memory", "example", *SERVERS, *GLANCES, "s3-of-swift", *GIVENS)
    ]
)
def storage(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Storage:
    if request.param == "given":
        return emptied(configured(load_config(GIVEN, flavor="test").storage))
    if request.param == "example":
        monkeypatch.syspath_prepend(request.getfixturevalue("example_driver"))
        options = {"sqlite_path": str(tmp_path / "store.sqlite"), "sqlite_wait": 20}
        return configured({"storage": "sqlite", **options})
    if request.param == "memory":
        return MemoryStorage()
    if request.param == "file":
        return FileStorage(tmp_path / "store")
    if request.param in GLANCES:
        account = request.getfixturevalue(GLANCES[request.param]).account()
        return configured(account.options(tmp_path / "rest"))
    if request.param == "s3-of-swift":  # another S3 server, without conditional writes
        swift = request.getfixturevalue("swift")
        return configured(swift.s3_options(storage_path=f"/{secrets.token_hex(8)}"))
    if request.param == "gcs-emulator" and request.node.originalname in BEYOND_THE_EMULATOR:
        pytest.skip("the emulator does not do this")
    server = request.getfixturevalue(SERVERS[request.param])
    return load(server.options(storage_path=f"/{secrets.token_hex(8)}"), lambda call: call())


def configured(options: Mapping[str, Any]) -> Storage:
    """Return the store as the server makes it."""
    store = load(options, lambda function, *arguments: function(*arguments))
    store.prepare()
    return store


def emptied(store: Storage) -> Storage:
    assert not list(store.list("repositories")), "STORE names a registry that is in use"
    for stage in list(store.stages()):
        store.abandon(stage.handle)
    for name in ("a", "b", "f", "g", "big", "race", "images"):
        store.delete(name)
        store.delete_folder(name)
    return store


def test_put_get_replace(storage: Storage) -> None:
    storage.put("a/b/c", b"one")
    storage.put("a/b/c", b"")
    assert storage.get("a/b/c") == b""
    assert storage.stat("a/b/c").size == 0
    storage.put("a/b/c", b"three")
    assert storage.get("a/b/c") == b"three"
    assert storage.stat("a/b/c").size == 5


def test_space(storage: Storage) -> None:
    storage.put("one", b"1")
    found = storage.space()
    assert found is None or 0 <= found.free <= found.total


def test_put_all_in_order(storage: Storage) -> None:
    storage.put_all({"a/one": b"1", "b/two": b"2", "a/three": b"3"})
    assert [storage.get(key) for key in ("a/one", "b/two", "a/three")] == [b"1", b"2", b"3"]
    storage.put_all({})
    storage.put("a/one", b"4", durable=False)
    storage.delete("b/two", durable=False)
    assert storage.get("a/one") == b"4"
    assert not exists(storage, "b/two")


@pytest.mark.parametrize("key", ["a", "a/b", "a/b/c/d"])
def test_missing_keys(storage: Storage, key: str) -> None:
    storage.put("a/b/c", b"x")
    for read in (storage.get, storage.stat, storage.open):
        with pytest.raises(NotFound):
            read(key)
    assert not exists(storage, key)
    storage.delete(key)
    assert storage.get("a/b/c") == b"x"


def test_create_has_one_winner(storage: Storage) -> None:
    """Without atomic `create`, several calls may return True, the one with the final value included."""
    barrier, wins = threading.Barrier(8), []

    def race(number: int) -> None:
        barrier.wait()
        if storage.create("race/key", str(number).encode()):
            wins.append(number)

    for _ in range(20 if storage.creates_atomically else 5):
        wins.clear()
        threads = [threading.Thread(target=race, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(wins) == 1 or (wins and not storage.creates_atomically)
        assert int(storage.get("race/key")) in wins
        assert not storage.create("race/key", b"late")
        storage.delete("race/key")


def test_delete_if_compares_the_value(storage: Storage) -> None:
    key = "race/deleted/key"
    assert not storage.delete_if(key, b"one")
    storage.create(key, b"one")
    assert not storage.delete_if(key, b"other")
    assert storage.get(key) == b"one"
    assert storage.delete_if(key, b"one")
    assert not exists(storage, key)
    assert not list(storage.list("race"))  # nor is there an empty folder
    assert storage.create(key, b"two")
    assert not storage.delete_if(key, b"one")
    assert storage.get(key) == b"two"
    storage.delete(key)


def test_list(storage: Storage) -> None:
    for key in ("f/one", "f/two/three", "f/two/four", "g/five"):
        storage.put(key, b"x")
    assert set(storage.list("f")) == {ListEntry("one", False), ListEntry("two", True)}
    assert list(storage.list("nothing")) == []
    assert list(storage.list("f/one")) == []


@pytest.mark.parametrize(
    "name",
    [
        "tag_${x}",
        "tag_a b+c",
        "tag_50%",
        "tag_%24",
        "tag_\u00e9",
        "tag_~!@#&=;:,'()[]{}^`|",
        'tag_"<>',
    ],
)
def test_names_without_percent_encoding(storage: Storage, name: str) -> None:
    """docker-registry up to 0.8.0 did not encode the names of tags and namespaces."""
    key = f"repositories/te am$/app/{name}"
    storage.put(key, b"one")
    assert (storage.get(key), storage.stat(key).size) == (b"one", 3)
    with storage.open(key) as blob:
        assert blob.read() == b"one"
    assert [entry.name for entry in storage.list("repositories/te am$/app")] == [name]
    assert [entry.name for entry in storage.list("repositories")] == ["te am$"]
    storage.delete(key)
    assert not exists(storage, key)
    storage.put(key, b"two")
    storage.delete_folder("repositories/te am$/app")
    assert not exists(storage, key)


def test_delete_leaves_no_empty_folder(storage: Storage) -> None:
    storage.put("f/g/h", b"x")
    storage.put("f/other", b"x")
    storage.delete("f/g/h")
    assert set(storage.list("f")) == {ListEntry("other", False)}
    storage.delete("f/g/h")


def test_delete_folder(storage: Storage) -> None:
    for key in ("f/g/one", "f/g/two/three", "f/gone"):
        storage.put(key, b"x")
    storage.delete_folder("f/g")
    storage.delete_folder("f/nothing")
    assert set(storage.list("f")) == {ListEntry("gone", False)}


def test_open_reads_ranges(storage: Storage) -> None:
    data = bytes(range(256)) * 9000  # more than two pieces
    storage.put("big", data)
    with storage.open("big") as blob:
        assert blob.size == len(data)
        assert b"".join(blob.pieces()) == data
        assert b"".join(blob.pieces(5, 6)) == data[5:6]
        assert b"".join(blob.pieces(1_000_000)) == data[1_000_000:]
        assert b"".join(blob.pieces(7, 7)) == b""
        assert blob.read(10) == data[:10]
        assert blob.read(10) == data[10:20]


def test_an_open_object_stays_readable_after_deletion(storage: Storage) -> None:
    storage.put("f/key", b"before")
    with storage.open("f/key") as blob:
        storage.put("f/key", b"after!")
        storage.delete("f/key")
        assert b"".join(blob.pieces()) == b"before"


def test_stage_is_invisible_until_committed(storage: Storage) -> None:
    buffer = bytearray(b"abc")

    def pieces() -> Iterator[memoryview]:
        for piece in (b"abc", b"def"):
            buffer[:] = piece  # the same memory each time, as the receiver does
            yield memoryview(buffer)

    handle = storage.stage(LAYER, pieces())
    assert not exists(storage, LAYER)
    assert [(stage.handle, stage.key) for stage in storage.stages()] == [(handle, LAYER)]
    assert storage.is_staged(handle)
    if storage.reads_stages:
        with storage.open_staged(handle) as blob:
            assert (blob.size, blob.read()) == (6, b"abcdef")
    storage.put(LAYER, b"what a broken push left")
    storage.commit(handle)
    assert storage.get(LAYER) == b"abcdef"
    assert list(storage.stages()) == []
    with contextlib.suppress(NotFound):
        storage.commit(handle)
    assert storage.get(LAYER) == b"abcdef"
    with pytest.raises(NotFound):
        storage.open_staged(handle)
    assert not storage.is_staged(handle)
    storage.abandon(handle)
    assert storage.get(LAYER) == b"abcdef"


def test_a_commit_can_be_repeated_without_atomic_create(storage: Storage) -> None:
    if storage.creates_atomically:
        pytest.skip("one record decides here, for good")
    first, second = (storage.stage(LAYER, [data]) for data in (b"first", b"second"))
    for handle, data in ((first, b"first"), (second, b"second"), (first, b"first")):
        storage.commit(handle)
        storage.abandon(handle)
        assert storage.get(LAYER) == data
    storage.clean(time.time() + 60)
    assert storage.get(LAYER) == b"first"


def test_an_empty_layer(storage: Storage) -> None:
    storage.commit(storage.stage(LAYER, []))
    assert storage.stat(LAYER).size == 0
    with storage.open(LAYER) as blob:
        assert list(blob.pieces()) == []


def test_abandon(storage: Storage) -> None:
    handle = storage.stage(LAYER, [b"abc"])
    storage.abandon(handle)
    storage.abandon(handle)
    assert list(storage.stages()) == []
    assert not exists(storage, LAYER)


def test_a_failed_stage_leaves_nothing(storage: Storage) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"abc"
        raise KeyError("client gone")

    with pytest.raises(KeyError):
        storage.stage(LAYER, pieces())
    assert list(storage.stages()) == []


def test_a_committed_missing_handle_makes_no_folder(storage: Storage) -> None:
    handle = storage.stage(LAYER, [b"abc"])
    storage.abandon(handle)
    with pytest.raises(NotFound):
        storage.commit(handle)
    assert list(storage.list("images")) == []


def test_check(storage: Storage) -> None:
    storage.put("images/x", b"")
    storage.check()
    assert set(storage.list("images")) == {ListEntry("x", False)}


def test_concurrent_puts_into_folders_that_are_deleted(storage: Storage) -> None:
    """One thread deletes an empty folder while another puts an object into it: no put is lost."""
    failures: list[BaseException] = []
    rounds = 150 if isinstance(storage, FileStorage) else 20  # elsewhere folders do not exist

    def churn(name: str) -> None:
        try:
            for _ in range(rounds):
                storage.put(f"f/g/{name}", name.encode())
                assert storage.get(f"f/g/{name}") == name.encode()
                storage.delete(f"f/g/{name}")
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=churn, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert list(storage.list("f")) == []


def test_every_method_of_the_contract_passes_through_the_marker() -> None:
    """An inherited method would write without the marker, or miss that of the driver."""
    methods = {name for name in vars(Storage) if callable(vars(Storage)[name]) and name[0] != "_"}
    assert len(methods) > 20
    assert methods <= vars(marker.MarkedStorage).keys()


def test_writes_need_the_marker(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """No store or another store is mounted: writes by `storage` itself simulate it."""
    monkeypatch.setattr(marker, "_SETTLE", 0.0)
    storage.prepare()
    kept = marker.MarkedStorage(storage)
    kept.prepare()
    id = marker.read(storage)
    assert id is not None
    assert marker.is_there(storage)
    kept.put("repositories/a/b/tag_x", b"1")
    handle = kept.stage(LAYER, [b"layer"])
    for absent in (None, b"store-" + b"0" * 32, b"", b"\xff"):
        if absent is None:
            storage.delete(marker.KEY)
        else:
            storage.put(marker.KEY, absent)
        time.sleep(storage.marker_seconds)
        for refused in (
            lambda: kept.require_marker(),
            lambda: kept.check(),
            lambda: kept.put("repositories/a/b/tag_x", b"2"),
            lambda: kept.put_all({"repositories/a/b/tag_x": b"2"}),
            lambda: kept.create("repositories/a/b/tag_y", b"2"),
            lambda: kept.stage_values({"repositories/a/b/tag_y": b"2"}),
            lambda: kept.delete("repositories/a/b/tag_x"),
            lambda: kept.delete_if("repositories/a/b/tag_x", b"1"),
            lambda: kept.delete_folder("repositories/a"),
            lambda: kept.stage(LAYER, [b"2"]),
            lambda: kept.commit(handle),
            lambda: kept.clean(0),
        ):
            with pytest.raises(Unavailable, match=f"{id}. Mount that store again"):
                refused()
        assert kept.get("repositories/a/b/tag_x") == b"1"
        assert [entry.name for entry in kept.list("repositories/a/b")] == ["tag_x"]
    storage.put(marker.KEY, id.encode())
    kept.commit(handle)
    with kept.open(LAYER) as blob:
        assert blob.read() == b"layer"
    again = marker.MarkedStorage(storage, pinned=id)
    again.prepare()
    again.put("repositories/a/b/tag_x", b"3")
    with pytest.raises(Refused, match=f"the store has the marker {id}, not store-1"):
        marker.MarkedStorage(storage, pinned="store-1").prepare()
    again.delete_folder("repositories/a")  # a given store is refused while it holds repositories


def test_nodes_that_start_together_agree_on_the_marker(storage: Storage) -> None:
    storage.prepare()
    nodes = [marker.MarkedStorage(storage) for _ in range(4)]
    with ThreadPoolExecutor(len(nodes)) as pool:
        list(pool.map(lambda node: node.prepare(), nodes))
    for node in nodes:
        node.require_marker()
