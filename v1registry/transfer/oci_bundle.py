"""Images of an OCI layout, in a folder or a tar archive."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from v1registry.transfer import platforms
from v1registry.transfer.errors import TransferError
from v1registry.transfer.layout import FULL_NAME, NAME, Files, LayoutReader
from v1registry.transfer.oci_to_v1 import V1Layer, v1_chain
from v1registry.transfer.platforms import Platform

_DEEPEST = 3  # indexes within indexes


@dataclass(frozen=True, slots=True)
class NamedImage:
    """An image in a bundle: `key` identifies it in the bundle, `name` is `repository:tag` or None."""

    key: str
    name: str | None


@dataclass(frozen=True, slots=True)
class _Blob:
    """A layer in a layout."""

    reader: LayoutReader
    digest: str

    @property
    def size(self) -> int:
        return self.reader.size(self.digest)

    def pieces(self) -> Iterator[bytes]:
        return self.reader.pieces(self.digest)


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
        return v1_chain(data, [_Blob(self._reader, str(digest)) for digest in layers])

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
