"""Conversion of OCI images to v1 images, with the ids and JSON that Docker 1.10 and later push over v1.

The id of the image is the digest of its configuration. The id of each layer below is its chain id,
and its JSON holds only `id` and `parent`. So an image always gets the same ids, and images that share
layers share v1 images.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from v1registry.lib.names import Digest
from v1registry.lib.oci.convert import chain_ids, digest_of, gojson
from v1registry.transfer.errors import TransferError

# Members of an OCI image configuration that a v1 image JSON does not have.
_LATER = ("rootfs", "history", "os.version", "os.features")
_MOST_LAYERS = 1000


class LayerToConvert(Protocol):
    """A layer to convert. Its bytes, plain or compressed, can be read several times."""

    @property
    def size(self) -> int:
        """The size of all pieces in bytes. Raise TransferError."""

    def pieces(self) -> Iterator[bytes]: ...


class LayerFiles(Protocol):
    """The files of an archive or a layout, by name. Methods raise TransferError."""

    def size(self, name: str) -> int: ...

    def pieces(self, name: str) -> Iterator[bytes]: ...


@dataclass(frozen=True, slots=True)
class LayerFile:
    """A layer that is one of `files`."""

    files: LayerFiles
    name: str

    @property
    def size(self) -> int:
        return self.files.size(self.name)

    def pieces(self) -> Iterator[bytes]:
        return self.files.pieces(self.name)


@dataclass(frozen=True, slots=True)
class V1Layer:
    """One v1 image. The layer must have the digest `diff_id`, unless that is None (unknown)."""

    id: str
    json: bytes
    layer: LayerToConvert | None  # None: no file changes
    diff_id: str | None


def v1_chain(config: bytes, layers: list[LayerToConvert]) -> list[V1Layer]:
    """Return the v1 images of an image with this configuration and these layers, the base first.

    Raise TransferError if the configuration is not valid or does not fit the layers.
    """
    diff_ids = diff_ids_of(config)
    if len(diff_ids) != len(layers):
        raise TransferError(
            f"the configuration names {len(diff_ids)} layers, but there are {len(layers)}"
        )
    top = digest_of(config).removeprefix("sha256:")
    ids = [chain.removeprefix("sha256:") for chain in chain_ids(diff_ids)][:-1]
    parents = [None, *ids]
    chain = [
        V1Layer(id, _layer_json(id, parent), layer, diff_id)
        for id, parent, layer, diff_id in zip(ids, parents, layers, diff_ids, strict=False)
    ]
    own = (layers[-1], diff_ids[-1]) if layers else (None, None)
    return [*chain, V1Layer(top, _image_json(config, top, parents[-1]), *own)]


def diff_ids_of(config: bytes) -> list[str]:
    """Return the diff_ids that a configuration names. Raise TransferError."""
    try:
        root = json.loads(config).get("rootfs")
    except (ValueError, RecursionError, AttributeError):
        raise TransferError("the image's configuration is not a JSON object") from None
    diff_ids = (root.get("diff_ids") or []) if isinstance(root, dict) else None
    if not isinstance(diff_ids, list) or not all(isinstance(id, str) for id in diff_ids):
        raise TransferError("the image's configuration names no layers (rootfs.diff_ids)")
    if len(diff_ids) > _MOST_LAYERS:
        raise TransferError(f"the image has more than {_MOST_LAYERS} layers")
    if bad := [id for id in diff_ids if not Digest.is_valid(id)]:
        raise TransferError(f"{bad[0]!r} is not a diff_id")
    return diff_ids


def _layer_json(id: str, parent: str | None) -> bytes:
    values = [("id", gojson.string(id))]
    if parent is not None:
        values.append(("parent", gojson.string(parent)))
    return gojson.object_of(values)


def _image_json(config: bytes, id: str, parent: str | None) -> bytes:
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
