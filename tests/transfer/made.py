"""Stores for tests of transfers, in the format of 0.9.1."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import random
import tarfile
from collections.abc import Callable
from pathlib import Path

PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, 1, mtime=0),
    "tar": lambda data: data,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


def archive(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


class MadeStore:
    """A store below `folder`. The same `seed` gives the same bytes."""

    def __init__(self, folder: Path, seed: int = 1) -> None:
        self.folder = folder
        self._random = random.Random(seed)

    def image(self, parent: str | None, size: int = 1000, packing: str = "gzip") -> str:
        """Write a complete image with `size` random bytes in its layer, and return its id."""
        content = self._random.randbytes(size)
        layer = PACK[packing](archive({"data": content}))
        return self.layer(parent, layer)

    def layer(self, parent: str | None, layer: bytes) -> str:
        """Write a complete image with this layer, and return its id."""
        id = self._random.randbytes(32).hex()
        document = {
            "id": id,
            "created": "2014-06-01T12:00:00.123456789Z",
            "docker_version": "1.0.1",
            "architecture": "amd64",
            "os": "linux",
            "container_config": {"Cmd": ["/bin/sh", "-c", f"step <{id[:4]}> & more"]},
            "config": {"Cmd": ["/bin/true"]},
            **({"parent": parent} if parent else {}),
        }
        data = json.dumps(document).encode()
        folder = self.folder / "images" / id
        folder.mkdir(parents=True)
        ancestry = [id]
        if parent:
            ancestry += json.loads((self.folder / "images" / parent / "ancestry").read_text())
        checksum = hashlib.sha256(data + b"\n" + layer).hexdigest()
        (folder / "json").write_bytes(data)
        (folder / "layer").write_bytes(layer)
        (folder / "ancestry").write_text(json.dumps(ancestry))
        (folder / "_checksum").write_text(json.dumps([f"sha256:{checksum}"]))
        return id

    def tag(self, repository: str, tag: str, id: str) -> None:
        folder = self.folder / "repositories" / repository
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"tag_{tag}").write_text(id)
        if not (folder / "_index_images").exists():
            (folder / "_index_images").write_text(json.dumps([{"id": id}]))

    def many(self, count: int, size: int) -> None:
        """Write `count` tags with one image each, on shared base images, in a few repositories."""
        bases = [self.image(None, size) for _ in range(max(1, count // 20))]
        middle = [self.image(base, size) for base in bases for _ in range(4)]
        for number in range(count):
            top = self.image(middle[number % len(middle)], size // 4)
            self.tag(f"team{number % 3}/app{number % 7}", f"v{number}", top)
