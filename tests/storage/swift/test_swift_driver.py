"""The Swift driver beyond the contract, with a real Swift; see also test_contract.py.

How it comes to its tokens: test_swift_auth.py.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from swiftclient.exceptions import ClientException

from tests.backends.proxy import Proxy
from tests.backends.swift import TEMP_URL_KEY, Swift
from tests.lib.stores import Domain, image_id, image_json, payload
from tests.needs import needs
from tests.waiting import wait_for
from v1registry.lib.names import ImageId
from v1registry.storage import ListEntry, Storage, exists, keys
from v1registry.storage.errors import NotFound, Refused, StoreFull, Unavailable
from v1registry.storage.loading import load
from v1registry.storage.swift import large_objects, objects
from v1registry.storage.swift.driver import SwiftStorage, prefix

LAYER = "images/" + "a" * 64 + "/layer"
MIB = 1024 * 1024


@pytest.fixture
def root() -> str:
    return secrets.token_hex(8)


@pytest.fixture
def storage(swift: Swift, root: str) -> SwiftStorage:
    return SwiftStorage(swift.options(storage_path=f"/{root}", swift_segment_size=MIB))


@pytest.fixture
def proxied(swift: Swift, root: str) -> Iterator[tuple[SwiftStorage, Proxy]]:
    with Proxy(swift.port) as proxy:
        url = swift.authurl.replace(str(swift.port), str(proxy.port))
        options = swift.options(storage_path=f"/{root}", swift_authurl=url, swift_read_timeout=1)
        yield SwiftStorage(options), proxy


@pytest.fixture
def names(swift: Swift, root: str) -> Callable[[str], list[str]]:
    """List the objects below a folder of the store, as another program sees them."""

    def listed(below: str) -> list[str]:
        _, items = swift.client().get_container("registry", prefix=f"{root}/{below}")
        return [item["name"].removeprefix(f"{root}/{below}") for item in items]

    return listed


# -- names ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "begins"),
    [
        ("/registry", "registry/"),
        ("registry", "registry/"),
        ("/registry/", "registry//"),
        ("/a/b", "a/b/"),
        ("/", "/"),
        (None, "/"),
        ("", "/"),
    ],
)
def test_prefix_is_that_of_0x(path: str | None, begins: str) -> None:
    assert prefix(path) == begins


def test_names_are_those_of_0x(swift: Swift, storage: SwiftStorage, root: str) -> None:
    odd = "repositories/a/b%252Fc+~/tag_x"
    storage.put(odd, b"id")
    assert swift.client().get_object("registry", f"{root}/{odd}")[1] == b"id"
    assert list(storage.list("repositories/a")) == [ListEntry("b%252Fc+~", True)]
    assert list(storage.list("repositories/a/b%252Fc+~")) == [ListEntry("tag_x", False)]


def test_names_that_begin_with_a_slash(swift: Swift, root: str) -> None:
    client = swift.client()
    client.put_container(root)
    client.put_object(root, "/images/x/json", b"of 0.x")
    options = swift.options(storage_path="/", swift_container=root, swift_temp_url_key=TEMP_URL_KEY)
    storage = SwiftStorage(options)
    storage.prepare()
    assert storage.get("images/x/json") == b"of 0.x"
    storage.commit(storage.stage("images/x/layer", [b"layer"]))
    assert client.get_object(root, "/images/x/layer")[1] == b"layer"
    assert set(storage.list("images/x")) == {ListEntry("json", False), ListEntry("layer", False)}
    assert fetch(str(storage.url("images/x/layer"))) == b"layer"
    storage.delete_folder("images")
    assert client.get_container(root)[1] == []


def test_folder_markers_of_other_programs_are_not_listed(
    swift: Swift, storage: SwiftStorage, root: str
) -> None:
    client = swift.client()
    client.put_object("registry", f"{root}/f/", b"")
    client.put_object("registry", f"{root}/f/g", b"", content_type="application/directory")
    storage.put("f/g/one", b"")
    storage.put("f/one", b"")
    assert set(storage.list("f")) == {ListEntry("one", False), ListEntry("g", True)}


def test_listing_and_deleting_page(storage: SwiftStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "_PAGE", 4)
    for number in range(10):
        storage.put(f"f/{number}/x", b"")
        storage.put(f"f/{number}-", b"")
    storage.put("f/tag_a", b"")
    assert len(list(storage.list("f"))) == 21
    assert len(set(storage.list("f"))) == 21
    storage.delete_folder("f")
    assert list(storage.list("f")) == []


# -- segments ---------------------------------------------------------------------------------------


def pieces(data: bytes, size: int = 256 * 1024) -> Iterator[memoryview]:
    """Yield views of one buffer that is reused, as the receiver does."""
    buffer = bytearray(size)
    for at in range(0, len(data), size):
        part = data[at : at + size]
        buffer[: len(part)] = part
        yield memoryview(buffer)[: len(part)]


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB])
def test_layers_are_segments_that_0x_reads(
    swift: Swift, storage: SwiftStorage, root: str, names: Callable[[str], list[str]], size: int
) -> None:
    data = secrets.token_bytes(size)
    handle = storage.stage(LAYER, pieces(data))
    [stage] = storage.stages()
    assert abs(stage.modified - time.time()) < 60
    segments = names(f"_v1registry/segments/{LAYER}/{handle.split()[0]}/")
    assert segments == [*(f"{number:08}" for number in range(1, 1 - -size // MIB)), "list"]
    with storage.open_staged(handle) as blob:
        assert (blob.size, blob.read()) == (size, data)
    assert not exists(storage, LAYER)
    storage.commit(handle)
    assert storage.stat(LAYER).size == size
    # as 0.x does it: HEAD for the size, GET for the bytes
    client, name = swift.client(), f"{root}/{LAYER}"
    assert client.head_object("registry", name)["content-length"] == str(size)
    assert client.get_object("registry", name)[1] == data
    assert names("_v1registry/uploads/") == []


@pytest.mark.parametrize("count", [3, 4, 9])
def test_more_segments_than_a_manifest_may_have(
    storage: SwiftStorage,
    names: Callable[[str], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    count: int,
) -> None:
    monkeypatch.setattr(large_objects, "_MOST_SEGMENTS", 3)
    data = secrets.token_bytes(count * MIB)
    handle = storage.stage(LAYER, pieces(data))
    parts = [name for name in names("_v1registry/segments/") if "/part-" in name]
    assert len(parts) == (0 if count == 3 else -(-count // 3))
    storage.commit(handle)
    with storage.open(LAYER) as blob:
        assert (blob.size, blob.read()) == (len(data), data)
        assert b"".join(blob.pieces(MIB - 1, 3 * MIB + 1)) == data[MIB - 1 : 3 * MIB + 1]
    storage.delete(LAYER)
    assert names("") == []


def test_a_disconnected_client_leaves_no_segment(
    storage: SwiftStorage, names: Callable[[str], list[str]]
) -> None:
    def leaving() -> Iterator[bytes]:
        yield bytes(2 * MIB + 5)
        [stage] = storage.stages()
        wait_for(lambda: len(names(f"_v1registry/segments/{stage.key}/")) == 2)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        storage.stage(LAYER, leaving())
    assert names("") == []


def test_segments_that_were_replaced(
    storage: SwiftStorage, names: Callable[[str], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cleaner deletes them after a while; a commit deletes old ones at once."""
    first, second, third = (storage.stage(LAYER, [data]) for data in (b"1", b"22", b"333"))
    storage.commit(first)
    storage.commit(second)
    folders = {name.split("/")[0] for name in names(f"_v1registry/segments/{LAYER}/")}
    assert folders == {handle.split()[0] for handle in (first, second, third)}
    assert storage.clean(time.time() - 60) == 0
    assert storage.clean(time.time() + 60) == 1  # not the one in place, nor the one staged
    assert storage.get(LAYER) == b"22"
    monkeypatch.setattr(large_objects, "_SETTLED", -60.0)
    storage.commit(third)
    assert storage.get(LAYER) == b"333"
    folders = {name.split("/")[0] for name in names(f"_v1registry/segments/{LAYER}/")}
    assert folders == {third.split()[0]}
    assert storage.clean(time.time() + 60) == 0


def test_segments_that_were_abandoned(
    storage: SwiftStorage, names: Callable[[str], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They stay as well: a late node may still commit them for a moment."""
    storage.abandon(storage.stage(LAYER, [b"layer"]))
    assert [name.rpartition("/")[2] for name in names("")] == ["00000001"]
    assert storage.clean(time.time() + 60) == 1
    assert names("") == []
    monkeypatch.setattr(large_objects, "_SETTLED", -60.0)
    storage.abandon(storage.stage(LAYER, [b"layer"]))
    assert names("") == []


def test_deleting_a_layer_deletes_its_segments(
    storage: SwiftStorage, names: Callable[[str], list[str]]
) -> None:
    storage.commit(storage.stage(LAYER, [b"one"]))
    storage.delete(LAYER)
    storage.commit(storage.stage(LAYER, [b"other"]))
    storage.delete_folder("images")
    assert names("") == []


def test_segments_that_0x_left_are_deleted(
    swift: Swift, storage: SwiftStorage, root: str, names: Callable[[str], list[str]]
) -> None:
    """0.x replaces or deletes a layer without deleting its segments."""
    other = LAYER.replace("a", "b")
    storage.commit(storage.stage(LAYER, [b"ours"]))
    storage.commit(storage.stage(other, [b"ours"]))
    client = swift.client()
    client.put_object("registry", f"{root}/{LAYER}", b"of 0.x")
    client.delete_object("registry", f"{root}/{other}")
    assert storage.clean(time.time() + 60) == 2
    assert names("") == [LAYER]
    assert storage.get(LAYER) == b"of 0.x"


def test_a_layer_with_other_metadata_keeps_its_segments(
    swift: Swift, storage: SwiftStorage, root: str
) -> None:
    """New metadata remove the note that says which segments the layer consists of."""
    handle = storage.stage(LAYER, [b"layer"])
    storage.commit(handle)
    swift.client().post_object("registry", f"{root}/{LAYER}", {"X-Object-Meta-Project": "x"})
    assert storage.clean(time.time() + 60) == 0
    assert storage.get(LAYER) == b"layer"
    storage.commit(handle)  # a node that carries out the record again
    assert storage.clean(time.time() + 60) == 0
    assert storage.get(LAYER) == b"layer"


def test_a_staged_layer_whose_segments_are_gone(
    swift: Swift, storage: SwiftStorage, root: str, names: Callable[[str], list[str]]
) -> None:
    """It is NotFound, not Unavailable, so that the image can be pushed again."""
    handle = storage.stage(LAYER, pieces(bytes(2 * MIB)))
    [lost] = [name for name in names("") if name.endswith("00000002")]
    swift.client().delete_object("registry", f"{root}/{lost}")
    with pytest.raises(NotFound):
        storage.commit(handle)
    with pytest.raises(NotFound):
        storage.open_staged(handle)
    storage.abandon(handle)
    assert not storage.is_staged(handle)


def test_a_commit_can_be_repeated(storage: SwiftStorage) -> None:
    """A node that repeats a commit record commits its layer again, see lib/images/commit.py."""
    one, other = storage.stage(LAYER, [b"one"]), storage.stage(LAYER, [b"other"])
    storage.commit(one)
    storage.commit(other)
    storage.commit(one)
    assert storage.get(LAYER) == b"one"
    with pytest.raises(NotFound):
        storage.commit(one)
    storage.abandon(other)  # it was committed: nothing happens
    storage.commit(other)
    assert storage.get(LAYER) == b"other"


def test_a_node_that_ended_between_two_steps(storage: SwiftStorage) -> None:
    """The layer is in place and still marked as staged: commit and abandon both succeed."""
    handle = storage.stage(LAYER, [b"layer"])
    mark = f"_v1registry/uploads/{handle.replace(' ', '/')}"
    storage.commit(handle)
    for act in (storage.commit, storage.abandon):
        storage.put(mark, b"")
        act(handle)
        assert storage.get(LAYER) == b"layer"
        assert list(storage.stages()) == []


def test_many_commit_one_upload(swift: Swift, root: str) -> None:
    """Several nodes execute one commit record: each commits or gets NotFound."""
    stores = [SwiftStorage(swift.options(storage_path=root)) for _ in range(8)]
    data = secrets.token_bytes(MIB)
    for _ in range(3):
        handle = stores[0].stage(LAYER, pieces(data))
        barrier, told = threading.Barrier(8), []

        def commit(store: Storage, handle: str = handle, barrier=barrier, told=told) -> None:
            barrier.wait()
            try:
                store.commit(handle)
                told.append("committed")
            except NotFound:
                told.append("gone")

        threads = [threading.Thread(target=commit, args=(store,)) for store in stores]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(told) == 8
        assert "committed" in told
        assert stores[0].get(LAYER) == data
        assert list(stores[0].stages()) == []


def test_first_pushes_of_one_image_in_the_same_instant(swift: Swift, root: str) -> None:
    """Several calls of `create` may succeed here: still, the image is that of one push."""
    for letter in "cd":
        id, barrier = ImageId(image_id(letter)), threading.Barrier(4)
        layers = [f"layer-{number}".encode() for number in range(4)]  # of one size
        jsons = [image_json(id, comment=str(number)) for number in range(4)]

        def push(number: int, id=id, barrier=barrier, jsons=jsons, layers=layers) -> None:
            domain = Domain(SwiftStorage(swift.options(storage_path=root)))
            domain.uploads.put_json(id, jsons[number])
            domain.uploads.put_layer(id, [layers[number]])
            barrier.wait()
            domain.uploads.put_checksum(id, payload(jsons[number], layers[number]), None)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(push, range(4)))
        store = SwiftStorage(swift.options(storage_path=root))
        stayed = layers.index(store.get(keys.image(id, "layer")))
        assert store.get(keys.image(id, "json")) == jsons[stayed]
        [sum] = json.loads(store.get(keys.image(id, "_checksum")))
        assert sum == payload(jsons[stayed], layers[stayed])
        assert not exists(store, keys.image(id, "_inprogress"))


def test_atomic_create_can_be_configured(swift: Swift, root: str) -> None:
    options = swift.options(storage_path=root, swift_conditional_writes=True)
    storage = SwiftStorage(options)
    assert storage.creates_atomically
    storage.prepare()
    assert (storage.create("a", b"1"), storage.create("a", b"2")) == (True, False)
    assert storage.get("a") == b"1"


@needs("swift")
def test_a_store_without_large_objects_is_refused(tmp_path: Path) -> None:
    with Swift(tmp_path, without="slo") as other:
        with pytest.raises(Refused, match="does not support static large objects"):
            SwiftStorage(other.options()).prepare()


# -- temporary URLs ---------------------------------------------------------------------------------


def fetch(url: str, **headers: str) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as answer:
        data = answer.read()
        assert isinstance(data, bytes)
        return data


@pytest.mark.parametrize("digest", ["sha256", "sha512", "sha1"])
def test_temporary_url_works_without_a_token(swift: Swift, root: str, digest: str) -> None:
    more = {"swift_temp_url_key": TEMP_URL_KEY, "swift_temp_url_digest": digest}
    options = swift.options(storage_path=f"/{root}", swift_segment_size=MIB, **more)
    storage, data = SwiftStorage(options), secrets.token_bytes(3 * MIB)
    odd = "images/a%2Fb+ c/layer"
    for key in (LAYER, odd):
        storage.commit(storage.stage(key, pieces(data)))
        url = str(storage.url(key))
        assert fetch(url) == data
        assert fetch(url, Range="bytes=1048570-1048580") == data[1048570:1048581]
    with pytest.raises(urllib.error.HTTPError, match="401"):
        fetch(url.replace("temp_url_sig=", "temp_url_sig=0"))


def test_a_temporary_url_expires(swift: Swift, root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("v1registry.storage.swift.driver.URL_SECONDS", 1)
    options = swift.options(storage_path=f"/{root}", swift_temp_url_key=TEMP_URL_KEY)
    storage = SwiftStorage(options)
    storage.put(LAYER, b"x")
    url = str(storage.url(LAYER))
    assert fetch(url) == b"x"
    with pytest.raises(urllib.error.HTTPError, match="401"):
        wait_for(lambda: fetch(url) != b"x")


def test_the_key_of_a_container_and_a_public_one(swift: Swift, root: str) -> None:
    client = swift.client()
    client.put_container(root, {"X-Container-Meta-Temp-URL-Key": "its own"})
    options = swift.options(swift_container=root)
    assert SwiftStorage(options).url(LAYER) is None
    signing = SwiftStorage({**options, "swift_temp_url_key": "its own"})
    signing.commit(signing.stage(LAYER, [b"layer"]))
    assert fetch(str(signing.url(LAYER))) == b"layer"
    client.post_container(root, {"X-Container-Read": ".r:*,.rlistings"})
    url = str(SwiftStorage(options).url(LAYER))
    assert "temp_url" not in url
    assert fetch(url) == b"layer"


# -- what goes wrong --------------------------------------------------------------------------------


def test_the_driver_is_found_by_name(swift: Swift) -> None:
    assert isinstance(load(swift.options(), lambda function: function()), SwiftStorage)


def test_a_full_quota_is_full(swift: Swift, root: str) -> None:
    client = swift.client()
    client.put_container(root, {"X-Container-Meta-Quota-Bytes": "1000"})
    poor = SwiftStorage(swift.options(swift_container=root))
    with pytest.raises(StoreFull):
        poor.put("a", bytes(10_000))
    with pytest.raises(StoreFull):
        poor.stage(LAYER, [bytes(10_000)])
    assert client.get_container(root)[1] == []


def test_missing_keys_cost_one_request(
    storage: SwiftStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    send, requests = storage._account._send, []
    monkeypatch.setattr(
        storage._account, "_send", lambda *args, **more: requests.append(1) or send(*args, **more)
    )
    for read in (storage.get, storage.open, storage.stat):
        requests.clear()
        with pytest.raises(NotFound):
            read("nothing/here")
        assert len(requests) == 1


def test_a_broken_download_is_resumed(proxied: tuple[SwiftStorage, Proxy]) -> None:
    storage, proxy = proxied
    data = secrets.token_bytes(4 * MIB)
    storage.commit(storage.stage(LAYER, pieces(data)))
    proxy.cut_after, proxy.cuts = 300_000, 5
    with storage.open(LAYER) as blob:
        assert b"".join(blob.pieces()) == data
    assert proxy.cuts == 0
    proxy.cuts = 2
    with storage.open(LAYER) as blob:
        assert b"".join(blob.pieces(1 * MIB, 3 * MIB)) == data[1 * MIB : 3 * MIB]


def test_a_token_that_expires_while_a_download_is_resumed(
    swift: Swift, proxied: tuple[SwiftStorage, Proxy]
) -> None:
    storage, proxy = proxied
    data = secrets.token_bytes(8 * MIB)
    storage.commit(storage.stage(LAYER, pieces(data)))
    with storage.open(LAYER) as blob:
        read = blob.pieces()
        got = next(read)
        swift.forget_tokens()
        proxy.drop()
        assert got + b"".join(read) == data


def test_a_download_that_cannot_be_resumed_raises(proxied: tuple[SwiftStorage, Proxy]) -> None:
    storage, proxy = proxied
    storage.put(LAYER, secrets.token_bytes(8 * MIB))
    with storage.open(LAYER) as blob:
        read = blob.pieces()
        next(read)
        proxy.refusing = True
        proxy.drop()
        with pytest.raises(Unavailable):
            list(read)


@pytest.mark.parametrize("gone", ["replaced", "deleted"])
def test_an_object_replaced_while_it_is_read_is_not_mixed(
    proxied: tuple[SwiftStorage, Proxy], gone: str
) -> None:
    storage, proxy = proxied
    storage.commit(storage.stage(LAYER, pieces(bytes(8 * MIB))))
    with storage.open(LAYER) as blob:
        read = blob.pieces()
        next(read)
        if gone == "replaced":
            storage.commit(storage.stage(LAYER, pieces(b"x" * 8 * MIB)))
        else:
            storage.delete(LAYER)
        proxy.drop()
        with pytest.raises(Unavailable, match=gone):
            list(read)


def test_a_lost_segment_ends_the_download_with_an_error(
    swift: Swift, storage: SwiftStorage, root: str, names: Callable[[str], list[str]]
) -> None:
    """Swift ends the response early: the driver raises instead of returning fewer bytes."""
    storage.commit(storage.stage(LAYER, pieces(secrets.token_bytes(4 * MIB))))
    folder = f"_v1registry/segments/{LAYER}/"
    [lost] = [name for name in names(folder) if name.endswith("00000004")]
    swift.client().delete_object("registry", f"{root}/{folder}{lost}")
    with storage.open(LAYER) as blob, pytest.raises(Unavailable):
        list(blob.pieces())


def test_an_unreachable_or_silent_store_is_unavailable(
    proxied: tuple[SwiftStorage, Proxy],
) -> None:
    storage, proxy = proxied
    storage.put("a", b"x")
    proxy.refusing = True
    proxy.drop()
    begin = time.monotonic()
    with pytest.raises(Unavailable):
        storage.get("a")
    assert time.monotonic() - begin < 10  # a bound that we promise, not a speed
    proxy.refusing, proxy.silent = False, True
    with pytest.raises(Unavailable):
        storage.get("a")
    proxy.silent = False
    assert storage.get("a") == b"x"


@needs("swift")
def test_a_store_whose_disks_are_gone_is_unavailable(tmp_path: Path) -> None:
    with Swift(tmp_path) as other:
        storage = SwiftStorage(other.options())
        storage.put("a", b"x")
        other.kill("object")
        for act in (
            lambda: storage.get("a"),
            lambda: storage.stat("a"),
            lambda: storage.stage(LAYER, [b"x"]),
        ):
            with pytest.raises(Unavailable):
                act()
        other.kill("container")
        with pytest.raises(Unavailable):
            list(storage.list("images"))


@pytest.mark.parametrize("atomic", [True, False])
def test_create_succeeds_although_its_response_is_lost(
    proxied: tuple[SwiftStorage, Proxy], monkeypatch: pytest.MonkeyPatch, atomic: bool
) -> None:
    """The first attempt succeeds, but its response is lost: the second must return True as well."""
    storage, proxy = proxied
    storage.creates_atomically = atomic
    assert storage.create("warm", b"up")

    def cut(*_: object) -> bool:
        """The request that comes first if `create` is not atomic."""
        proxy.cut_after, proxy.cuts = 1, 1
        return False

    with monkeypatch.context() as patched:
        patched.setattr("v1registry.storage.remote.exists", cut)
        cut()
        assert storage.create("record", b"mine") is True
    assert proxy.cuts == 0
    assert storage.create("record", b"other") is False
    assert storage.get("record") == b"mine"


def test_read_in_another_thread_than_opened(storage: SwiftStorage) -> None:
    """`lib` opens a layer in one thread and reads it in the thread pool."""
    data = secrets.token_bytes(MIB)
    storage.put(LAYER, data)
    got = []
    with storage.open(LAYER) as blob:
        first = blob.read(1000)
        thread = threading.Thread(target=lambda: got.append(blob.read()))
        thread.start()
        thread.join()
    assert first + got[0] == data


def test_a_client_without_rights(swift: Swift, root: str) -> None:
    client = swift.client()
    client.put_container(root)
    guest = swift.options(
        swift_container=root,
        swift_user="test:guest",
        swift_password="guest",
        swift_segment_size=MIB,
    )
    storage = SwiftStorage(guest)
    for act in (storage.check, lambda: storage.get("a"), lambda: list(storage.list("a"))):
        with pytest.raises(Refused, match="may not do this"):
            act()
    # what the documents say it needs is enough
    client.post_container(
        root, {"X-Container-Read": "test:guest", "X-Container-Write": "test:guest"}
    )
    storage.prepare()
    storage.commit(storage.stage(LAYER, pieces(bytes(2 * MIB))))
    assert storage.get(LAYER) == bytes(2 * MIB)
    assert storage.url(LAYER) is None
    storage.delete_folder("images")
    with pytest.raises(ClientException, match="403"):
        swift.client("test:guest", "guest").put_container("other")
