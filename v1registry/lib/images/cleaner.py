"""Removing what broken pushes left behind, by age.

Every step can be repeated (docs/architecture.md#rule-4-writes-are-atomic).

Nothing of a push that was touched within the last `life` seconds is removed,
nor anything that a record names and that is not carried out yet: that is
carried out instead.
"""

from __future__ import annotations

from dataclasses import dataclass

from v1registry.lib.images.commit import Commits
from v1registry.lib.names import ImageId
from v1registry.storage import Stage, Storage, exists, keys
from v1registry.storage.errors import NotFound


@dataclass(slots=True)
class CleaningReport:
    """What a run did: counts of things removed, and of images finished for others."""

    finished: int = 0
    pushes: int = 0
    stages: int = 0
    files: int = 0

    def any(self) -> bool:
        return bool(self.finished or self.pushes or self.stages or self.files)

    def __str__(self) -> str:
        return (
            f"{self.finished} images finished, {self.pushes} pushes, {self.stages} staged layers"
            f" and {self.files} temporary files removed"
        )


class Cleaner:
    """Cleans one store."""

    def __init__(self, storage: Storage, commits: Commits) -> None:
        self._storage = storage
        self._commits = commits

    def clean(self, before: float) -> CleaningReport:
        """Remove leftovers last touched before `before` (seconds since the epoch)."""
        report = CleaningReport()
        stages: dict[str, list[Stage]] = {}
        for stage in self._storage.stages():
            stages.setdefault(stage.key, []).append(stage)
        for entry in list(self._storage.list(keys.PUSHES)):
            if ImageId.is_valid(entry.name):
                image_id = ImageId(entry.name)
                layer = keys.image(image_id, "layer")
                self._clean_pushes(image_id, stages.pop(layer, []), before, report)
        for orphans in stages.values():
            # the worker died between the first byte and the note about the copy
            self._abandon([stage for stage in orphans if stage.modified < before], report)
        report.files = self._storage.clean(before)
        return report

    def _clean_pushes(
        self, image_id: ImageId, stages: list[Stage], before: float, report: CleaningReport
    ) -> None:
        folder = keys.pushes(image_id)
        if exists(self._storage, keys.image(image_id, "_inprogress")):
            report.finished += self._commits.settle(image_id)
        times = {name: self._modified(f"{folder}/{name}") for name in self._names(folder)}
        if max([*times.values(), *(stage.modified for stage in stages)], default=0.0) >= before:
            return
        if not self._storage.creates_atomically:
            # two records, and a node that ended while it carried out the earlier one
            self._commits.settle(image_id)
        self._abandon(stages, report)
        self._unmark(image_id)
        for name, modified in times.items():
            if self._modified(f"{folder}/{name}") == modified:  # else it was sent again just now
                self._storage.delete(f"{folder}/{name}")
        report.pushes += 1

    def _abandon(self, stages: list[Stage], report: CleaningReport) -> None:
        for stage in stages:
            self._storage.abandon(stage.handle)
            report.stages += 1

    def _unmark(self, image_id: ImageId) -> None:
        """Take the mark off an image of which nothing else came; 0.x's own open ones stay."""
        if not exists(self._storage, keys.image(image_id, "json")):
            self._storage.delete(keys.image(image_id, "_inprogress"))

    def _names(self, folder: str) -> list[str]:
        return [entry.name for entry in self._storage.list(folder)]

    def _modified(self, key: str) -> float:
        try:
            return self._storage.stat(key).modified
        except NotFound:
            return 0.0
