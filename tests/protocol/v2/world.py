"""A store with each kind of image of docker-registry 0.x, and requests of a v2 client."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import lzma
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests import raw
from tests.lib.stores import image_json, layer_of, payload
from tests.live_server import Server
from v1registry.lib.oci.convert import OCI, SCHEMA2

GOLDEN = Path(__file__).parents[2] / "fixtures" / "golden"
IMAGES = json.loads((GOLDEN / "image-ids.json").read_text())
AGENT = {"User-Agent": "docker/24.0.7 go/go1.20.10 os/linux arch/amd64"}

PLAIN = layer_of(a=b"plain", b=bytes(3000))
SQUEEZED = gzip.compress(layer_of(c=b"squeezed"), mtime=0)
PACKED = layer_of(d=b"packed" * 1000)  # stored as xz and as bzip2
EMPTY = bytes(1024)

BASE, TOP, XZ, BZIP2, SECRET, BROKEN, ODD = (letter * 64 for letter in "1234567")


def make(store: Path) -> None:
    """The golden store with further images."""
    shutil.copytree(GOLDEN / "store-0.9.1", store)
    image(store, BASE, PLAIN)
    image(store, TOP, SQUEEZED, BASE, created="2015-06-01T12:00:00.5Z")
    image(store, XZ, lzma.compress(PACKED), TOP, BASE)
    image(store, BZIP2, bz2.compress(PACKED))
    image(store, SECRET, layer_of(secret=b"secret"))
    image(store, BROKEN, SQUEEZED[:-5], BASE)
    image(store, ODD, EMPTY, BASE, created="yesterday")
    tag(store, "team/app", "1.0", TOP)
    tag(store, "team/app", "packed", XZ)
    tag(store, "team/app", "bzip2", BZIP2)
    tag(store, "team/app", "broken", BROKEN)
    tag(store, "team/app", "odd", ODD)
    tag(store, "team/app", "dangling", "8" * 64)
    tag(store, "team/other", "latest", SECRET)
    tag(store, "team/private", "latest", SECRET)
    (store / "repositories/team/private/_private").write_bytes(b"")
    tag(store, "library/busybox", "latest", BASE)
    tag(store, "team/deep%252Fin%252Fit", "latest", BASE)
    tag(store, "team/_no_v2_name_", "latest", BASE)
    tag(store, "team/app", "~no+tag", BASE)  # 0.x took any


def image(store: Path, id: str, layer: bytes, *ancestors: str, **more: object) -> None:
    folder = store / "images" / id
    folder.mkdir(parents=True)
    more = {"os": "linux", "architecture": "amd64", **more}
    data = image_json(id, ancestors[0] if ancestors else None, **more)
    (folder / "json").write_bytes(data)
    (folder / "layer").write_bytes(layer)
    (folder / "ancestry").write_text(json.dumps([id, *ancestors]))
    (folder / "_checksum").write_text(json.dumps([payload(data, layer)]))


def tag(store: Path, folder: str, name: str, id: str) -> None:
    """Return `folder` and `name` as 0.9.1 encodes them."""
    path = store / "repositories" / folder
    path.mkdir(parents=True, exist_ok=True)
    (path / f"tag_{name}").write_text(id)


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def get(server: Server, path: str, method: str = "GET", **headers: str) -> raw.Answer:
    """Send a request below `/v2/`. Names of headers are written with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return raw.request(server, method, f"/v2/{path}", {**AGENT, **named})


def manifest(server: Server, repository: str, tag: str, accept: str = SCHEMA2) -> dict[str, Any]:
    answer = get(server, f"{repository}/manifests/{tag}", Accept=accept)
    assert answer.status == 200, str(answer)
    assert answer.header("Content-Type") == accept
    assert answer.header("Docker-Content-Digest") == digest(answer.body)
    document: dict[str, Any] = answer.json()
    return document


def error(answer: raw.Answer, status: int, code: str) -> str:
    """Check for this error in the form of OCI; return its text."""
    assert answer.status == status, str(answer)
    assert answer.header("Content-Type") == "application/json"
    assert answer.header("Docker-Distribution-Api-Version") == "registry/2.0"
    (only,) = answer.json()["errors"]
    assert only["code"] == code, only
    assert isinstance(only["message"], str)
    assert only["message"]
    return str(only["message"])


FORMS: Mapping[str, str] = {"schema2": SCHEMA2, "oci": OCI}
