"""Backfill: computing data about images that a store written by 0.x lacks.

`v1registry backfill` runs each kind in turn. A kind is one class. `create_app` lists the kinds.
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
from v1registry.lib.repositories.tags import Tags, Unreadable
from v1registry.storage import Storage, exists, keys

_DONE = f"{keys.OURS}/facts/reach"  # exists after a backfill of the whole store
_SAMPLE = 20  # images that are checked for who wrote them


class BackfillProgress(Protocol):
    """Called from time to time with the progress; `total` is None if unknown."""

    def __call__(self, what: str, done: int, total: int | None, size: int = 0) -> None: ...


def _no_progress(what: str, done: int, total: int | None, size: int = 0) -> None:
    pass


@dataclass
class BackfillRun:
    """Settings and results of a backfill.

    `jobs` is the number of threads. `again` reads damaged layers once more. `problems` is the report
    for people and scripts. If `tags` is a list, a row for each tag is added to it.
    """

    jobs: int = 1
    again: bool = False
    progress: BackfillProgress = _no_progress
    problems: list[dict[str, str]] = field(default_factory=list)
    tags: list[dict[str, Any]] | None = None
    _left_out: set[tuple[str, str, str]] = field(default_factory=set)

    def unreadable(self, repository: RepositoryName) -> Unreadable:
        """Return a function that adds a problem for an unreadable tag of this repository."""

        return lambda tag, reason: self.left_out(str(repository), tag, reason)

    def left_out(self, repository: str, tag: str, reason: str) -> None:
        """Add a problem of the store, only once if several kinds find it."""
        if (repository, tag, reason) not in self._left_out:
            self._left_out.add((repository, tag, reason))
            self.problems.append({"repository": repository, "tag": tag, "problem": reason})


class Backfill(Protocol):
    """One kind of backfill."""

    #: its name on the command line and in JSON
    name: str
    #: its name for people
    title: str

    def build(self, run: BackfillRun) -> Mapping[str, int]:
        """Build what is missing, beside a serving registry; return named counts.

        It may be interrupted and started again at any time. Raise StorageError.
        """


@dataclass(frozen=True, slots=True)
class ReferenceBackfill:
    """Writes missing repository references and deletes stale ones (see `RepositoryReferences`)."""

    name = "reach"
    title = "repository references"

    storage: Storage
    tags: Tags
    references: RepositoryReferences
    image_lists: ImageLists

    def build(self, run: BackfillRun) -> Mapping[str, int]:
        repositories = written = dropped = 0
        for repository in walk.repositories(self.storage, run.left_out):
            repositories += 1
            if self.image_lists.is_damaged(repository):
                run.left_out(str(repository), "", image_list.DAMAGED)
            tags = self.tags.all(repository, run.unreadable(repository)) or {}
            written += self.references.repair(repository, tags)
            run.progress("repositories", repositories, None)
        for done, image_id in enumerate(walk.images(self.storage), 1):
            dropped += self.references.delete_stale(image_id)
            run.progress("images", done, None)
        self.storage.put(_DONE, b"true")
        return {"repositories": repositories, "written": written, "dropped": dropped}


def lacks_references(storage: Storage) -> bool:
    """Return whether 0.x seems to have written the store and no backfill has run."""
    if exists(storage, _DONE):
        return False
    return any(
        exists(storage, keys.image(image_id, "json"))
        and not exists(storage, keys.image(image_id, "_commit"))
        for image_id in itertools.islice(walk.images(storage), _SAMPLE)
    )
