"""Reads a store like docker-registry 0.9.1; written only from protocol-v1.md section 4.

It shares no code with ours and knows nothing of the files that we add (`images/ID/_*` beyond the
three of 0.9.1, `_index_entries`, the root folder `_v1registry`): what it cannot read, a roll-back
to 0.x could not read either.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_KEPT = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-"


class Missing(Exception):
    """Raised where 0.9.1 would answer 404."""


class InProgress(Exception):
    """Raised where 0.9.1 would answer 400 `Image is being uploaded, retry later`."""


def quote_plus(text: str) -> str:
    """Quote like Python 2: letters, digits and `_.-` stay, a space is `+`, the rest is `%XX`."""
    coded = []
    for byte in text.encode():
        char = chr(byte)
        coded.append(char if char in _KEPT else "+" if char == " " else f"%{byte:02X}")
    return "".join(coded)


def component(text: str) -> str:
    """Return one part of a path as 0.8.1 and later write it."""
    return {".": "%2E", "..": "%2E%2E"}.get(text) or quote_plus(text)


@dataclass
class OldRegistry:
    """A store folder as 0.9.1 reads it."""

    root: Path

    # -- images -----------------------------------------------------------------

    def images(self) -> list[str]:
        """Return the ids of all images that 0.9.1 would serve."""
        folder = self.root / "images"
        if not folder.is_dir():
            return []
        return sorted(path.name for path in folder.iterdir() if self.is_complete(path.name))

    def is_complete(self, image_id: str) -> bool:
        folder = self._image(image_id)
        return (folder / "json").exists() and not (folder / "_inprogress").exists()

    def json(self, image_id: str) -> bytes:
        return self._read(image_id, "json")

    def layer(self, image_id: str) -> bytes:
        return self._read(image_id, "layer")

    def ancestry(self, image_id: str) -> list[str]:
        found: list[str] = json.loads(self._read(image_id, "ancestry"))
        return found

    def checksums(self, image_id: str) -> list[str]:
        """Return the checksums in `_checksum`; empty without that file."""
        path = self._image(image_id) / "_checksum"
        if not path.exists():
            return []
        text = path.read_text()
        try:
            value = json.loads(text)
        except ValueError:
            return [text.strip()]  # 0.6 wrote the checksum without a list
        return value if isinstance(value, list) else [value]

    def simple_checksum(self, image_id: str) -> str:
        """Return the checksum that 0.9.1 computes at a layer PUT: of JSON, a line feed and the layer."""
        data = self.json(image_id) + b"\n" + self.layer(image_id)
        return "sha256:" + hashlib.sha256(data).hexdigest()

    def _image(self, image_id: str) -> Path:
        return self.root / "images" / component(image_id)

    def _read(self, image_id: str, part: str) -> bytes:
        folder = self._image(image_id)
        if (folder / "_inprogress").exists():
            raise InProgress(image_id)
        try:
            return (folder / part).read_bytes()
        except FileNotFoundError:
            raise Missing(f"{image_id}/{part}") from None

    # -- repositories -------------------------------------------------------------

    def folder(self, name: str) -> Path:
        """Return the folder of the repository `name`: the name is encoded when parsed, then again."""
        namespace, slash, repository = name.strip("/").partition("/")
        if not slash:
            namespace, repository = "library", namespace
        parts = (component(namespace), component(quote_plus(repository)))
        return self.root.joinpath("repositories", *parts)

    def tags(self, name: str) -> dict[str, str]:
        folder = self.folder(name)
        if not folder.is_dir() or not any(folder.iterdir()):
            raise Missing(name)
        files = [path for path in folder.iterdir() if path.name.startswith("tag_")]
        return {path.name[len("tag_") :]: path.read_text() for path in files}

    def tag_metadata(self, name: str, tag: str) -> dict[str, Any] | None:
        return _json_file(self.folder(name) / component(f"tag{tag}_json"))

    def metadata(self, name: str) -> dict[str, Any] | None:
        return _json_file(self.folder(name) / "json")

    def index_images(self, name: str) -> list[dict[str, Any]]:
        found = _json_file(self.folder(name) / "_index_images")
        if found is None:
            raise Missing(name)
        return found  # type: ignore[return-value]

    def is_private(self, name: str) -> bool:
        return (self.folder(name) / "_private").exists()

    # -- the whole store ------------------------------------------------------------

    def problems(self) -> list[str]:
        """Return what 0.9.1 could not serve, or would serve wrongly; empty for an intact store."""
        found = []
        for image_id in self.images():
            found += [f"image {image_id[:12]}: {text}" for text in self.image_problems(image_id)]
        for folder in sorted((self.root / "repositories").glob("*/*")):
            for path in sorted(folder.glob("tag_*")):
                target = path.read_text()
                if not re.fullmatch("[0-9a-f]{64}|[0-9a-f]{16}", target):
                    found.append(f"{path.name} of {folder.name} holds {target[:80]!r}")
                elif not self.is_complete(target):
                    found.append(f"{path.name} of {folder.name} points to an incomplete image")
            listed = _json_file(folder / "_index_images")
            if listed is not None and not all("id" in item for item in listed):
                found.append(f"the list of {folder.name} is {str(listed)[:80]}")
        return found

    def image_problems(self, image_id: str) -> list[str]:
        """Return the faults of an image that 0.9.1 would serve; empty for an intact image."""
        document = json.loads(self.json(image_id))
        if document.get("id") != image_id:
            return [f"its JSON has the id {document.get('id')!r}"]
        try:
            ancestry, layer = self.ancestry(image_id), self.layer(image_id)
        except Missing as part:
            return [f"{part} is missing"]
        found = []
        parent = document.get("parent")
        wanted = [image_id, *(self.ancestry(parent) if parent else [])]
        if ancestry != wanted:
            found.append(f"its ancestry is {ancestry}")
        sums = [text for text in self.checksums(image_id) if text.startswith("sha256:")]
        if sums and self.simple_checksum(image_id) not in sums:
            found.append(f"its {len(layer)} bytes do not have the checksum {sums}")
        return found


def _json_file(path: Path) -> Any:
    return json.loads(path.read_bytes()) if path.exists() else None
