"""Facts about images that we keep beside them, and that a store written by 0.x lacks.

`v1registry facts` builds each kind in turn. A kind is one class, in a module of its own if it is
large, and is listed in `create_app`'s parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from v1registry.lib import walk
from v1registry.lib.reach import Reach
from v1registry.lib.tags import Tags
from v1registry.storage import Storage


class Facts(Protocol):
    """One kind of facts."""

    #: the word for it on the command line
    name: str

    def build(self) -> Mapping[str, int]:
        """Build what lacks, beside a serving registry; return counts of what was done by name.

        May be broken off and called again at any time. Raises StorageError.
        """


class ReachFacts:
    """Which repositories reach each image (see `lib.reach`)."""

    name = "reach"

    def __init__(self, storage: Storage, tags: Tags, reach: Reach) -> None:
        self._storage = storage
        self._tags = tags
        self._reach = reach

    def build(self) -> Mapping[str, int]:
        repositories = written = dropped = 0
        for repository in walk.repositories(self._storage):
            repositories += 1
            written += self._reach.mend(repository, self._tags.all(repository) or {})
        for image_id in walk.images(self._storage):
            dropped += self._reach.drop_stale(image_id)
        return {"repositories": repositories, "written": written, "dropped": dropped}
