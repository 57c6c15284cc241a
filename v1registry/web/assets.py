"""Static files, read once. Their URL has a hash of all of them, so browsers may keep them for ever."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).parent / "static"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One static file."""

    body: bytes
    content_type: str


class Assets:
    """All static files, by name. `version` changes with any of them."""

    def __init__(self) -> None:
        files = sorted(path for path in _FOLDER.iterdir() if path.suffix in _TYPES)
        self.all = {path.name: Asset(path.read_bytes(), _TYPES[path.suffix]) for path in files}
        digest = hashlib.sha256()
        for name, asset in self.all.items():
            digest.update(f"{name} {len(asset.body)}\n".encode() + asset.body)
        self.version = digest.hexdigest()[:16]
