"""The layers that are pushed and pulled: the same random bytes for all servers, framed in advance.

A layer of n bytes is a tar archive of one file, as v2 wants it: n - 32 bytes from a file, with the
chunked framing already in it so that sendfile can send it, and a last chunk of 32 bytes that makes
each layer different. Random bytes cannot be compressed.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.clients import MANIFEST

MIB = 1024 * 1024
CHUNK = 32 * 1024
"""Bytes of a chunk, as Docker engines send them."""

_TAIL = 32


@dataclass(frozen=True)
class _Common:
    """The part that all layers of the same size share."""

    file: str
    framed: int
    content: bytes
    sha256: Any


@dataclass
class Layer:
    """One layer for a push in either protocol."""

    id: str
    parent: str | None
    common: _Common
    unique: str = field(default_factory=lambda: secrets.token_hex(_TAIL // 2))

    @property
    def size(self) -> int:
        return len(self.common.content) + _TAIL

    @property
    def digest(self) -> str:
        """The v2 digest of the layer's bytes."""
        sum = self.common.sha256.copy()
        sum.update(self.unique.encode())
        return f"sha256:{sum.hexdigest()}"

    @property
    def wire(self) -> dict[str, Any]:
        """Return how to send the layer, for `bench.clients`."""
        tail = f"{_TAIL:x}\r\n{self.unique}\r\n0\r\n\r\n"
        file, framed = self.common.file, self.common.framed
        return {"file": file, "framed": framed, "tail": tail, "size": self.size}

    def v1(self) -> dict[str, Any]:
        document = image_json(self.id, self.parent)
        sum = hashlib.sha256(document.encode() + b"\n")
        sum.update(self.common.content)
        sum.update(self.unique.encode())
        checksum = f"sha256:{sum.hexdigest()}"
        return {"id": self.id, "json": document, "checksum": checksum, **self.wire}


class Material:
    """Creates layers in `folder`, which must be on a disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._commons: dict[int, _Common] = {}

    def layers(self, size: int, count: int = 1) -> list[Layer]:
        """Return `count` layers of `size` bytes, each the parent of the next."""
        common = self._commons.get(size) or self._make(size)
        ids = [secrets.token_hex(32) for _ in range(count)]
        return [Layer(ids[i], ids[i - 1] if i else None, common) for i in range(count)]

    def file(self, size: int) -> Path:
        """Return the file from which layers of `size` bytes are made."""
        return Path((self._commons.get(size) or self._make(size)).file)

    def _make(self, size: int) -> _Common:
        entry = tarfile.TarInfo("file")
        entry.size = size - tarfile.BLOCKSIZE
        header = entry.tobuf(tarfile.USTAR_FORMAT)
        content = header + os.urandom(size - len(header) - _TAIL)
        path = self._folder / f"layer-{size}"
        with path.open("wb") as out:
            for start in range(0, len(content), CHUNK):
                piece = content[start : start + CHUNK]
                out.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            framed = out.tell()
        made = _Common(str(path), framed, content, hashlib.sha256(content))
        self._commons[size] = made
        return made


def image_json(image: str, parent: str | None) -> str:
    """Return an image JSON of the size that engines create (about 1.3 kB)."""
    config = {
        "Hostname": image[:12],
        "Domainname": "",
        "User": "",
        "AttachStdin": False,
        "AttachStdout": False,
        "AttachStderr": False,
        "ExposedPorts": {"5000/tcp": {}},
        "Tty": False,
        "Env": [
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG=C.UTF-8",
        ],
        "Cmd": ["/bin/sh", "-c", "exec server --listen 0.0.0.0:5000"],
        "Image": parent or "",
        "Volumes": {"/data": {}},
        "WorkingDir": "/srv",
        "Entrypoint": None,
        "Labels": {},
    }
    document = {
        "id": image,
        **({"parent": parent} if parent else {}),
        "created": "2015-06-01T12:00:00.123456789Z",
        "container": image,
        "container_config": config,
        "docker_version": "1.5.0",
        "author": "bench",
        "config": config,
        "architecture": "amd64",
        "os": "linux",
        "Size": 5242880,
    }
    return json.dumps(document, separators=(",", ":"))


def v1_push(name: str, layers: list[Layer]) -> dict[str, Any]:
    """Return the arguments of `bench.clients.push_v1`."""
    return {"name": name, "layers": [layer.v1() for layer in layers]}


def v2_push(name: str, layers: list[Layer]) -> dict[str, Any]:
    """Return the arguments of `bench.clients.push_v2`."""
    config = image_json(layers[-1].id, layers[-1].parent)
    digest = f"sha256:{hashlib.sha256(config.encode()).hexdigest()}"
    kind = "application/vnd.docker.image.rootfs.diff.tar.gzip"
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            "size": len(config),
            "digest": digest,
        },
        "layers": [{"mediaType": kind, "size": x.size, "digest": x.digest} for x in layers],
    }
    return {
        "name": name,
        "layers": [{"digest": layer.digest, **layer.wire} for layer in layers],
        "config": config,
        "config_digest": digest,
        "manifest": json.dumps(manifest, indent=3),
    }
