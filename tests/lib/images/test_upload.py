"""Pushing one image, step by step (protocol-v1.md section 3)."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lib.stores import Domain, image_id, image_json, layer_of, payload, write_image
from v1registry.lib.errors import Failure
from v1registry.lib.images.cleaner import Cleaner
from v1registry.lib.images.upload import Uploads
from v1registry.lib.layers.tarsum import TarSums
from v1registry.lib.names import ImageId
from v1registry.storage import exists, keys
from v1registry.storage.local.driver import FileStorage, call
from v1registry.storage.memory import MemoryBlob

A, B, C = (ImageId(image_id(letter)) for letter in "abc")
LAYER = layer_of("etc/", hello=b"world")


@pytest.fixture
def domain(tmp_path: Path) -> Domain:
    return Domain(FileStorage(tmp_path))


def fails(function, *args) -> tuple[int, str]:
    with pytest.raises(Failure) as caught:
        function(*args)
    return caught.value.status, caught.value.text


def push(domain: Domain, data: bytes, layer: bytes, id: ImageId = A) -> None:
    domain.uploads.put_json(id, data)
    domain.uploads.put_layer(id, [layer])
    domain.uploads.put_checksum(id, payload(data, layer), None)


def tarsum(data: bytes, layer: bytes) -> str:
    return TarSums.read(MemoryBlob(layer)).values(data)[0]


@pytest.mark.parametrize("layer", [gzip.compress(layer_of(a=bytes(90_000))), b"no tar" * 100])
def test_a_layer_without_a_tarsum_is_read_for_one_once(
    domain: Domain, layer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a decompression bomb would be read for each checksum that a client sends."""
    read: list[int] = []
    original = TarSums.read.__func__  # type: ignore[attr-defined]

    def counted(cls: type[TarSums], file: Any, *limits: Any) -> TarSums:
        read.append(1)
        return original(cls, file, *limits)

    monkeypatch.setattr(TarSums, "read", classmethod(counted))

    def uploads(max_bytes: int) -> Uploads:  # like another process, or after a restart
        return Uploads(
            domain.storage, domain.images, domain.commits, call, domain.proofs, max_bytes=max_bytes
        )

    data, wrong = image_json(A), "tarsum+sha256:" + "0" * 64
    uploads(10_000).put_json(A, data)
    uploads(10_000).put_layer(A, [layer])
    for _ in range(3):
        assert fails(uploads(10_000).put_checksum, A, None, wrong) == (400, "Checksum mismatch")
    assert len(read) == 1
    uploads(10_000).put_layer(A, [LAYER])  # a retry with another layer
    fails(uploads(10_000).put_checksum, A, None, wrong)
    assert len(read) == 2
    fails(uploads(20_000).put_checksum, A, None, wrong)  # the limit is higher now
    assert len(read) == 4
    uploads(10_000).put_checksum(A, payload(data, layer), None)
    assert domain.storage.get(keys.image(A, "layer")) == layer


def test_a_push_writes_what_0x_reads(domain: Domain) -> None:
    write_image(domain.storage, B, (C,))
    data = image_json(A, B)
    push(domain, data, LAYER)
    stored = {part: domain.storage.get(keys.image(A, part)) for part in ("json", "layer")}
    assert stored == {"json": data, "layer": LAYER}
    assert domain.storage.get(keys.image(A, "ancestry")) == json.dumps([A, B, C]).encode()
    assert json.loads(domain.storage.get(keys.image(A, "_checksum"))) == [payload(data, LAYER)]
    assert not exists(domain.storage, keys.image(A, "_inprogress"))
    assert list(domain.storage.stages()) == []


def test_only_the_mark_is_visible_before_the_checksum(domain: Domain) -> None:
    data = image_json(A)
    domain.uploads.put_json(A, data)
    domain.uploads.put_layer(A, [LAYER])
    assert {entry.name for entry in domain.storage.list(f"images/{A}")} == {"_inprogress"}
    assert domain.storage.get(keys.image(A, "_inprogress")) == b"true"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "Invalid JSON"),
        (b"{", "Invalid JSON"),
        (b"\xff{}", "Invalid JSON"),
        (b"[]", "Invalid JSON"),
        (b"null", "Invalid JSON"),
        (b'"text"', "Invalid JSON"),
        (b'{"id": NaN}', "Invalid JSON"),
        (b"[" * 100_000, "Invalid JSON"),
        (b'{"a":' * 100_000, "Invalid JSON"),
        (b'{"id": ' + b"9" * 10_000 + b"}", "Invalid JSON"),
        (b"{}", "Missing key `id' in JSON"),
        (b'{"id": null}', "JSON data contains invalid id"),
        (image_json(B), "JSON data contains invalid id"),
        (image_json(A, B), "Image depends on a non existing parent"),
        (image_json(A, A), "Image depends on a non existing parent"),
        (image_json(A, "../../etc"), "Image depends on a non existing parent"),
        (b'{"id": "%s", "parent": 5}' % A.encode(), "Image depends on a non existing parent"),
        (b'{"id": "%s", "parent": ["x"]}' % A.encode(), "Image depends on a non existing parent"),
    ],
)
def test_wrong_json(domain: Domain, data: bytes, expected: str) -> None:
    assert fails(domain.uploads.put_json, A, data) == (400, expected)
    assert not list(domain.storage.list("images"))


@pytest.mark.parametrize("parent", [b"null", b'""'])
def test_a_missing_parent(domain: Domain, parent: bytes) -> None:
    data = b'{"id": "%s", "parent": %s}' % (A.encode(), parent)
    push(domain, data, LAYER)
    assert domain.images.get(A).ancestors == [A]


def test_an_incomplete_parent_counts_as_missing(domain: Domain) -> None:
    domain.uploads.put_json(B, image_json(B))
    assert fails(domain.uploads.put_json, A, image_json(A, B))[1] == (
        "Image depends on a non existing parent"
    )


def test_states(domain: Domain) -> None:
    """The table of protocol-v1.md section 3, including its NEW points."""
    data = image_json(A)
    up = domain.uploads
    assert fails(up.put_layer, A, [LAYER]) == (404, "Image not found")
    assert fails(up.put_checksum, A, payload(data, LAYER), None) == (404, "Image not found")
    up.put_json(A, data)
    up.put_json(A, data)
    assert fails(up.put_checksum, A, payload(data, LAYER), None)[0] == 400
    up.put_layer(A, [LAYER])
    up.put_layer(A, [LAYER])
    assert fails(up.put_checksum, A, payload(data, b"x"), None) == (400, "Checksum mismatch")
    up.put_json(A, data)
    up.put_checksum(A, payload(data, LAYER), None)
    up.put_checksum(A, payload(data, LAYER), None)  # the answer was lost: the client retries
    assert fails(up.put_json, A, data) == (409, "Image already exists")
    other = image_json(A, comment="other")
    assert fails(up.put_json, A, other) == (409, "Image already exists")
    assert fails(up.put_checksum, A, payload(data, b"x"), None) == (
        409,
        "Cannot set this image checksum",
    )


def test_checksum_headers(domain: Domain) -> None:
    data = image_json(A)
    domain.uploads.put_json(A, data)
    domain.uploads.put_layer(A, [LAYER])
    assert fails(domain.uploads.put_checksum, A, None, None) == (
        412,
        "X-Docker-Checksum-Payload not set.  If you are using the Docker daemon,"
        " you should upgrade to version 0.10 or later",
    )
    for headers in (("", None), (None, " "), ("", "")):
        expected = (400, "Missing Image's checksum")
        assert fails(domain.uploads.put_checksum, A, *headers) == expected
    domain.uploads.put_checksum(A, "sha256:" + "0" * 64, payload(data, LAYER))


@pytest.mark.parametrize("pack", [lambda layer: layer, gzip.compress], ids=["plain", "gzip"])
def test_tarsum_alone(domain: Domain, pack) -> None:
    data, layer = image_json(A), pack(LAYER)
    domain.uploads.put_json(A, data)
    domain.uploads.put_layer(A, [layer])
    assert fails(domain.uploads.put_checksum, A, None, "tarsum+sha256:" + "0" * 64)[0] == 400
    value = tarsum(data, layer)
    domain.uploads.put_checksum(A, None, value)
    assert json.loads(domain.storage.get(keys.image(A, "_checksum"))) == [
        payload(data, layer),
        value,
    ]
    domain.uploads.put_checksum(A, None, value)


@pytest.mark.parametrize("reads_stages", [True, False], ids=["file", "as S3"])
def test_the_sums_of_many_entries_are_sorted_in_the_thread_pool(
    domain: Domain, reads_stages: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A million entries take seconds, during which the event loop would answer no other client."""
    depth, outside = 0, []

    def offload(function: Callable[..., Any], *args: Any) -> Any:
        nonlocal depth
        depth += 1
        try:
            return function(*args)
        finally:
            depth -= 1

    values = TarSums.values

    def noted(self: TarSums, *args: Any) -> list[str]:
        if not depth:
            outside.append(self)
        return values(self, *args)

    data, value = image_json(A), tarsum(image_json(A), LAYER)
    monkeypatch.setattr(TarSums, "values", noted)
    monkeypatch.setattr(domain.storage, "reads_stages", reads_stages)
    uploads = Uploads(domain.storage, domain.images, domain.commits, offload, domain.proofs)
    uploads.put_json(A, data)
    uploads.put_layer(A, [LAYER])
    uploads.put_checksum(A, None, value)
    assert outside == []


def test_a_layer_that_is_no_tar_has_no_tarsum(domain: Domain) -> None:
    """0.x hashed only the JSON in this case, so any layer would have matched."""
    import hashlib

    data = image_json(A)
    domain.uploads.put_json(A, data)
    domain.uploads.put_layer(A, [b"no tar at all"])
    alone = "tarsum+sha256:" + hashlib.sha256(data).hexdigest()
    assert fails(domain.uploads.put_checksum, A, None, alone) == (400, "Checksum mismatch")


def test_another_copy_of_a_complete_image(domain: Domain) -> None:
    """It is hashed and compared with its own checksum, and the first copy stays."""
    data = image_json(A)
    push(domain, data, LAYER)
    for level in (1, 9):
        again = gzip.compress(LAYER, level, mtime=level)
        domain.uploads.put_layer(A, [again])
        domain.uploads.put_checksum(A, payload(data, again), None)
        domain.uploads.put_checksum(A, "sha256:wrong", tarsum(data, again))
    damaged = gzip.compress(b"damaged")
    domain.uploads.put_layer(A, [damaged])
    assert fails(domain.uploads.put_checksum, A, payload(data, b"sent"), None)[0] == 409
    assert fails(domain.uploads.put_checksum, A, None, "tarsum+sha256:" + "1" * 64)[0] == 409
    assert domain.storage.get(keys.image(A, "layer")) == LAYER
    assert list(domain.storage.stages()) == []


def test_two_jsons_and_four_more(domain: Domain) -> None:
    jsons = [image_json(A, comment=str(number)) for number in range(2)]
    for data in jsons:
        domain.uploads.put_json(A, data)
    for layer in (b"one", b"two"):
        domain.uploads.put_layer(A, [layer])
    domain.uploads.put_checksum(A, payload(jsons[0], b"two"), None)
    domain.uploads.put_checksum(A, payload(jsons[1], b"one"), None)
    image = domain.images.get(A)
    assert image.json == jsons[0]
    assert domain.storage.get(keys.image(A, "layer")) == b"two"


def test_the_same_bytes_from_many_leave_nothing_staged(domain: Domain) -> None:
    data = image_json(A)
    for _ in range(3):
        domain.uploads.put_json(A, data)
        domain.uploads.put_layer(A, [LAYER])
    for _ in range(3):
        domain.uploads.put_checksum(A, payload(data, LAYER), None)
    assert list(domain.storage.stages()) == []


def test_abandoned_retries_do_not_accumulate(domain: Domain) -> None:
    """A client that dies after each layer and retries leaves one staged layer, not one for each retry."""
    data = image_json(A)
    for _ in range(5):
        domain.uploads.put_json(A, data)
        domain.uploads.put_layer(A, [LAYER])
    assert len(list(domain.storage.stages())) == 1
    domain.uploads.put_json(A, image_json(A, comment="other"))
    domain.uploads.put_layer(
        A, [LAYER]
    )  # hashed with a JSON that the first layer was not hashed with
    assert len(list(domain.storage.stages())) == 2
    domain.uploads.put_checksum(A, payload(data, LAYER), None)
    assert list(domain.storage.stages()) == []


def test_a_tarsum_is_not_computed_from_other_bytes_of_the_same_size(domain: Domain) -> None:
    """Two layers of one size: the one in place must not confirm the TarSum of the other."""
    data = image_json(A)
    good, bad = layer_of(a=b"good"), layer_of(a=b"evil")
    assert len(good) == len(bad)
    domain.uploads.put_json(A, data)
    domain.uploads.put_layer(A, [good])
    domain.uploads.put_layer(A, [bad])
    domain.uploads.put_checksum(A, payload(data, good), None)
    for stage in domain.storage.stages():
        domain.storage.abandon(stage.handle)  # as the cleaner does, while its note is still there
    assert fails(domain.uploads.put_checksum, A, None, tarsum(data, bad))[0] == 409
    domain.uploads.put_checksum(A, None, tarsum(data, good))


def test_a_push_that_0x_left_open_can_be_completed(domain: Domain) -> None:
    """0.x left a mark, a JSON and half a layer. The engine sends the layer again, or all of it."""
    data = image_json(A)
    for part, value in (("_inprogress", b"true"), ("json", data), ("layer", b"half")):
        domain.storage.put(keys.image(A, part), value)
    domain.uploads.put_layer(A, [LAYER])
    domain.uploads.put_checksum(A, payload(data, LAYER), None)
    assert domain.storage.get(keys.image(A, "layer")) == LAYER
    assert domain.images.get(A).checksums == (payload(data, LAYER),)


def test_lost_data_opens_the_image_again(domain: Domain, tmp_path: Path) -> None:
    """There is a commit record, the commit is not complete, and the staged layer was deleted."""
    from v1registry.lib.images.commit import CommitRecord

    data = image_json(A)
    domain.uploads.put_json(A, data)
    domain.uploads.put_layer(A, [LAYER])
    record = CommitRecord("0" * 64, "stage-gone.1", 5, ["sha256:x"], [A])
    key = keys.image(A, "_commit")
    domain.storage.put(key, json.dumps({name: getattr(record, name) for name in (
        "json", "handle", "size", "checksums", "ancestry")}).encode())  # fmt: skip
    assert fails(domain.images.get, A) == (400, "Image is being uploaded, retry later")
    assert not exists(domain.storage, key)
    push(domain, data, LAYER)
    assert domain.images.get(A).json == data


def test_cleaning_by_age(domain: Domain) -> None:
    data = image_json(A)
    domain.uploads.put_json(A, data)
    domain.uploads.put_layer(A, [LAYER])
    push(domain, image_json(B), LAYER, B)
    cleaner = Cleaner(domain.storage, domain.commits)
    report = cleaner.clean(time.time() - 60)
    assert not report.any()
    domain.uploads.put_checksum(A, payload(data, LAYER), None)
    domain.uploads.put_json(C, image_json(C))
    domain.uploads.put_layer(C, [LAYER])
    report = cleaner.clean(time.time() + 60)
    assert (report.pushes, report.stages) == (3, 1)
    assert not list(domain.storage.list(keys.PUSHES))
    assert not list(domain.storage.list(f"images/{C}"))
    assert fails(domain.images.get, C) == (404, "Image not found")
    for id in (A, B):
        assert domain.images.get(id).size == len(LAYER)


def test_an_open_push_of_0x_is_not_changed(domain: Domain) -> None:
    for part in ("_inprogress", "json", "layer"):
        domain.storage.put(keys.image(A, part), b"{}")
    domain.uploads.put_json(A, image_json(A))
    Cleaner(domain.storage, domain.commits).clean(time.time() + 60)
    assert {entry.name for entry in domain.storage.list(f"images/{A}")} == {
        "_inprogress",
        "json",
        "layer",
    }


def test_a_staged_layer_without_a_note_is_deleted(domain: Domain) -> None:
    domain.storage.stage(keys.image(A, "layer"), [b"x"])
    assert Cleaner(domain.storage, domain.commits).clean(time.time() + 60).stages == 1
    assert list(domain.storage.stages()) == []
