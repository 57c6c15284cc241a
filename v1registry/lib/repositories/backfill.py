"""Facts about images that we keep beside them, and that a store written by 0.x lacks.

`v1registry backfill` builds each kind in turn. A kind is one class, in a module of its own if it is
large, and is listed in `create_app`'s parts.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from v1registry.lib.names import RepositoryName
from v1registry.lib.repositories import image_list, walk
from v1registry.lib.repositories.image_list import ImageLists
from v1registry.lib.repositories.references import RepositoryReferences
from v1registry.lib.repositories.tags import Tags, Told
from v1registry.storage import Storage, exists, keys

_REACH = f"{keys.OURS}/facts/reach"  # lies there once reach was built for the whole store
_LOOKED_AT = 20  # images of a store, to see who wrote it


class BackfillProgress(Protocol):
    """Told now and then how far the work is; `total` is None where nobody knows."""

    def __call__(self, what: str, done: int, total: int | None, size: int = 0) -> None: ...


def _untold(what: str, done: int, total: int | None, size: int = 0) -> None:
    pass


@dataclass
class Run:
    """How facts are built, and what is found on the way.

    `jobs` things are done at once; `again`: what was found bad before is looked at once more.
    `problems` are told to people and scripts; `tags` collects a row a tag, if it is a list.
    """

    jobs: int = 1
    again: bool = False
    progress: BackfillProgress = _untold
    problems: list[dict[str, str]] = field(default_factory=list)
    tags: list[dict[str, Any]] | None = None
    _left_out: set[tuple[str, str, str]] = field(default_factory=set)

    def unreadable(self, repository: RepositoryName) -> Told:
        """What to call with unreadable tags of this repository: each becomes one problem."""

        return lambda tag, reason: self.left_out(str(repository), tag, reason)

    def left_out(self, repository: str, tag: str, reason: str) -> None:
        """Add a problem of the store, once however many kinds of facts meet it."""
        if (repository, tag, reason) not in self._left_out:
            self._left_out.add((repository, tag, reason))
            self.problems.append({"repository": repository, "tag": tag, "problem": reason})


class Backfill(Protocol):
    """One kind of facts."""

    #: the word for it on the command line
    name: str

    def build(self, run: Run) -> Mapping[str, int]:
        """Build what lacks, beside a serving registry; return counts of what was done by name.

        May be broken off and called again at any time. Raises StorageError.
        """


class ReferenceBackfill:
    """Which repositories reach each image (see `lib.reach`)."""

    name = "reach"

    def __init__(
        self, storage: Storage, tags: Tags, reach: RepositoryReferences, image_lists: ImageLists
    ) -> None:
        self._storage = storage
        self._tags = tags
        self._image_lists = image_lists
        self._reach = reach

    def build(self, run: Run) -> Mapping[str, int]:
        repositories = written = dropped = 0
        for repository in walk.repositories(self._storage, run.left_out):
            repositories += 1
            if self._image_lists.is_damaged(repository):
                run.left_out(str(repository), "", image_list.DAMAGED)
            tags = self._tags.all(repository, run.unreadable(repository)) or {}
            written += self._reach.mend(repository, tags)
            run.progress("repositories", repositories, None)
        for done, image_id in enumerate(walk.images(self._storage), 1):
            dropped += self._reach.drop_stale(image_id)
            run.progress("images", done, None)
        self._storage.put(_REACH, b"true")
        return {"repositories": repositories, "written": written, "dropped": dropped}


def lacks_reach(storage: Storage) -> bool:
    """Whether the store seems to be one of 0.x for which reach was never built."""
    if exists(storage, _REACH):
        return False
    return any(
        exists(storage, keys.image(image_id, "json"))
        and not exists(storage, keys.image(image_id, "_commit"))
        for image_id in itertools.islice(walk.images(storage), _LOOKED_AT)
    )
