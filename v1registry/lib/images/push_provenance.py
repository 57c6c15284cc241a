"""Push provenance: which user sent the contents of an image, where users are told apart.

An image id is not a secret and proves nothing. A user who knows the id of a private image must not
get access to it by pushing an image with that id. So a push counts only for its own sender. The
sender gets access to an existing image after sending the same image JSON and a layer with the same
content: from such a sender there is nothing left to hide. The notes are in the folder of the image's
pushes and are deleted with it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from v1registry.lib import errors
from v1registry.lib.names import ImageId
from v1registry.storage import Storage, keys
from v1registry.storage.errors import NotFound


@dataclass(frozen=True, slots=True)
class Sender:
    """The user who pushes. `key` is `Caller.key`.

    `may_use` returns whether the sender may pull an existing image or has proven possession of it.
    `expects` returns whether an image belongs to the current push.
    """

    key: str
    may_use: Callable[[ImageId], bool]
    expects: Callable[[ImageId], bool]
    parent_refused: errors.Text

    @property
    def file_name(self) -> str:
        """The sender as a part of a file name."""
        return _file_name(self.key)


class PushProvenance:
    """Writes and reads the notes. A proof of possession is valid for `life` seconds."""

    def __init__(self, storage: Storage, life: float) -> None:
        self._storage = storage
        self._life = life

    def note_json(self, image_id: ImageId, sender: Sender, digest: str) -> None:
        """Note that the sender has sent the image JSON with this hex digest."""
        key = f"{keys.pushes(image_id)}/sent-{sender.file_name}-{digest}"
        self._storage.put(key, b"true", durable=False)

    def jsons(self, image_id: ImageId, sender: Sender) -> list[str]:
        """Return the digests of the image JSONs that the sender has sent, the newest first."""
        prefix = f"sent-{sender.file_name}-"
        found = []
        for entry in self._storage.list(keys.pushes(image_id)):
            if entry.name.startswith(prefix):
                modified = self._modified(image_id, entry.name)
                if modified is not None:
                    found.append((modified, entry.name.removeprefix(prefix)))
        return [digest for _, digest in sorted(found, reverse=True)]

    def prove(self, image_id: ImageId, key: str) -> None:
        """Note that the caller with this key has sent the contents of the complete image."""
        proof = f"{keys.pushes(image_id)}/proof-{_file_name(key)}"
        self._storage.put(proof, b"true", durable=False)  # no push outlives a power loss

    def has_proven(self, image_id: ImageId, key: str) -> bool:
        """Return whether the caller with this key has a valid proof for the image."""
        modified = self._modified(image_id, f"proof-{_file_name(key)}")
        return modified is not None and modified > time.time() - self._life

    def _modified(self, image_id: ImageId, name: str) -> float | None:
        try:
            return self._storage.stat(f"{keys.pushes(image_id)}/{name}").modified
        except NotFound:
            return None


def _file_name(key: str) -> str:
    """Return a caller's key as a part of a file name."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:32]
