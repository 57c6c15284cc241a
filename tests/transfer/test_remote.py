"""Pushing to a real v2 registry, over good connections and bad ones."""

from __future__ import annotations

import email.utils
import hashlib
import json
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.backends.v2registry import V2Registry
from tests.live_server import Server
from tests.tls import make_certificate
from tests.transfer.cutting import Cutting
from v1registry.lib.oci.convert import SCHEMA2, ManifestLayer, digest_of, manifest
from v1registry.transfer.credentials import RegistryLogin
from v1registry.transfer.errors import Gone, Rejected, TransferError, Unreachable
from v1registry.transfer.http import Http, Interrupted
from v1registry.transfer.reasons import retry_after
from v1registry.transfer.remote import Remote

MIB = 1024 * 1024


class Bytes:
    """A blob in memory; `read` counts the bytes read."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.size = len(data)
        self.read = 0

    def pieces(self, start: int) -> Iterator[bytes]:
        for at in range(start, len(self.data), 65536):
            piece = self.data[at : at + 65536]
            self.read += len(piece)
            yield piece


def remote(url: str, *, chunk: int = 64 * MIB, **options: object) -> Remote:
    return Remote(Http(url, first_wait=0.01, **options), chunk=chunk)


def name() -> str:
    return f"t/{secrets.token_hex(4)}"


@pytest.mark.parametrize("size", [1, 65536, 3 * MIB + 7])
@pytest.mark.parametrize("chunk", [MIB, 64 * MIB])
def test_a_blob_arrives(go: V2Registry, size: int, chunk: int) -> None:
    there, repository, blob = remote(go.url, chunk=chunk), name(), Bytes(secrets.token_bytes(size))
    assert not there.has_blob(repository, blob.digest, size)
    counts: list[int] = []
    there.upload(repository, blob, there.begin(repository), counts.append)
    assert there.has_blob(repository, blob.digest, size)
    assert not there.has_blob(repository, blob.digest, size + 1)
    assert sum(counts) == size == blob.read
    assert go.get(f"/v2/{repository}/blobs/{blob.digest}").content == blob.data


def test_an_empty_blob_arrives(go: V2Registry) -> None:
    there, repository, blob = remote(go.url), name(), Bytes(b"")
    there.upload(repository, blob, there.begin(repository), lambda count: None)
    assert there.has_blob(repository, blob.digest, 0)


def test_other_bytes_than_the_digest_says_are_refused(go: V2Registry) -> None:
    there, repository, blob = remote(go.url), name(), Bytes(b"x" * 1000)
    blob.data = b"y" * 1000
    with pytest.raises(Rejected, match="DIGEST_INVALID"):
        there.upload(repository, blob, there.begin(repository), lambda count: None)
    assert not there.has_blob(repository, blob.digest, 1000)


def test_a_source_that_ends_early_is_an_error(go: V2Registry) -> None:
    there, repository, blob = remote(go.url), name(), Bytes(b"x" * 100_000)
    blob.data = blob.data[:70_000]
    with pytest.raises(TransferError):
        there.upload(repository, blob, there.begin(repository), lambda count: None)


@pytest.mark.parametrize("chunk", [MIB, 64 * MIB])
def test_broken_connections_are_retried(go: V2Registry, chunk: int) -> None:
    repository, blob = name(), Bytes(secrets.token_bytes(5 * MIB))
    with Cutting(go.port) as proxy:
        there = remote(proxy.url, chunk=chunk)
        proxy.cut, proxy.most = 2 * MIB, 3  # bytes of all requests on one connection
        counts: list[int] = []
        there.upload(repository, blob, there.begin(repository), counts.append)
        assert proxy.cuts == 3
    assert sum(counts) == blob.size
    assert go.get(f"/v2/{repository}/blobs/{blob.digest}").content == blob.data


def test_a_connection_that_always_breaks_is_given_up(go: V2Registry) -> None:
    repository, blob = name(), Bytes(secrets.token_bytes(MIB))
    with Cutting(go.port) as proxy:
        there = remote(proxy.url)
        location = there.begin(repository)
        proxy.cut = 0
        there = remote(proxy.url, still=0.1)  # the connection is cut too
        with pytest.raises(Gone, match="does not answer any more"):
            there.upload(repository, blob, location, lambda count: None)


def test_another_process_resumes_the_upload(go: V2Registry) -> None:
    repository, blob = name(), Bytes(secrets.token_bytes(4 * MIB))
    kept: list[str] = []

    def told(count: int) -> None:
        if len(kept) == 2:
            raise Interrupted

    first = remote(go.url, chunk=MIB)
    with pytest.raises(Interrupted):
        first.upload(repository, blob, first.begin(repository), told, kept.append)
    before = blob.read
    second = remote(go.url, chunk=MIB)
    second.upload(repository, blob, kept[-1], lambda count: None, resumed=True)
    assert blob.read - before <= 3 * MIB  # two chunks had arrived
    assert go.get(f"/v2/{repository}/blobs/{blob.digest}").content == blob.data


def test_an_upload_that_the_registry_forgot_begins_anew(go: V2Registry) -> None:
    there, repository, blob = remote(go.url), name(), Bytes(secrets.token_bytes(MIB))
    location = there.begin(repository)
    uploads = go.folder / "store/docker/registry/v2/repositories" / repository / "_uploads"
    shutil.rmtree(uploads)
    there.upload(repository, blob, location, lambda count: None, resumed=True)
    assert there.has_blob(repository, blob.digest, MIB)


def test_a_blob_is_mounted(go: V2Registry) -> None:
    there, one, two, blob = remote(go.url), name(), name(), Bytes(secrets.token_bytes(1000))
    there.upload(one, blob, there.begin(one), lambda count: None)
    assert there.mount(two, blob.digest, one) is None
    assert there.has_blob(two, blob.digest, 1000)


def test_a_blob_that_cannot_be_mounted_is_sent(go: V2Registry) -> None:
    there, repository, blob = remote(go.url), name(), Bytes(secrets.token_bytes(1000))
    location = there.mount(repository, blob.digest, "t/nowhere")
    assert location is not None
    there.upload(repository, blob, location, lambda count: None)
    assert there.has_blob(repository, blob.digest, 1000)


def image(there: Remote, repository: str) -> bytes:
    blob = Bytes(b"layer")
    there.upload(repository, blob, there.begin(repository), lambda count: None)
    config = json.dumps({"rootfs": {"type": "layers", "diff_ids": [blob.digest]}}).encode()
    there.put_blob(repository, config, digest_of(config))
    there.put_blob(repository, config, digest_of(config))  # twice is no error
    return manifest(SCHEMA2, config, [ManifestLayer(blob.digest, blob.size, True)])


def test_a_manifest_arrives(go: V2Registry) -> None:
    there, repository = remote(go.url), name()
    assert there.manifest_digest(repository, "1.0", SCHEMA2) is None
    data = image(there, repository)
    there.put_manifest(repository, "1.0", SCHEMA2, data)
    assert there.manifest_digest(repository, "1.0", SCHEMA2) == digest_of(data)
    assert there.get_manifest(repository, "1.0", SCHEMA2) == data


def test_a_manifest_without_its_blobs_is_refused_with_the_registrys_text(go: V2Registry) -> None:
    there, repository = remote(go.url), name()
    data = manifest(SCHEMA2, b"{}", [])
    with pytest.raises(Rejected, match=r"answered 40[04] .*(BLOB|blob)"):
        there.put_manifest(repository, "1.0", SCHEMA2, data)


# -- credentials and TLS -------------------------------------------------------------------


def test_basic(go: V2Registry, tmp_path: Path) -> None:
    with V2Registry(tmp_path / "closed", account=("ann", "pw")) as closed:
        remote(closed.url, account=RegistryLogin("ann", "pw")).check()
        there, repository = remote(closed.url, account=RegistryLogin("ann", "pw")), name()
        there.put_manifest(repository, "1", SCHEMA2, image(there, repository))
        with pytest.raises(Rejected, match="refused the credentials"):
            remote(closed.url, account=RegistryLogin("ann", "wrong")).check()
        with pytest.raises(Rejected, match="requires credentials"):
            remote(closed.url).check()


def test_tls(go: V2Registry, tmp_path: Path) -> None:
    made = make_certificate(tmp_path)
    cert, key = made.certificate, made.key
    with V2Registry(tmp_path / "tls", tls=(cert, key)) as secure:
        remote(secure.url, verify=str(cert)).check()
        with pytest.raises(Rejected, match=r"(?i)certificate verify failed"):
            remote(secure.url).check()


def test_a_server_that_is_not_a_v2_registry(tmp_path: Path) -> None:
    with (
        Server(tmp_path / "store", env={"V2_ENABLED": "false"}) as server,
        pytest.raises(Rejected, match="not a v2 registry"),
    ):
        remote(server.url).check()


def test_a_read_only_registry(tmp_path: Path) -> None:
    with Server(tmp_path / "store") as server:  # our own v2 view is read-only
        there = remote(server.url)
        there.check()
        with pytest.raises(Rejected, match="answered 405"):
            there.begin("team/app")


def test_no_server_answers() -> None:
    with pytest.raises(Unreachable, match="2 tries"):
        remote("http://127.0.0.1:1").check()


@pytest.mark.parametrize("value", ["soon", "soon, or later", "\xb2", "-1", "9" * 400, "1e3", ""])
def test_a_bad_retry_after_is_ignored(value: str) -> None:
    response = requests.Response()
    response.headers["Retry-After"] = value
    assert retry_after(response) == 0.0


def test_a_retry_after() -> None:
    response = requests.Response()
    response.headers["Retry-After"] = "7"
    assert retry_after(response) == 7.0
    response.headers["Retry-After"] = email.utils.formatdate(time.time() + 60, usegmt=True)
    assert 55 < retry_after(response) <= 60
    response.headers["Retry-After"] = "Thu, 01 Jan 1970 00:00:00 GMT"
    assert retry_after(response) == 0.0
    assert retry_after(None) == 0.0


def test_stopped() -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Interrupted):
        remote("http://127.0.0.1:1", stop=stop).check()
