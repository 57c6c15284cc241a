"""Who sent what in the pushes of an image, where users are told apart.

A v1 image id is no secret, and no proof of anything: whoever knows the id of somebody's image must
not get at it by pushing "it". So what a push sends counts for its own sender, until that one has
sent the image's very JSON and a layer of the same content, and has proven thereby that there is
nothing to hide from him. All of it lies in the folder of the image's pushes, and goes with it.
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
    """Who pushes: `key` is the asker's. `may_use` says of an image that is there whether the
    sender may pull it, or has proven it; `expects`, whether it belongs to what is pushed.
    """

    key: str
    may_use: Callable[[ImageId], bool]
    expects: Callable[[ImageId], bool]
    parent_refused: errors.Text

    @property
    def mark(self) -> str:
        """The sender in the name of a file."""
        return mark(self.key)


def mark(key: str) -> str:
    """An asker's key in the name of a file."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:32]


class PushProvenance:
    """Notes and finds them; `life` in seconds is how long a proof counts."""

    def __init__(self, storage: Storage, life: float) -> None:
        self._storage = storage
        self._life = life

    def note_json(self, image_id: ImageId, sender: Sender, digest: str) -> None:
        """Note that the sender has sent the JSON with this hex digest."""
        key = f"{keys.pushes(image_id)}/sent-{sender.mark}-{digest}"
        self._storage.put(key, b"true", durable=False)

    def jsons(self, image_id: ImageId, sender: Sender) -> list[str]:
        """Digests of the JSONs that the sender has sent, the newest first."""
        prefix = f"sent-{sender.mark}-"
        found = []
        for entry in self._storage.list(keys.pushes(image_id)):
            if entry.name.startswith(prefix):
                modified = self._modified(image_id, entry.name)
                if modified is not None:
                    found.append((modified, entry.name.removeprefix(prefix)))
        return [digest for _, digest in sorted(found, reverse=True)]

    def prove(self, image_id: ImageId, key: str) -> None:
        """Note that an asker has sent the image as it is."""
        proof = f"{keys.pushes(image_id)}/proof-{mark(key)}"
        self._storage.put(proof, b"true", durable=False)  # no push outlives a power cut

    def has_proven(self, image_id: ImageId, key: str) -> bool:
        """Whether he has, not long ago."""
        modified = self._modified(image_id, f"proof-{mark(key)}")
        return modified is not None and modified > time.time() - self._life

    def _modified(self, image_id: ImageId, name: str) -> float | None:
        try:
            return self._storage.stat(f"{keys.pushes(image_id)}/{name}").modified
        except NotFound:
            return None
