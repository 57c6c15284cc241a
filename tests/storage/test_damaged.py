"""Bytes that are damaged on the way from or to a store: real servers behind a proxy that damages them.

A read returns the right bytes or an error; a write stores the right bytes or nothing.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.backends.corrupting import Corrupting, Where
from tests.backends.proxy import Proxy
from v1registry.storage import ListEntry, Storage
from v1registry.storage.errors import CorruptObject, NotFound, StorageError

LAYER = "images/" + "a" * 64 + "/layer"
MIB = 1024 * 1024
#: of everyday's kinds: a tag, an ancestry, and a JSON that is not small any more
VALUES = {"t/tag_v1": b"x" * 64, "i/ancestry": bytes(range(256)) * 32, "i/json": b"{}" * 60_000}


def _s3(request: pytest.FixtureRequest, sigv4: bool = True) -> tuple[int, Callable[[int], Storage]]:
    from v1registry.storage.s3.driver import make

    ceph = request.getfixturevalue("ceph")
    own = {"storage_path": f"/{secrets.token_hex(8)}", "s3_use_sigv4": sigv4, "s3_read_timeout": 1}
    return ceph.port, lambda port: make(ceph.options(boto_port=port, **own), None)


def _s3_older(request: pytest.FixtureRequest) -> tuple[int, Callable[[int], Storage]]:
    return _s3(request, sigv4=False)


def _swift(request: pytest.FixtureRequest) -> tuple[int, Callable[[int], Storage]]:
    from v1registry.storage.swift.driver import make

    swift = request.getfixturevalue("swift")
    own = {"storage_path": f"/{secrets.token_hex(8)}", "swift_read_timeout": 1}

    def made(port: int) -> Storage:
        url = swift.authurl.replace(str(swift.port), str(port))
        return make(swift.options(swift_authurl=url, **own), None)

    return swift.port, made


def _gcs(request: pytest.FixtureRequest) -> tuple[int, Callable[[int], Storage]]:
    from v1registry.storage.gcs.driver import make

    fake = request.getfixturevalue("fake_gcs")
    own = {"storage_path": f"/{secrets.token_hex(8)}", "gcs_read_timeout": 1}

    def made(port: int) -> Storage:
        return make(fake.options(gcs_endpoint=f"http://127.0.0.1:{port}", **own), None)

    return fake.port, made


def _gcs_hmac(request: pytest.FixtureRequest) -> tuple[int, Callable[[int], Storage]]:
    from v1registry.storage.gcs.driver import make

    fake = request.getfixturevalue("fake_gcs_xml")
    own = {"storage_path": f"/{secrets.token_hex(8)}", "gcs_read_timeout": 1}

    def made(port: int) -> Storage:
        return make(fake.options(gcs_endpoint=f"http://127.0.0.1:{port}", **own), None)

    return fake.port, made


STORES = {"s3": _s3, "s3-older": _s3_older, "swift": _swift, "gcs": _gcs, "gcs-hmac": _gcs_hmac}


_EVERYDAY = {"s3", "swift"}


@pytest.fixture(
    params=[
        pytest.param(name, marks=[] if name in _EVERYDAY else [pytest.mark.heavy])
        for name in STORES
    ]
)
def both(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Storage, Storage, Proxy]]:
    """One store, directly and through a proxy."""
    monkeypatch.setattr("time.sleep", lambda _: None)  # between tries
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # it tells of heads that it cannot read
    port, make = STORES[request.param](request)
    with Proxy(port) as proxy:
        good, bad = make(port), make(proxy.port)
        bad.put("warm", b"up")  # tokens are there
        yield good, bad, proxy


def results(act: Callable[[], object], times: int) -> tuple[list[object], list[StorageError]]:
    """The results and the exceptions of all attempts."""
    came, raised = [], []
    for _ in range(times):
        try:
            came.append(act())
        except StorageError as error:
            raised.append(error)
    return came, raised


def test_small_objects(both: tuple[Storage, Storage, Proxy]) -> None:
    good, bad, proxy = both
    for key, data in VALUES.items():
        good.put(key, data)
        proxy.change = Corrupting(1, 0.3, "body")
        came, raised = results(lambda key=key: bad.get(key), 10)
        assert set(came) == {data}
        assert proxy.change.changed
        proxy.change = Corrupting(2, 1, "body")
        came, raised = results(lambda key=key: bad.get(key), 2)
        assert not came
        assert all(isinstance(error, CorruptObject) for error in raised)
        proxy.change = None
        assert bad.get(key) == data


@pytest.mark.parametrize("where", ["head", "status"])
def test_heads_and_statuses(both: tuple[Storage, Storage, Proxy], where: Where) -> None:
    good, bad, proxy = both
    for key, data in VALUES.items():
        good.put(key, data)
        proxy.change = Corrupting(3, 0.3, where)
        came, _ = results(lambda key=key: bad.get(key), 6)
        assert set(came) <= {data}
        assert proxy.change.changed


def test_a_damaged_listing_is_never_shorter(both: tuple[Storage, Storage, Proxy]) -> None:
    good, bad, proxy = both
    for number in range(5):
        good.put(f"t/f/tag_{number}", b"x")
    for where, seed in (("body", 4), ("any", 5), ("status", 6)):
        proxy.change = Corrupting(seed, 0.5, where)
        came, _ = results(lambda: len(list(bad.list("t/f"))), 8)
        assert set(came) <= {5}
        assert proxy.change.changed


@pytest.mark.parametrize("where", ["head", "status"])
def test_create_has_one_winner_despite_damage(
    both: tuple[Storage, Storage, Proxy], where: Where
) -> None:
    """If `create` returns True, the stored value is the caller's."""
    good, bad, proxy = both
    proxy.change = Corrupting(7, 0.3, where)
    for number in range(8):
        key = f"t/{number}"
        if number % 2:
            good.put(key, b"theirs")
        with contextlib.suppress(StorageError):
            if bad.create(key, b"ours"):
                assert good.get(key) == b"ours"
        if number % 2:
            assert good.get(key) == b"theirs"


def test_written_bytes_are_those_that_were_sent(both: tuple[Storage, Storage, Proxy]) -> None:
    good, bad, proxy = both
    data = secrets.token_bytes(2 * MIB)
    proxy.change_there = change = Corrupting(8, 0.02, "body")
    for number in range(6):
        change.rate = 0.3
        with contextlib.suppress(StorageError):
            bad.put(f"t/{number}", VALUES["i/json"])
            assert good.get(f"t/{number}") == VALUES["i/json"]
        change.rate = 0.01
        with contextlib.suppress(StorageError):
            good.commit(bad.stage(LAYER, [data, data]))
            with good.open(LAYER) as blob:
                assert b"".join(blob.pieces()) == data + data
    assert change.changed


def test_a_damaged_layer_keeps_its_length(both: tuple[Storage, Storage, Proxy]) -> None:
    """The client verifies the bytes; the driver guarantees that none is missing."""
    good, bad, proxy = both
    data = secrets.token_bytes(MIB)
    good.commit(good.stage(LAYER, [data]))
    proxy.change = Corrupting(9, 0.2, "head")

    def length() -> int:
        with bad.open(LAYER) as blob:
            if blob.size != good.stat(LAYER).size:
                raise CorruptObject("is found where the layer is sent, see lib/images/images.py")
            return sum(len(piece) for piece in blob.pieces())

    came, _ = results(length, 8)
    assert set(came) == {MIB}


def test_layers_in_glance(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)  # between tries
    from v1registry.storage.loading import load

    def make(options: dict[str, object]) -> Storage:
        return load(options, lambda function, *arguments: function(*arguments))

    glance = request.getfixturevalue("glance")
    account = glance.account()
    with Proxy(glance.port) as proxy:
        good = make(account.options(tmp_path))
        url = f"http://127.0.0.1:{proxy.port}"
        bad = make(account.options(tmp_path, glance_url=url, glance_read_timeout=1))
        small = secrets.token_bytes(1000)
        good.commit(good.stage(LAYER, [small]))
        proxy.change = Corrupting(10, 0.3, "any")
        came, _ = results(lambda: bad.get(LAYER), 4)
        assert set(came) <= {small}
        proxy.change, proxy.change_there = None, Corrupting(11, 0.3, "body")
        for _ in range(5):
            with contextlib.suppress(StorageError):
                handle = bad.stage(LAYER, [small] * 3)
                with good.open_staged(handle) as blob:
                    assert blob.read() == small * 3
        assert proxy.change_there.changed
    account.clear()


def test_constant_damage_is_not_a_missing_key(both: tuple[Storage, Storage, Proxy]) -> None:
    good, bad, proxy = both
    good.put("t/a", b"x")
    proxy.change = Corrupting(12, 1, "status")
    entries = [ListEntry("a", False)]
    for act, right in (
        (lambda: bad.get("t/a"), b"x"),
        (lambda: bad.stat("t/a").size, 1),
        (lambda: list(bad.list("t")), entries),
    ):
        came, raised = results(act, 1)
        assert came in ([], [right])
        assert not any(isinstance(error, NotFound) for error in raised)
    proxy.change = None
    assert bad.get("t/a") == b"x"
