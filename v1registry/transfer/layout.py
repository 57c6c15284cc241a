"""Reader and writer of OCI image layouts (image specification, "OCI Image Layout Specification").

Blobs are written to temporary files, hashed, and renamed. `index.json` is written last. So a killed
run leaves a valid layout, and the next run uses the blobs that are there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from v1registry.lib.names import Digest
from v1registry.lib.oci.convert import OCI, digest_of
from v1registry.transfer import platforms
from v1registry.transfer.errors import TransferError, parse_json
from v1registry.transfer.oci_to_v1 import LayerFile, LayerFiles, V1Layer, v1_chain
from v1registry.transfer.platforms import Platform

NAME = "org.opencontainers.image.ref.name"
FULL_NAME = "io.containerd.image.name"
_VERSION = b'{"imageLayoutVersion":"1.0.0"}'
_INDEX = "application/vnd.oci.image.index.v1+json"
_LARGEST = 8 * 1024 * 1024  # bytes of a JSON document
_PIECE = 1024 * 1024
_DEEPEST = 3  # indexes within indexes


class LayoutWriter:
    """Adds images to the layout in `folder`, which is created if necessary."""

    def __init__(self, folder: Path) -> None:
        """Raise TransferError if the folder holds something else."""
        self._folder = folder
        self._blobs = folder / "blobs" / "sha256"
        self._lock = threading.Lock()
        with _errors_named(folder):
            if folder.exists() and any(folder.iterdir()) and not (folder / "oci-layout").exists():
                raise TransferError(f"{folder} is not empty, and not an OCI layout")
            self._blobs.mkdir(parents=True, exist_ok=True)
            self._index = _read_index(Folder(folder)) if (folder / "index.json").exists() else []
            self._write(folder / "oci-layout", [_VERSION])

    def has(self, digest: str, size: int) -> bool:
        """Return whether the blob is there. Its digest was checked before it got its name."""
        try:
            return self._path(digest).stat().st_size == size
        except FileNotFoundError:
            return False

    def put(self, digest: str, pieces: Iterable[bytes]) -> None:
        """Write a blob. Raise TransferError if the bytes have another digest."""
        self._write(self._path(digest), pieces, digest)

    def tag(self, name: str, manifest: bytes) -> None:
        """Write a manifest, and give it the name `ns/repo:tag`, which replaces an older entry."""
        digest = digest_of(manifest)
        if not self.has(digest, len(manifest)):
            self.put(digest, [manifest])
        entry = {
            "mediaType": OCI,
            "digest": digest,
            "size": len(manifest),
            "annotations": {NAME: name, FULL_NAME: name},
        }
        with self._lock:
            others = [e for e in self._index if e.get("annotations", {}).get(NAME) != name]
            self._index = sorted(
                [*others, entry], key=lambda e: str(e.get("annotations", {}).get(NAME))
            )

    def close(self) -> None:
        """Write the index, which makes the added images visible."""
        document = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": self._index}
        self._write(self._folder / "index.json", [json.dumps(document, indent=1).encode()])

    def _write(self, path: Path, pieces: Iterable[bytes], digest: str | None = None) -> None:
        """Write a file completely or not at all, and compare it with `digest` if that is given."""
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        sum = hashlib.sha256()
        try:
            with _errors_named(path), temporary.open("xb") as out:
                for piece in pieces:
                    sum.update(piece)
                    out.write(piece)
                out.flush()
                os.fsync(out.fileno())
            if digest not in (None, f"sha256:{sum.hexdigest()}"):
                raise TransferError(f"read sha256:{sum.hexdigest()} instead of {digest}")
            with _errors_named(path):
                temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def _path(self, digest: str) -> Path:
        return self._blobs / digest.removeprefix("sha256:")


class Files(LayerFiles, Protocol):
    """The files of a layout, by path."""

    def __contains__(self, name: str) -> bool: ...


class Folder:
    """The files below `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __contains__(self, name: str) -> bool:
        return (self._folder / name).is_file()

    def size(self, name: str) -> int:
        path = self._folder / name
        with _errors_named(path):
            return path.stat().st_size

    def pieces(self, name: str) -> Iterator[bytes]:
        path = self._folder / name
        with _errors_named(path), path.open("rb") as file:
            while piece := file.read(_PIECE):
                yield piece


class LayoutReader:
    """Reads the blobs of a layout, and compares each with its digest."""

    def __init__(self, files: Files) -> None:
        """Raise TransferError if the files are not a layout."""
        self._files = files
        self.manifests = _read_index(files)

    def pieces(self, digest: str) -> Iterator[bytes]:
        """Yield the bytes of a blob. Raise TransferError after the last if the digest differs."""
        sum = hashlib.sha256()
        name = self._name(digest)
        for piece in self._files.pieces(name):
            sum.update(piece)
            yield piece
        if f"sha256:{sum.hexdigest()}" != digest:
            raise TransferError(f"{name} is damaged: its digest is not {digest}")

    def size(self, digest: str) -> int:
        """Return the size of a blob in bytes. Raise TransferError if it is missing."""
        return self._files.size(self._name(digest))

    def json(self, digest: str) -> tuple[Any, bytes]:
        """Return a JSON document, parsed and as bytes. Raise TransferError."""
        if self.size(digest) > _LARGEST:
            raise TransferError(
                f"{digest} is larger than {_LARGEST} bytes, the limit of a JSON document"
            )
        data = b"".join(self.pieces(digest))
        return parse_json(data, digest), data

    def _name(self, digest: str) -> str:
        if not Digest.is_valid(digest):
            raise TransferError(f"{digest!r} is not a sha256 digest")
        path = f"blobs/{digest.replace(':', '/')}"
        if path not in self._files:
            raise TransferError(f"{digest} is missing from the layout")
        return path


@dataclass(frozen=True, slots=True)
class NamedImage:
    """An image in a bundle: `key` identifies it in the bundle, `name` is `repository:tag` or None."""

    key: str
    name: str | None


class Layout:
    """An OCI layout. Entries with the same name (or none) for several platforms are one image."""

    def __init__(self, files: Files, platform: Platform) -> None:
        self._reader = LayoutReader(files)
        self._platform = platform
        self._images: list[tuple[str | None, list[dict[str, Any]]]] = []
        found: dict[str | None, list[dict[str, Any]]] = {}
        for entry in self._reader.manifests:
            name = _annotated(entry)
            if platforms.of(entry) is None:
                self._images.append((name, [entry]))
            elif name in found:
                found[name].append(entry)
            else:
                found[name] = [entry]
                self._images.append((name, found[name]))

    def images(self) -> list[NamedImage]:
        return [NamedImage(str(number), name) for number, (name, _) in enumerate(self._images)]

    def chain(self, key: str) -> list[V1Layer]:
        entries = self._images[int(key)][1]
        entry = entries[0] if len(entries) == 1 else platforms.choose(entries, self._platform)
        digest = str(entry.get("digest"))
        manifest = self._manifest(digest)
        try:
            config = manifest["config"]["digest"]
            layers = [layer["digest"] for layer in manifest["layers"]]
        except (KeyError, TypeError):
            raise TransferError(f"{digest} is not the manifest of an image") from None
        _, data = self._reader.json(str(config))
        return v1_chain(data, [LayerFile(self._reader, str(digest)) for digest in layers])

    def _manifest(self, digest: str) -> dict[str, Any]:
        for _ in range(_DEEPEST):
            document, _ = self._reader.json(digest)
            if not isinstance(document, dict):
                break
            if not isinstance(document.get("manifests"), list):
                return document
            digest = str(platforms.choose(document["manifests"], self._platform).get("digest"))
        raise TransferError(f"{digest} is not the manifest of an image")


def _annotated(entry: dict[str, Any]) -> str | None:
    """Return the name of an entry: containerd's full name if there is one, or else the ref name."""
    annotations = entry.get("annotations")
    if not isinstance(annotations, dict):
        return None
    name = annotations.get(FULL_NAME) or annotations.get(NAME)
    return name if isinstance(name, str) else None


def _read_index(files: Files) -> list[dict[str, Any]]:
    name = "index.json"
    if name not in files:
        raise TransferError("there is no index.json in it, so it is not an OCI layout")
    if files.size(name) > _LARGEST:
        raise TransferError(f"{name} is too large")
    document = parse_json(b"".join(files.pieces(name)), name)
    manifests = document.get("manifests") if isinstance(document, dict) else None
    if not isinstance(manifests, list) or not all(isinstance(m, dict) for m in manifests):
        raise TransferError(f"{name} is not the index of an OCI layout")
    return manifests


@contextlib.contextmanager
def _errors_named(path: Path) -> Iterator[None]:
    """Turn OSError into TransferError with the path."""
    try:
        yield
    except OSError as error:
        raise TransferError(f"{path}: {error.strerror}") from None
