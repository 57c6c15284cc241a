"""The GCS driver beyond the contract, with a strict fake; see also test_contract.py.

Real Google Cloud Storage is unproven: see tests/backends/fakegcs.py.
"""

from __future__ import annotations

import secrets
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.backends.fakegcs import FakeGcs
from tests.backends.proxy import Proxy
from tests.waiting import wait_for
from v1registry.storage import ListEntry, Storage, retry
from v1registry.storage.errors import NotFound, Refused, StoreFull, Unavailable
from v1registry.storage.gcs import json_api
from v1registry.storage.gcs.json_api import GcsStorage

LAYER = "images/" + "a" * 64 + "/layer"
KIB = 1024
CHUNK = 256 * KIB
MIB = 1024 * KIB


@pytest.fixture
def fake(fake_gcs: FakeGcs) -> Iterator[FakeGcs]:
    yield fake_gcs
    fake_gcs.faults.clear()
    fake_gcs.quotas.clear()
    fake_gcs.page, fake_gcs.rounds, fake_gcs.moves, fake_gcs.conditions = 1000, 1, True, True
    fake_gcs.ranges = True
    fake_gcs.kept_of_chunk, fake_gcs.spoils, fake_gcs.stands_still = None, False, False


@pytest.fixture
def root() -> str:
    return secrets.token_hex(8)


@pytest.fixture
def storage(fake: FakeGcs, root: str) -> GcsStorage:
    return GcsStorage(fake.options(storage_path=f"/{root}", gcs_chunk_size=CHUNK))


@pytest.fixture
def proxied(fake: FakeGcs, root: str) -> Iterator[tuple[GcsStorage, Proxy]]:
    with Proxy(fake.port) as proxy:
        address = f"http://127.0.0.1:{proxy.port}"
        own = {"gcs_endpoint": address, "gcs_chunk_size": CHUNK, "gcs_read_timeout": 2}
        storage = GcsStorage(fake.options(storage_path=f"/{root}", **own))
        storage.put("warm", b"up")  # the token is there
        yield storage, proxy


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry after a short pause; other tests check how long the pauses are."""
    monkeypatch.setattr(retry, "PAUSES", (0.01, 0.01, 0.01))


def pieces(data: bytes, size: int = 100_000) -> Iterator[memoryview]:
    """Yield views of one buffer that is reused, as the receiver does."""
    buffer = bytearray(size)
    for at in range(0, len(data), size):
        part = data[at : at + size]
        buffer[: len(part)] = part
        yield memoryview(buffer)[: len(part)]


def asked(fake: FakeGcs, act: Callable[[], object], *, failing: type[Exception] | None = None):
    """Return the requests that a call sends."""
    before = len(fake.requests)
    if failing is None:
        act()
    else:
        with pytest.raises(failing):
            act()
    return [request for request in fake.requests[before:] if request != "POST /token"]


# -- keys ---------------------------------------------------------------------------------------


def test_keys_are_those_of_0x(fake: FakeGcs, storage: GcsStorage, root: str) -> None:
    odd = "repositories/a/b%252Fc+~/tag_x"
    storage.put(odd, b"id")
    assert fake.objects[f"{root}/{odd}"].data == b"id"
    assert list(storage.list("repositories/a")) == [ListEntry("b%252Fc+~", True)]
    assert list(storage.list("repositories/a/b%252Fc+~")) == [ListEntry("tag_x", False)]
    assert storage.get(odd) == b"id"
    assert "images/x/json" not in fake.objects
    GcsStorage(fake.options(storage_path="/")).put("images/x/json", b"")
    assert fake.objects.pop("images/x/json").data == b""


def test_folder_markers_of_other_programs_are_not_listed(
    fake: FakeGcs, storage: GcsStorage, root: str
) -> None:
    fake.store(f"{root}/f/", b"", {})
    storage.put("f/one", b"")
    assert list(storage.list("f")) == [ListEntry("one", False)]
    storage.delete_folder("f")
    assert list(storage.list("f")) == []
    assert fake.names(f"{root}/f") == []


def test_listing_pages(fake: FakeGcs, storage: GcsStorage, root: str) -> None:
    fake.page = 3
    for number in range(4):
        fake.store(f"{root}/f/{number}/x", b"", {})
        fake.store(f"{root}/f/tag_{number}", b"", {})
    requests = asked(fake, lambda: storage.list("f").__next__())
    assert len(requests) == 1  # a page is asked for when it is wanted
    fake.fail(503, matches="pageToken")
    found = list(storage.list("f"))
    assert len(found) == len(set(found)) == 8
    assert ListEntry("3", True) in found
    assert ListEntry("tag_3", False) in found


def test_deleting_by_batches_tags_first(fake: FakeGcs, storage: GcsStorage, root: str) -> None:
    for number in range(205):
        fake.store(f"{root}/f/tag_{number:03}", b"", {})
        fake.store(f"{root}/f/{number:03}/json", b"", {})
    requests = asked(fake, lambda: storage.delete_folder("f"))
    assert fake.names(f"{root}/f") == []
    assert sum(request.startswith("POST /batch") for request in requests) == 6
    deleted = [request for request in requests if request.startswith("batched DELETE")]
    assert ["tag_" in request for request in deleted] == [True] * 205 + [False] * 205


def test_an_object_that_a_batch_cannot_delete_is_named(
    fake: FakeGcs, storage: GcsStorage, root: str
) -> None:
    storage.put("f/one", b"")
    fake.fail(503, times=99, matches="POST /batch")
    storage.delete_folder("f")
    assert fake.names(f"{root}/f") == []
    storage.put("f/one", b"")
    fake.fail(403, times=99, matches="DELETE ", reason="forbidden")
    with pytest.raises(Refused, match="f/one"):
        storage.delete_folder("f")


def test_objects_may_not_be_cached(fake: FakeGcs, storage: GcsStorage, root: str) -> None:
    storage.put("a", b"")
    storage.create("b", b"")
    storage.commit(storage.stage(LAYER, [bytes(CHUNK + 1)]))
    for name in ("a", "b", LAYER):
        assert fake.objects[f"{root}/{name}"].properties["cacheControl"] == "no-store"


# -- uploads --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "puts"),
    [(0, 0), (1, 0), (CHUNK, 0), (CHUNK + 1, 2), (2 * CHUNK, 2), (3 * CHUNK - 1, 3)],
)
def test_chunks(fake: FakeGcs, storage: GcsStorage, size: int, puts: int) -> None:
    data = secrets.token_bytes(size)
    handles: list[str] = []
    requests = asked(fake, lambda: handles.append(storage.stage(LAYER, pieces(data))))
    assert [request[:4] for request in requests] == ["POST", *["PUT "] * puts]
    [upload] = storage.stages()
    assert (upload.handle, upload.key) == (handles[0], LAYER)
    assert abs(upload.modified - time.time()) < 60
    requests = asked(fake, lambda: storage.commit(handles[0]))
    assert len(requests) == 1
    assert "/moveTo/" in requests[0]
    assert storage.get(LAYER) == data


def test_a_small_layer_takes_one_request(fake: FakeGcs, root: str) -> None:
    storage = GcsStorage(fake.options(storage_path=root))
    for size, methods in ((MIB, ["POST"]), (MIB + 1, ["POST", "PUT "])):
        requests = asked(fake, lambda size=size: storage.stage(LAYER, pieces(bytes(size))))
        assert [request[:4] for request in requests] == methods


def test_chunks_beyond_the_memory_limit_use_files(
    fake: FakeGcs, root: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = {"storage_path": root, "gcs_chunk_size": CHUNK, "gcs_upload_memory": CHUNK}
    storage = GcsStorage(fake.options(**own))
    data = secrets.token_bytes(5 * CHUNK // 2)
    fake.fail(503, times=99, every=3, matches="PUT ")
    assert staged(storage, data) == data
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    with pytest.raises(Unavailable, match="TMPDIR"):
        storage.stage(LAYER, pieces(data))
    assert len(list(storage.stages())) == 1


def test_a_disconnected_client_leaves_nothing(fake: FakeGcs, storage: GcsStorage) -> None:
    sessions = set(fake.sessions)

    def leaving() -> Iterator[bytes]:
        yield bytes(3 * CHUNK)
        [running] = set(fake.sessions) - sessions
        assert len(fake.sessions[running].data) == 2 * CHUNK
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        storage.stage(LAYER, leaving())
    assert set(fake.sessions) == sessions
    assert list(storage.stages()) == []


@pytest.mark.parametrize("moves", [True, False])
def test_many_commit_one_upload(fake: FakeGcs, root: str, moves: bool) -> None:
    """Several nodes execute one commit record: each commits or gets NotFound."""
    fake.moves = moves
    options = fake.options(storage_path=root, gcs_chunk_size=CHUNK)
    stores = [GcsStorage(options) for _ in range(8)]
    data = secrets.token_bytes(2 * CHUNK)
    for _ in range(5):
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


def test_a_move_whose_response_is_lost(fake: FakeGcs, storage: GcsStorage) -> None:
    """The second attempt finds nothing to move; the caller then checks which layer is in place."""
    handle = storage.stage(LAYER, [b"abc"])
    fake.fail(0, matches="/moveTo/", when="after")
    with pytest.raises(NotFound):
        storage.commit(handle)
    assert storage.get(LAYER) == b"abc"


@pytest.mark.parametrize("rounds", [1, 4])
def test_a_store_without_move_rewrites(fake: FakeGcs, root: str, rounds: int) -> None:
    fake.moves, fake.rounds = False, rounds
    own = {"storage_path": root, "gcs_storage_class": "NEARLINE"}
    storage = GcsStorage(fake.options(**own))
    handle = storage.stage(LAYER, [b"abc"])
    fake.fail(503, matches="/rewriteTo/")
    requests = asked(fake, lambda: storage.commit(handle))
    assert sum("/rewriteTo/" in request for request in requests) == rounds + 1
    assert storage.get(LAYER) == b"abc"
    assert list(storage.stages()) == []
    assert fake.objects[f"{root}/{LAYER}"].properties["storageClass"] == "NEARLINE"
    with pytest.raises(NotFound):
        storage.commit(handle)


def test_only_layers_get_the_storage_class(fake: FakeGcs, root: str) -> None:
    own = {"storage_path": root, "gcs_storage_class": "COLDLINE", "gcs_chunk_size": CHUNK}
    storage = GcsStorage(fake.options(**own))
    storage.put("small", b"")
    storage.commit(storage.stage("one", [b"x"]))
    storage.commit(storage.stage("many", [bytes(2 * CHUNK)]))
    kept = {name: fake.objects[f"{root}/{name}"].properties for name in ("small", "one", "many")}
    classes = {name: properties["storageClass"] for name, properties in kept.items()}
    assert classes == {"small": "STANDARD", "one": "COLDLINE", "many": "COLDLINE"}
    wrong = GcsStorage(fake.options(storage_path=root, gcs_storage_class="COLD"))
    with pytest.raises(Refused, match="Invalid storage class"):
        wrong.stage(LAYER, [b""])


def test_uploads_of_other_programs_are_left_alone(fake: FakeGcs, storage: GcsStorage, root: str):
    fake.store(f"{root}/uploads/x", b"", {})
    fake.store(f"{root}/_v1registry/uploads/without-a-key", b"", {})
    assert list(storage.stages()) == []


# -- uploads that break ------------------------------------------------------------------------------


def staged(storage: GcsStorage, data: bytes) -> bytes:
    handle = storage.stage(LAYER, pieces(data))
    with storage.open_staged(handle) as blob:
        return blob.read()


@pytest.mark.parametrize("kept", [0, CHUNK, 3 * CHUNK])
@pytest.mark.parametrize("last", [False, True])
def test_a_chunk_that_is_stored_in_part(fake: FakeGcs, root: str, kept: int, last: bool) -> None:
    storage = GcsStorage(fake.options(storage_path=root, gcs_chunk_size=4 * CHUNK))
    data = secrets.token_bytes(8 * CHUNK)

    def feed() -> Iterator[bytes]:
        if not last:
            fake.kept_of_chunk = kept
        yield data[: 4 * CHUNK]
        yield data[4 * CHUNK : 5 * CHUNK]  # now the first chunk goes
        if last:
            fake.kept_of_chunk = kept
        yield data[5 * CHUNK :]

    handle = storage.stage(LAYER, feed())
    with storage.open_staged(handle) as blob:
        assert blob.read() == data
    assert fake.kept_of_chunk is None


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("status", [0, 503])
def test_a_chunk_whose_response_is_lost(
    fake: FakeGcs, storage: GcsStorage, when: str, status: int
) -> None:
    """Each chunk fails once, stored or not; the next request asks how much was stored."""
    data = secrets.token_bytes(3 * CHUNK + 5)
    fake.fail(status, times=99, every=3, matches="PUT ", when=when)
    assert staged(storage, data) == data


def test_a_connection_that_breaks_in_a_chunk(proxied: tuple[GcsStorage, Proxy]) -> None:
    storage, proxy = proxied
    data = secrets.token_bytes(6 * CHUNK)

    def feed() -> Iterator[bytes]:
        for at in range(0, len(data), CHUNK):
            yield data[at : at + CHUNK]
            if at == 2 * CHUNK:
                proxy.drop()
            if at == 4 * CHUNK:
                proxy.cut_after, proxy.cuts = 1, 1

    handle = storage.stage(LAYER, feed())
    with storage.open_staged(handle) as blob:
        assert blob.read() == data
    assert proxy.cuts == 0


@pytest.mark.parametrize("status", [404, 410])
def test_an_expired_session(fake: FakeGcs, storage: GcsStorage, status: int) -> None:
    fake.fail(status, times=99, matches="PUT ", reason="uploadGone")
    with pytest.raises(Unavailable, match="session of the upload has expired"):
        storage.stage(LAYER, [bytes(2 * CHUNK)])
    assert list(storage.stages()) == []


@pytest.mark.usefixtures("hasty")
def test_a_session_that_cannot_be_started(fake: FakeGcs, storage: GcsStorage) -> None:
    fake.fail(503, times=99, matches="resumable")
    with pytest.raises(Unavailable):
        storage.stage(LAYER, [bytes(2 * CHUNK)])
    fake.faults.clear()
    fake.fail(403, times=99, matches="resumable", reason="forbidden")
    with pytest.raises(Refused):
        storage.stage(LAYER, [bytes(2 * CHUNK)])
    assert list(storage.stages()) == []


def test_an_upload_without_progress(fake: FakeGcs, storage: GcsStorage) -> None:
    fake.stands_still = True
    with pytest.raises(Unavailable, match="stands still at byte 0"):
        storage.stage(LAYER, [bytes(2 * CHUNK)])
    assert list(storage.stages()) == []


def test_an_upload_that_is_damaged(fake: FakeGcs, storage: GcsStorage) -> None:
    fake.spoils = True
    with pytest.raises(Unavailable, match="other bytes than were sent"):
        storage.stage(LAYER, [b"x" * 3 * CHUNK])
    assert list(storage.stages()) == []


# -- creating ----------------------------------------------------------------------------------------


def test_create_succeeds_although_its_response_is_lost(fake: FakeGcs, storage: GcsStorage) -> None:
    """The first attempt succeeds, but its response is lost: the second must return True as well."""
    fake.fail(0, matches="ifGenerationMatch", when="after")
    assert storage.create("record", b"mine") is True
    fake.fail(0, matches="ifGenerationMatch", when="before")
    assert storage.create("record", b"other") is False
    assert storage.get("record") == b"mine"


def test_a_store_that_ignores_preconditions_is_refused(fake: FakeGcs, root: str) -> None:
    fake.conditions = False
    storage = GcsStorage(fake.options(storage_path=root))
    with pytest.raises(Refused, match="Set gcs_conditional_writes: false"):
        storage.prepare()
    assert fake.names(root) == []
    settled = GcsStorage(fake.options(storage_path=root, gcs_conditional_writes=False))
    assert not settled.creates_atomically
    settled.prepare()
    assert (settled.create("a", b"1"), settled.create("a", b"2")) == (True, False)
    assert settled.get("a") == b"1"


def test_leftovers_of_the_check_are_cleaned(storage: GcsStorage) -> None:
    storage.put("_v1registry/check-0123", b"true")
    assert storage.clean(time.time() - 60) == 0
    assert storage.clean(time.time() + 60) == 1
    assert list(storage.list("_v1registry")) == []


# -- URLs ------------------------------------------------------------------------------------------


def test_url_works_without_credentials(
    storage: GcsStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.put("odd/b%252Fc+~", b"0123456789")
    url = str(storage.url("odd/b%252Fc+~"))
    assert "X-Goog-Expires=1200" in url
    with urllib.request.urlopen(url, timeout=20) as answer:
        assert answer.read() == b"0123456789"
    ranged = urllib.request.Request(url, headers={"Range": "bytes=2-3"})
    with urllib.request.urlopen(ranged, timeout=20) as answer:
        assert (answer.status, answer.read()) == (206, b"23")
    for wrong in (f"{url[:-4]}0000", url.replace("odd/", "odd2/"), url.replace("=1200", "=9000")):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(wrong, timeout=20)
    monkeypatch.setattr(json_api, "URL_SECONDS", 1)
    short = str(storage.url("odd/b%252Fc+~"))
    begin = datetime.strptime(short.partition("X-Goog-Date=")[2][:16], "%Y%m%dT%H%M%SZ")
    assert abs((datetime.utcnow() - begin).total_seconds()) < 60

    def status() -> int:
        try:
            with urllib.request.urlopen(short, timeout=20) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    assert wait_for(lambda: (found := status()) != 200 and found) == 400


# -- what is tried again, and what it is called ------------------------------------------------------


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (408, "timeout"),
        (429, "rateLimitExceeded"),
        (500, "backendError"),
        (502, "badGateway"),
        (503, "backendError"),
        (504, "gatewayTimeout"),
        (403, "userRateLimitExceeded"),
        (0, "no answer"),
    ],
)
def test_temporary_errors_are_retried(
    fake: FakeGcs, storage: GcsStorage, status: int, reason: str
) -> None:
    storage.put("a", b"1")
    for act in (
        lambda: storage.put("a", b"2"),
        lambda: storage.get("a"),
        lambda: storage.stat("a"),
        lambda: list(storage.list("x")),
        lambda: storage.delete("a"),
    ):
        fake.fail(status, times=1, reason=reason)
        assert len(asked(fake, act)) == 2


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    ("status", "reason", "failure"),
    [
        (400, "invalid", Refused),
        (401, "authError", Refused),
        (403, "forbidden", Refused),
        (403, "quotaExceeded", StoreFull),
        (403, "rateLimitExceeded", Unavailable),
        (412, "conditionNotMet", Refused),
        (429, "rateLimitExceeded", Unavailable),
        (501, "notImplemented", Refused),
        (503, "backendError", Unavailable),
        (507, "full", Unavailable),
    ],
)
def test_errors_are_mapped_to_storage_errors(
    fake: FakeGcs, storage: GcsStorage, status: int, reason: str, failure: type[Exception]
) -> None:
    fake.fail(status, times=99, reason=reason, matches="/storage/")
    for act in (
        lambda: storage.get("a"),
        lambda: storage.stat("a"),
        lambda: storage.put("a", b""),
        lambda: list(storage.list("a")),
        lambda: storage.stage(LAYER, [b""]),
    ):
        with pytest.raises(failure) as caught:
            act()
        assert type(caught.value) is failure


def test_retry_after_is_respected(fake: FakeGcs, storage: GcsStorage) -> None:
    storage.put("a", b"1")
    fake.fail(429, retry_after=1, reason="rateLimitExceeded")
    begin = time.monotonic()
    assert storage.get("a") == b"1"
    assert time.monotonic() - begin >= 1
    fake.fail(503, times=99, retry_after=60)
    assert len(asked(fake, lambda: storage.get("a"), failing=Unavailable)) == 1  # our client waits


def test_missing_keys_cost_one_request(fake: FakeGcs, storage: GcsStorage) -> None:
    storage.put("warm", b"up")
    for read in (storage.get, storage.open, storage.stat):
        assert len(asked(fake, lambda read=read: read("nothing/here"), failing=NotFound)) == 1


def test_a_missing_bucket_is_refused(fake: FakeGcs) -> None:
    for bucket, text in (("none", "boto_bucket names a bucket"), ("-", "Bucket names must start")):
        storage = GcsStorage(fake.options(boto_bucket=bucket))
        for act in (
            lambda storage=storage: storage.get("a"),
            lambda storage=storage: storage.put("a", b""),
            lambda storage=storage: list(storage.list("a")),
            lambda storage=storage: storage.stage(LAYER, [b""]),
            storage.prepare,
        ):
            with pytest.raises(Refused, match=text):
                act()


def test_a_full_quota_is_full(fake: FakeGcs, storage: GcsStorage, root: str) -> None:
    storage.put("before", b"x")
    fake.quotas[root] = 4096
    with pytest.raises(StoreFull):
        storage.put("a", bytes(10_000))
    for size in (10_000, 3 * CHUNK):
        with pytest.raises(StoreFull):
            storage.stage(LAYER, [bytes(size)])
    assert list(storage.stages()) == []


# -- downloads that break ----------------------------------------------------------------------------


def test_a_broken_download_is_resumed(proxied: tuple[GcsStorage, Proxy]) -> None:
    storage, proxy = proxied
    data = secrets.token_bytes(4 * MIB)
    storage.commit(storage.stage(LAYER, [data]))
    proxy.cut_after, proxy.cuts = 300_000, 5
    with storage.open(LAYER) as blob:
        assert b"".join(blob.pieces()) == data
    assert proxy.cuts == 0
    proxy.cuts = 2
    with storage.open(LAYER) as blob:
        assert b"".join(blob.pieces(1 * MIB, 3 * MIB)) == data[1 * MIB : 3 * MIB]


def test_a_download_that_cannot_be_resumed_raises(
    fake: FakeGcs, root: str, proxied: tuple[GcsStorage, Proxy]
) -> None:
    storage, proxy = proxied
    fake.store(f"{root}/{LAYER}", secrets.token_bytes(8 * MIB), {})
    with storage.open(LAYER) as blob:
        read = blob.pieces()
        next(read)
        proxy.refusing = True
        proxy.drop()
        with pytest.raises(Unavailable):
            list(read)


def test_an_object_replaced_while_it_is_read_is_not_mixed(
    fake: FakeGcs, root: str, proxied: tuple[GcsStorage, Proxy]
) -> None:
    storage, proxy = proxied
    fake.store(f"{root}/{LAYER}", bytes(8 * MIB), {})
    with storage.open(LAYER) as blob:
        read = blob.pieces()
        next(read)
        fake.store(f"{root}/{LAYER}", b"x" * 8 * MIB, {})
        proxy.drop()
        with pytest.raises(Unavailable, match="deleted while it was being read"):
            list(read)


def test_a_store_that_ignores_the_range(
    fake: FakeGcs, root: str, proxied: tuple[GcsStorage, Proxy]
) -> None:
    """GCS does so if it decompresses an object, because it has no ranges then."""
    storage, proxy = proxied
    fake.store(f"{root}/{LAYER}", secrets.token_bytes(8 * MIB), {})
    with storage.open(LAYER) as blob:
        read = blob.pieces()
        next(read)
        fake.ranges = False
        proxy.drop()
        with pytest.raises(Unavailable, match="another range than the request"):
            list(read)


def test_a_redirect_is_refused(fake: FakeGcs, storage: GcsStorage) -> None:
    fake.fail(302, times=99, reason="moved", matches="/storage/")
    for act in (lambda: storage.get("a"), lambda: storage.stage(LAYER, [bytes(2 * MIB)])):
        with pytest.raises(Refused):
            act()


def test_an_unreachable_or_silent_store_is_unavailable(proxied: tuple[GcsStorage, Proxy]) -> None:
    storage, proxy = proxied
    storage.put("a", b"x")
    proxy.refusing = True
    proxy.drop()
    for fault in ("refusing", "silent"):
        setattr(proxy, fault, True)
        begin = time.monotonic()
        with pytest.raises(Unavailable):
            storage.get("a")
        assert time.monotonic() - begin < 10  # a bound that we promise, not a speed
        setattr(proxy, fault, False)
        assert storage.get("a") == b"x"


def test_read_in_another_thread_than_opened(storage: GcsStorage) -> None:
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
