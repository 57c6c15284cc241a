"""The cleaner: deletes what abandoned pushes left behind, by age.

Every step can be repeated (docs/architecture.md#rule-4-writes-are-atomic).

The cleaner keeps every push that was active within the last `life` seconds. It completes a commit
that has a commit record, instead of deleting what the record names.
"""

from __future__ import annotations

from dataclasses import dataclass

from v1registry.lib.images.commit import Commits
from v1registry.lib.names import ImageId
from v1registry.storage import Stage, Storage, exists, keys
from v1registry.storage.errors import NotFound


@dataclass(slots=True)
class CleaningReport:
    """Counts of what one run deleted, and of the commits it completed (`finished`)."""

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
        """Delete leftovers last modified before `before` (seconds since the epoch)."""
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
            # The worker died after it staged bytes and before it wrote their note.
            self._abandon([stage for stage in orphans if stage.modified < before], report)
        report.files = self._storage.clean(before)
        return report

    def _clean_pushes(
        self, image_id: ImageId, stages: list[Stage], before: float, report: CleaningReport
    ) -> None:
        folder = keys.pushes(image_id)
        if exists(self._storage, keys.image(image_id, "_inprogress")):
            report.finished += self._commits.complete(image_id)
        times = {name: self._modified(f"{folder}/{name}") for name in self._names(folder)}
        if max([*times.values(), *(stage.modified for stage in stages)], default=0.0) >= before:
            return
        if not self._storage.creates_atomically:
            # There may have been two records, and the node that completed the earlier one died.
            self._commits.complete(image_id)
        self._abandon(stages, report)
        self._unmark(image_id)
        for name, modified in times.items():
            if self._modified(f"{folder}/{name}") == modified:  # else a client sent it again
                self._storage.delete(f"{folder}/{name}")
        report.pushes += 1

    def _abandon(self, stages: list[Stage], report: CleaningReport) -> None:
        for stage in stages:
            self._storage.abandon(stage.handle)
            report.stages += 1

    def _unmark(self, image_id: ImageId) -> None:
        """Delete the mark of an image without JSON. Pushes that 0.x left open keep theirs."""
        if not exists(self._storage, keys.image(image_id, "json")):
            self._storage.delete(keys.image(image_id, "_inprogress"))

    def _names(self, folder: str) -> list[str]:
        return [entry.name for entry in self._storage.list(folder)]

    def _modified(self, key: str) -> float:
        try:
            return self._storage.stat(key).modified
        except NotFound:
            return 0.0
