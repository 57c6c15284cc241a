"""Writes store files in the form of 0.9.1 (protocol-v1.md section 4), by hand."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

GOLDEN = Path(__file__).parent.parent / "fixtures" / "golden" / "store-0.9.1"


def checksum(json_bytes: bytes, layer: bytes) -> str:
    """The simple checksum of section 3."""
    return "sha256:" + hashlib.sha256(json_bytes + b"\n" + layer).hexdigest()


def image(
    store: Path,
    json_bytes: bytes,
    layer: bytes | None,
    ancestry: Sequence[str] | None,
    checksums: object = None,
) -> str:
    """A finished image; `checksums` as they are to stand in `_checksum`, None for no file."""
    image_id: str = json.loads(json_bytes)["id"]
    folder = store / "images" / image_id
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "json").write_bytes(json_bytes)
    if layer is not None:
        (folder / "layer").write_bytes(layer)
    if ancestry is not None:
        (folder / "ancestry").write_text(json.dumps(list(ancestry)))
    if checksums is not None:
        (folder / "_checksum").write_text(json.dumps(checksums))
    return image_id


def tags(folder: Path, wanted: Mapping[str, str]) -> None:
    """Write only these tags, in the repository's folder `N/R`."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("tag_*"):
        old.unlink()
    for tag, image_id in wanted.items():
        (folder / f"tag_{tag}").write_text(image_id)


def image_list(folder: Path, items: Iterable[Mapping[str, str]]) -> None:
    """Write only this image list, without the files that v1registry adds."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder / "_index_entries", ignore_errors=True)
    (folder / "_index_images").write_text(json.dumps(list(items)))


def golden(store: Path) -> None:
    """The store that the original 0.9.1 wrote, writable."""
    shutil.copytree(GOLDEN, store)
    for path in [store, *store.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
