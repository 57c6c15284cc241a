"""The S3 driver beyond the contract, with a real Ceph; see also test_contract.py."""

from __future__ import annotations

import secrets
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from botocore.awsrequest import AWSPreparedRequest

from tests.backends.ceph import Ceph
from tests.backends.proxy import Proxy
from v1registry.storage import ListEntry, Storage
from v1registry.storage.errors import NotFound, Refused, StoreFull, Unavailable
from v1registry.storage.loading import load
from v1registry.storage.remote import prefix, proxies
from v1registry.storage.s3.client import addressing, endpoint
from v1registry.storage.s3.driver import S3Storage, make

LAYER = "images/" + "a" * 64 + "/layer"
MIB = 1024 * 1024


@pytest.fixture
def root() -> str:
    return secrets.token_hex(8)


@pytest.fixture
def storage(ceph: Ceph, root: str) -> S3Storage:
    return S3Storage(ceph.options(storage_path=f"/{root}"))


@pytest.fixture
def proxied(ceph: Ceph, root: str) -> Iterator[tuple[S3Storage, Proxy]]:
    with Proxy(ceph.port) as proxy:
        options = ceph.options(storage_path=f"/{root}", boto_port=proxy.port, s3_read_timeout=1)
        yield S3Storage(options), proxy


def pieces(data: bytes, size: int = 256 * 1024) -> Iterator[memoryview]:
    """Yield views of one buffer that is reused, as the receiver does."""
    buffer = bytearray(size)
    for at in range(0, len(data), size):
        part = data[at : at + size]
        buffer[: len(part)] = part
        yield memoryview(buffer)[: len(part)]


# -- keys ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "begins"),
    [
        ("/registry", "registry/"),
        ("registry", "registry/"),
        ("/registry/", "registry/"),
        ("/a/b", "a/b/"),
        ("//a", "/a/"),
        ("/", ""),
        (None, "test/"),
        ("", "test/"),
    ],
)
def test_prefix_is_that_of_0x(path: str | None, begins: str) -> None:
    assert prefix(path) == begins


def test_keys_are_those_of_0x(ceph: Ceph, storage: S3Storage, root: str) -> None:
    odd = "repositories/a/b%252Fc+~/tag_x"
    storage.put(odd, b"id")
    found = ceph.client().get_object(Bucket="registry", Key=f"{root}/{odd}")
    assert found["Body"].read() == b"id"
    assert list(storage.list("repositories/a")) == [ListEntry("b%252Fc+~", True)]
    assert list(storage.list("repositories/a/b%252Fc+~")) == [ListEntry("tag_x", False)]


def test_folder_markers_of_other_programs_are_not_listed(
    ceph: Ceph, storage: S3Storage, root: str
) -> None:
    ceph.client().put_object(Bucket="registry", Key=f"{root}/f/", Body=b"")
    storage.put("f/one", b"")
    assert list(storage.list("f")) == [ListEntry("one", False)]
    storage.delete_folder("f")
    assert list(storage.list("f")) == []


def test_listing_and_deleting_page(ceph: Ceph, storage: S3Storage, root: str) -> None:
    client = ceph.client()
    with ThreadPoolExecutor(4) as pool:
        put = partial(client.put_object, Bucket="registry", Body=b"")
        list(pool.map(lambda number: put(Key=f"{root}/f/{number:04}/x"), range(1005)))
    storage.put("f/tag_a", b"")
    assert len(set(storage.list("f"))) == 1006
    storage.delete_folder("f")
    assert list(storage.list("f")) == []


# -- uploads --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [5 * MIB - 1, 5 * MIB, 5 * MIB + 1, 13 * MIB])
def test_parts(ceph: Ceph, root: str, size: int) -> None:
    storage = S3Storage(ceph.options(storage_path=root, s3_part_size=5 * MIB))
    data = secrets.token_bytes(size)
    handle = storage.stage(LAYER, pieces(data))
    [upload] = [s for s in storage.stages() if s.handle == handle]
    assert abs(upload.modified - time.time()) < 60
    client, key = ceph.client(), f"{root}/{LAYER}"
    parts = client.list_parts(Bucket="registry", Key=key, UploadId=handle.split()[0])["Parts"]
    rest = size % (5 * MIB)
    assert [part["Size"] for part in parts] == [5 * MIB] * (size // (5 * MIB)) + [rest] * bool(rest)
    storage.commit(handle)
    assert storage.get(LAYER) == data


def test_parts_in_files(ceph: Ceph, root: str) -> None:
    """Two uploads beyond the memory limit alternate, so that both have an incomplete part."""
    options = ceph.options(storage_path=root, s3_part_size=5 * MIB, s3_upload_memory=5 * MIB)
    storage = S3Storage(options)
    datas = [secrets.token_bytes(12 * MIB) for _ in range(2)]
    turn = threading.Barrier(2)

    def in_turn(data: bytes) -> Iterator[memoryview]:
        for piece in pieces(data, MIB):
            turn.wait(20)
            yield piece

    def upload(number: int) -> None:
        key = LAYER.replace("a", "bc"[number], 64)
        storage.commit(storage.stage(key, in_turn(datas[number])))
        assert storage.get(key) == datas[number]

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(upload, range(2)))


def test_a_disconnected_client_leaves_no_part(ceph: Ceph, storage: S3Storage, root: str) -> None:
    def leaving() -> Iterator[bytes]:
        yield bytes(9 * MIB)
        assert len(list(storage.stages())) == 1  # a part is there
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        storage.stage(LAYER, leaving())
    assert "Uploads" not in ceph.client().list_multipart_uploads(Bucket="registry", Prefix=root)


def test_uploads_of_other_programs_are_left_alone(ceph: Ceph) -> None:
    storage = S3Storage(ceph.options(storage_path="/"))
    client, key = ceph.client(), f"backups/{secrets.token_hex(4)}"
    upload = client.create_multipart_upload(Bucket="registry", Key=key)["UploadId"]
    assert key not in [stage.key for stage in storage.stages()]
    client.abort_multipart_upload(Bucket="registry", Key=key, UploadId=upload)


def test_many_complete_one_upload(ceph: Ceph, root: str) -> None:
    """Several nodes execute one commit record: each commits or gets NotFound."""
    stores = [S3Storage(ceph.options(storage_path=root)) for _ in range(8)]
    data = secrets.token_bytes(9 * MIB)
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


def test_a_store_without_conditional_writes(ceph: Ceph, root: str) -> None:
    storage = make(ceph.options(storage_path=root, s3_conditional_writes=False), None)
    assert not storage.creates_atomically
    storage.prepare()
    assert (storage.create("a", b"1"), storage.create("a", b"2")) == (True, False)
    assert storage.get("a") == b"1"
    # staged under a name of its own, copied by the store
    data = secrets.token_bytes(9 * MIB)
    handle = storage.stage(LAYER, pieces(data))
    with storage.open_staged(handle) as blob:
        assert blob.read() == data
    storage.commit(handle)
    storage.abandon(handle)
    assert storage.get(LAYER) == data
    assert not storage.is_staged(handle)
    broken = storage.stage(LAYER, [b"x"])
    assert [stage.handle for stage in storage.stages()] == [broken]
    assert storage.clean(time.time() - 60) == 0
    assert storage.clean(time.time() + 60) == 1  # what was committed; the other is not its business
    assert storage.get(LAYER) == data
    storage.abandon(broken)
    assert list(storage.list("_v1registry")) == []


def test_copies_in_parts(ceph: Ceph, root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers larger than one copy request are copied in parts; a failure leaves nothing."""
    monkeypatch.setattr("v1registry.storage.s3.unconditional._MOST_COPIED", 5 * MIB)
    storage = make(ceph.options(storage_path=root, s3_conditional_writes=False), None)
    data = secrets.token_bytes(12 * MIB)
    handle = storage.stage(LAYER, pieces(data))
    storage.commit(handle)
    assert storage.get(LAYER) == data
    storage.commit(handle)  # it is known to be in place
    storage.delete(LAYER)
    call = storage._call

    def failing(operation: str, key: str, **parameters: object) -> object:
        if parameters.get("PartNumber") == 2:
            raise ConnectionResetError
        return call(operation, key, **parameters)

    monkeypatch.setattr(storage, "_call", failing)
    with pytest.raises(Unavailable):
        storage.commit(handle)
    assert "Uploads" not in ceph.client().list_multipart_uploads(Bucket="registry", Prefix=root)


def test_the_cleaner_aborts_abandoned_uploads(ceph: Ceph, root: str) -> None:
    storage = make(ceph.options(storage_path=root, s3_conditional_writes=False), None)
    key = f"{root}/_v1registry/uploads/0123/{LAYER}"
    client = ceph.client()
    upload = client.create_multipart_upload(Bucket="registry", Key=key)["UploadId"]
    client.upload_part(Bucket="registry", Key=key, UploadId=upload, PartNumber=1, Body=b"x")
    assert storage.clean(time.time() - 60) == 0
    assert storage.clean(time.time() + 60) == 1
    assert "Uploads" not in client.list_multipart_uploads(Bucket="registry", Prefix=root)


# -- URLs and TLS ---------------------------------------------------------------------------------


def test_url_works_without_credentials(storage: S3Storage) -> None:
    storage.put(LAYER, b"0123456789")
    url = storage.url(LAYER)
    assert "X-Amz-Expires=1200" in str(url)
    with urllib.request.urlopen(str(url), timeout=20) as answer:
        assert answer.read() == b"0123456789"
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(str(url)[:-4] + "0000", timeout=20)


def test_over_tls(ceph: Ceph, root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ceph.options(storage_path=root, boto_port=ceph.tls_port, s3_secure=True)
    with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
        S3Storage(options).get(LAYER)
    assert ceph.tls is not None
    monkeypatch.setenv("AWS_CA_BUNDLE", str(ceph.tls.certificate))
    storage = S3Storage(options)
    storage.prepare()
    data = secrets.token_bytes(9 * MIB)
    storage.commit(storage.stage(LAYER, pieces(data)))
    assert storage.get(LAYER) == data
    storage.delete_folder("images")
    assert list(storage.list("images")) == []


# -- options -----------------------------------------------------------------------------------------


def test_addresses() -> None:
    base = Ceph.options(type("Nowhere", (), {"port": None})(), boto_calling_format=None)
    assert endpoint(base) == "http://127.0.0.1"
    assert endpoint({**base, "boto_port": 7480, "s3_secure": True}) == "https://127.0.0.1:7480"
    assert endpoint({**base, "boto_host": None}) is None
    assert addressing(base) == "path"
    assert addressing({**base, "boto_host": None}) == "virtual"
    assert addressing({**base, "boto_host": None, "boto_bucket": "a.b"}) == "path"
    assert addressing({**base, "boto_calling_format": "virtual"}) == "virtual"
    assert proxies(base) is None
    more = {"boto_proxy": "proxy", "boto_proxy_port": 3128}
    assert proxies({**base, **more})["https"] == "http://proxy:3128"
    more |= {"boto_proxy_user": "a@b", "boto_proxy_pass": "c/d"}
    assert proxies({**base, **more})["http"] == "http://a%40b:c%2Fd@proxy:3128"


def test_urls_of_aws_name_bucket_and_region(ceph: Ceph) -> None:
    storage = S3Storage(
        ceph.options(boto_host=None, boto_port=None, s3_secure=True, s3_region="eu-west-1")
    )
    url = str(storage.url(LAYER))
    assert url.startswith(f"https://registry.s3.eu-west-1.amazonaws.com/registry/{LAYER}?")
    assert "%2Feu-west-1%2Fs3%2Faws4_request" in url


def test_encryption_and_storage_class_are_asked_for(ceph: Ceph, root: str) -> None:
    storage = S3Storage(
        ceph.options(storage_path=root, s3_encrypt=True, s3_storage_class="STANDARD")
    )
    sent = requests_of(storage)
    for write in (lambda: storage.put("a", b""), lambda: storage.stage(LAYER, [b""])):
        try:
            write()
        except Refused:
            pass  # a test gateway has no keys to encrypt with; what was asked is what counts
    put, create = (request.headers for request in sent[:2])
    assert header(put, "x-amz-server-side-encryption") == "AES256"
    assert header(put, "x-amz-storage-class") is None
    assert header(create, "x-amz-server-side-encryption") == "AES256"
    assert header(create, "x-amz-storage-class") == "STANDARD"


def requests_of(storage: S3Storage) -> list[AWSPreparedRequest]:
    """Record the requests from now on, of the fast client and of boto3."""
    sent: list[AWSPreparedRequest] = []
    client = storage._clients.get()
    own = client._http.send
    client._http.send = lambda request: sent.append(request) or own(request)
    client.meta.events.register("before-send.s3", lambda request, **_: sent.append(request))
    return sent


def header(headers: Mapping[str, str | bytes], name: str) -> str | None:
    """Return a header as text; boto3 has bytes."""
    value = headers.get(name)
    return value.decode() if isinstance(value, bytes) else value


def test_the_driver_is_found_by_name(ceph: Ceph) -> None:
    assert isinstance(load(ceph.options(), lambda function: function()), S3Storage)


# -- what goes wrong ------------------------------------------------------------------------------


def test_wrong_keys_and_no_bucket_are_refused(ceph: Ceph) -> None:
    for wrong in ({"s3_secret_key": "wrong"}, {"s3_access_key": "nobody"}, {"boto_bucket": "none"}):
        storage = S3Storage(ceph.options(**wrong))
        for act in (
            lambda storage=storage: storage.get("a"),
            lambda storage=storage: storage.put("a", b""),
            lambda storage=storage: list(storage.list("a")),
            lambda storage=storage: storage.stage(LAYER, [b""]),
            storage.prepare,
        ):
            with pytest.raises(Refused):
                act()


def test_a_full_quota_is_full(ceph: Ceph, storage: S3Storage) -> None:
    storage.put("before", b"x")
    ceph.admin("user", "create", "--uid=poor", "--display-name=p", "--access-key=P", "--secret=P")
    ceph.admin("quota", "set", "--quota-scope=user", "--uid=poor", "--max-size=4096")
    ceph.admin("quota", "enable", "--quota-scope=user", "--uid=poor")
    options = ceph.options(s3_access_key="P", s3_secret_key="P", boto_bucket="poor")
    poor = S3Storage(options)
    poor._clients.get().create_bucket(Bucket="poor")
    with pytest.raises(StoreFull):
        poor.put("a", bytes(10_000))
    with pytest.raises(StoreFull):
        poor.stage(LAYER, [bytes(10_000)])
    assert list(poor.stages()) == []


def test_missing_keys_cost_one_request(proxied: tuple[S3Storage, Proxy]) -> None:
    storage, _ = proxied
    requests = requests_of(storage)
    for read in (storage.get, storage.open, storage.stat):
        requests.clear()
        with pytest.raises(NotFound):
            read("nothing/here")
        assert len(requests) == 1


def test_a_broken_download_is_resumed(proxied: tuple[S3Storage, Proxy]) -> None:
    storage, proxy = proxied
    data = secrets.token_bytes(4 * MIB)
    storage.put(LAYER, data)
    proxy.cut_after, proxy.cuts = 300_000, 5
    with storage.open(LAYER) as blob:
        assert b"".join(blob.pieces()) == data
    assert proxy.cuts == 0
    proxy.cuts = 2
    with storage.open(LAYER) as blob:
        assert b"".join(blob.pieces(1 * MIB, 3 * MIB)) == data[1 * MIB : 3 * MIB]


def test_a_download_that_cannot_be_resumed_raises(proxied: tuple[S3Storage, Proxy]) -> None:
    storage, proxy = proxied
    storage.put(LAYER, secrets.token_bytes(8 * MIB))
    with storage.open(LAYER) as blob:
        read = blob.pieces()
        next(read)
        proxy.refusing = True
        proxy.drop()
        with pytest.raises(Unavailable):
            list(read)


def test_an_object_replaced_while_it_is_read_is_not_mixed(
    proxied: tuple[S3Storage, Proxy],
) -> None:
    storage, proxy = proxied
    storage.put(LAYER, bytes(8 * MIB))
    with storage.open(LAYER) as blob:
        read = blob.pieces()
        next(read)
        storage.put(LAYER, b"x" * 8 * MIB)
        proxy.drop()
        with pytest.raises(Unavailable, match="replaced"):
            list(read)


def test_an_unreachable_or_silent_store_is_unavailable(proxied: tuple[S3Storage, Proxy]) -> None:
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


def test_create_succeeds_although_its_response_is_lost(proxied: tuple[S3Storage, Proxy]) -> None:
    """The first attempt succeeds, but its response is lost: the second must return True as well."""
    storage, proxy = proxied
    assert storage.create("warm", b"up")
    proxy.cut_after, proxy.cuts = 1, 1
    assert storage.create("record", b"mine") is True
    assert proxy.cuts == 0
    assert storage.create("record", b"other") is False
    assert storage.get("record") == b"mine"


def test_read_in_another_thread_than_opened(storage: S3Storage) -> None:
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
