"""Today's images as v1 images: ids and JSON as engines from 1.10 on make them for a push over v1.

The image itself is called by the digest of its configuration, each layer below by
its chain id; a layer below says no more than `id` and `parent`. So the same image
has the same ids whoever brings it, and images that share layers share them here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from v1registry.lib.oci.convert import chain_ids, digest_of, gojson
from v1registry.transfer.errors import TransferError

# What no v1 image has, by the names in the OCI image configuration.
_LATER = ("rootfs", "history", "os.version", "os.features")
_MOST_LAYERS = 1000


class LayerToConvert(Protocol):
    """A layer somewhere: its bytes, plain or compressed, as often as they are needed."""

    @property
    def size(self) -> int:
        """Bytes of all pieces. Raise TransferError."""

    def pieces(self) -> Iterator[bytes]: ...


@dataclass(frozen=True, slots=True)
class V1Layer:
    """An image of the v1 chain; `diff_id` is held against its layer, None where it is not known."""

    id: str
    json: bytes
    layer: LayerToConvert | None  # None: no file at all changes
    diff_id: str | None


def v1_chain(config: bytes, layers: list[LayerToConvert]) -> list[V1Layer]:
    """The v1 images of an image with this configuration and these layers, the base first.

    Raise TransferError for a configuration that is none, or of other layers.
    """
    diff_ids = diff_ids_of(config)
    if len(diff_ids) != len(layers):
        raise TransferError(
            f"the configuration names {len(diff_ids)} layers, and there are {len(layers)}"
        )
    top = digest_of(config).removeprefix("sha256:")
    ids = [chain.removeprefix("sha256:") for chain in chain_ids(diff_ids)][:-1]
    parents = [None, *ids]
    chain = [
        V1Layer(id, _bare(id, parent), layer, diff_id)
        for id, parent, layer, diff_id in zip(ids, parents, layers, diff_ids, strict=False)
    ]
    own = (layers[-1], diff_ids[-1]) if layers else (None, None)
    return [*chain, V1Layer(top, _top(config, top, parents[-1]), *own)]


def _parse(config: bytes) -> dict[str, Any]:
    try:
        document = json.loads(config)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise TransferError("the image's configuration is no JSON object")
    return document


def diff_ids_of(config: bytes) -> list[str]:
    """The digests of the unpacked layers that a configuration names. Raise TransferError."""
    root = _parse(config).get("rootfs")
    diff_ids = (root.get("diff_ids") or []) if isinstance(root, dict) else None
    if not isinstance(diff_ids, list) or not all(isinstance(id, str) for id in diff_ids):
        raise TransferError("the image's configuration names no layers (rootfs.diff_ids)")
    if len(diff_ids) > _MOST_LAYERS:
        raise TransferError(f"the image has more than {_MOST_LAYERS} layers")
    if bad := [id for id in diff_ids if not _is_digest(id)]:
        raise TransferError(f"{bad[0]!r} is no diff id")
    return diff_ids


def _is_digest(text: str) -> bool:
    kind, _, rest = text.partition(":")
    return kind == "sha256" and len(rest) == 64 and set(rest) <= set("0123456789abcdef")


def _bare(id: str, parent: str | None) -> bytes:
    values = [("id", gojson.string(id))]
    if parent is not None:
        values.append(("parent", gojson.string(parent)))
    return gojson.object_of(values)


def _top(config: bytes, id: str, parent: str | None) -> bytes:
    try:
        values = gojson.members(config)
    except gojson.NotJSON as error:
        raise TransferError(f"the image's configuration is not what Go reads: {error}") from None
    for name in _LATER:
        values.pop(name, None)
    values["id"] = gojson.string(id)
    values.pop("parent", None)
    if parent is not None:
        values["parent"] = gojson.string(parent)
    return gojson.mapping(values)
