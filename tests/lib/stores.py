"""Small stores for the tests of the domain, and images written as 0.9.1 leaves them."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass

from v1registry.lib.images.commit import Commits
from v1registry.lib.images.images import Images
from v1registry.lib.images.push_provenance import PushProvenance
from v1registry.lib.images.upload import Uploads
from v1registry.lib.repositories.references import RepositoryReferences
from v1registry.lib.repositories.repositories import Repositories
from v1registry.lib.repositories.tags import Tags
from v1registry.storage import Storage, keys
from v1registry.storage.local.driver import call


@dataclass
class Domain:
    """The services that most tests need, for one store, without caches."""

    storage: Storage

    def __post_init__(self) -> None:
        self.commits = Commits(self.storage)
        self.images = Images(self.storage, self.commits, cache_limit=0, cache_life=60)
        self.tags = Tags(self.storage)
        self.reach = RepositoryReferences(self.storage, self.images, self.tags)
        self.repositories = Repositories(self.storage, self.images, self.tags, self.reach)
        self.proofs = PushProvenance(self.storage, 3600)
        self.uploads = Uploads(self.storage, self.images, self.commits, call, self.proofs)


def image_id(letter: str) -> str:
    return letter * 64


def image_json(id: str, parent: str | None = None, **more: object) -> bytes:
    return json.dumps({"id": id, **({"parent": parent} if parent else {}), **more}).encode()


def payload(data: bytes, layer: bytes) -> str:
    return "sha256:" + hashlib.sha256(data + b"\n" + layer).hexdigest()


def layer_of(*names: str, **files: bytes) -> bytes:
    """A plain tar with empty files `names` and `files` with content."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in [*((name, b"") for name in names), *files.items()]:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def write_image(
    storage: Storage, id: str, ancestors: tuple[str, ...] = (), layer: bytes = b"layer"
) -> bytes:
    """Write a complete image as 0.9.1 does; return its JSON."""
    data = image_json(id, ancestors[0] if ancestors else None)
    storage.put(keys.image(id, "json"), data)
    storage.put(keys.image(id, "ancestry"), json.dumps([id, *ancestors]).encode())
    storage.put(keys.image(id, "layer"), layer)
    storage.put(keys.image(id, "_checksum"), json.dumps([payload(data, layer)]).encode())
    return data
