"""The v2 services of the domain for one store, and a chain of images."""

from __future__ import annotations

import gzip
import lzma
from typing import Any

from tests.lib.stores import Domain, image_id, layer_of, write_image
from v1registry.lib.names import ImageId, RepositoryName
from v1registry.lib.oci.digest_index import DigestIndex
from v1registry.lib.oci.images import V2Image, V2Images
from v1registry.lib.oci.layer_metadata import LayerMetadataStore
from v1registry.lib.oci.lookup import Lookup
from v1registry.storage import Storage, keys
from v1registry.storage.local.driver import call
from v1registry.storage.memory import MemoryStorage

A, B, C, D = (ImageId(image_id(letter)) for letter in "abcd")
REPOSITORY = RepositoryName.parse("team/app")
OTHER = RepositoryName.parse("team/other")


class Node:
    """The v2 services of one node, for one store."""

    def __init__(self, storage: Storage, *, read_only: bool = False, cache: int = 0) -> None:
        self.domain = Domain(storage)
        self.digests = DigestIndex(storage, cache_limit=cache, cache_life=60, read_only=read_only)
        limits: dict[str, Any] = {"cache_limit": cache, "cache_life": 60}
        self.blobs = LayerMetadataStore(
            storage,
            self.domain.images,
            self.digests,
            call,
            max_bytes=10_000_000,
            read_only=read_only,
            **limits,
        )
        self.v2images = V2Images(self.domain.images, self.blobs, self.digests, **limits)
        self.lookup = Lookup(
            self.domain.repositories,
            self.domain.reach,
            self.domain.images,
            self.blobs,
            self.v2images,
            self.digests,
        )

    def get(self, id: str) -> V2Image:
        return self.v2images.get(ImageId(id))


def tag(
    storage: Storage, id: str, repository: RepositoryName = REPOSITORY, name: str = "1"
) -> None:
    """Write a tag as 0.9.1 does."""
    storage.put(f"{repository.folder}/{keys.tag(name)}", id.encode())


def chain_store() -> MemoryStorage:
    """a <- b <- c, tagged in team/app."""
    storage = MemoryStorage()
    write_image(storage, A, layer=layer_of("a"))
    write_image(storage, B, (A,), layer=gzip.compress(layer_of("b"), mtime=0))
    write_image(storage, C, (B, A), layer=lzma.compress(layer_of("c")))
    tag(storage, C)
    return storage
