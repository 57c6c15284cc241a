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
from pathlib import Path
from typing import Any, Protocol

from v1registry.lib.oci.convert import OCI, digest_of
from v1registry.transfer.errors import TransferError

NAME = "org.opencontainers.image.ref.name"
FULL_NAME = "io.containerd.image.name"
_VERSION = b'{"imageLayoutVersion":"1.0.0"}'
_INDEX = "application/vnd.oci.image.index.v1+json"
_LARGEST = 8 * 1024 * 1024  # bytes of a JSON document
_PIECE = 1024 * 1024


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
            self._put(folder / "oci-layout", _VERSION)

    def has(self, digest: str, size: int) -> bool:
        """Return whether the blob is there. Its digest was checked before it got its name."""
        try:
            return self._path(digest).stat().st_size == size
        except FileNotFoundError:
            return False

    def put(self, digest: str, pieces: Iterable[bytes]) -> None:
        """Write a blob. Raise TransferError if the bytes have another digest."""
        path = self._path(digest)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        sum = hashlib.sha256()
        try:
            with _errors_named(path), temporary.open("xb") as out:
                for piece in pieces:
                    sum.update(piece)
                    out.write(piece)
                out.flush()
                os.fsync(out.fileno())
            if f"sha256:{sum.hexdigest()}" != digest:
                raise TransferError(f"read sha256:{sum.hexdigest()} instead of {digest}")
            with _errors_named(path):
                temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

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
        self._put(self._folder / "index.json", json.dumps(document, indent=1).encode())

    def _put(self, path: Path, data: bytes) -> None:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        with _errors_named(path):
            with temporary.open("xb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
            temporary.replace(path)

    def _path(self, digest: str) -> Path:
        return self._blobs / digest.removeprefix("sha256:")


class Files(Protocol):
    """The files of a layout, by path. Methods raise TransferError."""

    def __contains__(self, name: str) -> bool: ...

    def size(self, name: str) -> int: ...

    def pieces(self, name: str) -> Iterator[bytes]: ...


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
        try:
            return json.loads(data), data
        except (ValueError, RecursionError):
            raise TransferError(f"{digest} is not JSON") from None

    def _name(self, digest: str) -> str:
        kind, _, name = digest.partition(":")
        if kind != "sha256" or len(name) != 64 or not set(name) <= set("0123456789abcdef"):
            raise TransferError(f"{digest!r} is not a sha256 digest")
        path = f"blobs/{kind}/{name}"
        if path not in self._files:
            raise TransferError(f"{digest} is missing from the layout")
        return path


def _read_index(files: Files) -> list[dict[str, Any]]:
    name = "index.json"
    if name not in files:
        raise TransferError("there is no index.json in it, so it is not an OCI layout")
    if files.size(name) > _LARGEST:
        raise TransferError(f"{name} is too large")
    try:
        document = json.loads(b"".join(files.pieces(name)))
    except (ValueError, RecursionError):
        raise TransferError(f"{name} is not JSON") from None
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
