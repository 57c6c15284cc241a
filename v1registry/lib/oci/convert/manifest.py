"""The manifest of an image, in the media types of Docker (schema 2) and OCI."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

SCHEMA2 = "application/vnd.docker.distribution.manifest.v2+json"
OCI = "application/vnd.oci.image.manifest.v1+json"

_CONFIG = {
    SCHEMA2: "application/vnd.docker.container.image.v1+json",
    OCI: "application/vnd.oci.image.config.v1+json",
}
_LAYER = {
    SCHEMA2: {
        True: "application/vnd.docker.image.rootfs.diff.tar.gzip",
        False: "application/vnd.docker.image.rootfs.diff.tar",
    },
    OCI: {
        True: "application/vnd.oci.image.layer.v1.tar+gzip",
        False: "application/vnd.oci.image.layer.v1.tar",
    },
}


@dataclass(frozen=True, slots=True)
class ManifestLayer:
    """A layer as it is served: the `digest` and `size` in bytes of a tar, perhaps gzipped."""

    digest: str
    size: int
    gzipped: bool


def manifest(media_type: str, config: bytes, layers: Sequence[ManifestLayer]) -> bytes:
    """Return the manifest of the image with this config and these layers, the base image first."""
    document = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": _descriptor(_CONFIG[media_type], digest_of(config), len(config)),
        "layers": [
            _descriptor(_LAYER[media_type][layer.gzipped], layer.digest, layer.size)
            for layer in layers
        ],
    }
    return json.dumps(document, separators=(",", ":")).encode("ascii")


def digest_of(data: bytes) -> str:
    """Return the digest of a blob or a manifest."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _descriptor(media_type: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": media_type, "size": size, "digest": digest}
