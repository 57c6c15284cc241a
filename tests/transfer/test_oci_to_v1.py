"""Conversion of OCI images to v1 images, compared with a recording of Docker 1.10."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import pytest

from v1registry.transfer.errors import TransferError
from v1registry.transfer.oci_to_v1 import v1_chain


class Layer:
    def pieces(self) -> Iterator[bytes]:
        yield b""


def diff_id(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def config(diff_ids: list[str], **more: object) -> bytes:
    document = {
        "architecture": "amd64",
        "os": "linux",
        "created": "2024-01-01T00:00:00Z",
        "config": {"Cmd": ["<sh> & co"], "Env": None},
        "history": [{"created": "2024-01-01T00:00:00Z"}],
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }
    return json.dumps(document | more).encode()


def test_ids_are_chain_ids_and_the_image_id() -> None:
    ids = [diff_id("a"), diff_id("b"), diff_id("c")]
    data = config(ids)
    chain = v1_chain(data, [Layer(), Layer(), Layer()])
    second = hashlib.sha256(f"{ids[0]} {ids[1]}".encode()).hexdigest()
    assert [layer.id for layer in chain] == [
        ids[0].removeprefix("sha256:"),
        second,
        hashlib.sha256(data).hexdigest(),
    ]
    assert [layer.diff_id for layer in chain] == ids


def test_lower_images_hold_only_id_and_parent() -> None:
    chain = v1_chain(config([diff_id("a"), diff_id("b"), diff_id("c")]), [Layer()] * 3)
    base, second = chain[0].id, chain[1].id
    assert chain[0].json == b'{"id":"%s"}' % base.encode()
    assert chain[1].json == b'{"id":"%s","parent":"%s"}' % (second.encode(), base.encode())


def test_the_top_image_holds_the_configuration() -> None:
    ids = [diff_id("a"), diff_id("b")]
    chain = v1_chain(
        config(ids, **{"os.version": "1", "parent": "x", "variant": "v8"}), [Layer()] * 2
    )
    assert json.loads(chain[1].json) == {
        "architecture": "amd64",
        "os": "linux",
        "variant": "v8",
        "created": "2024-01-01T00:00:00Z",
        "config": {"Cmd": ["<sh> & co"], "Env": None},
        "id": chain[1].id,
        "parent": chain[0].id,
    }
    assert b"\\u003csh\\u003e \\u0026 co" in chain[1].json  # as Go writes it


def test_an_image_without_layers_has_one_image() -> None:
    (only,) = v1_chain(config([]), [])
    assert (only.layer, only.diff_id) == (None, None)
    assert "parent" not in json.loads(only.json)


@pytest.mark.parametrize(
    ("data", "layers", "reason"),
    [
        (b"{", 0, "not a JSON object"),
        (b"[]", 0, "not a JSON object"),
        (b"{}", 0, "names no layers"),
        (b'{"rootfs": {"diff_ids": 5}}', 0, "names no layers"),
        (b'{"rootfs": {"diff_ids": [5]}}', 1, "names no layers"),
        (b'{"rootfs": {"diff_ids": ["sha256:XY"]}}', 1, "not a diff_id"),
        (config([diff_id("a")]), 2, "names 1 layers, but there are 2"),
        (config([diff_id("a")] * 1001), 1001, "more than 1000 layers"),
    ],
)
def test_bad_configurations_are_refused(data: bytes, layers: int, reason: str) -> None:
    with pytest.raises(TransferError, match=reason):
        v1_chain(data, [Layer()] * layers)
