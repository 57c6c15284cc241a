"""One run of garbage collection: it deletes what the last run hid, and hides new garbage."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import Any

from v1registry.lib.maintenance.collector import Collection, Deleted, GarbageCollector, Plan
from v1registry.lib.repositories.backfill import BackfillRun

_LARGEST = 10  # images that a report lists


class GcRefused(Exception):
    """Nothing was hidden or deleted; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class GcOptions:
    """`grace` in seconds; `max_share` of all images, 0 to 1; `confirmed`: ignore the limits."""

    grace: float
    max_share: float
    confirmed: bool = False
    dry_run: bool = False


@dataclass(slots=True)
class GcReport:
    """What a run found and did. Times in seconds since the epoch, sizes in bytes."""

    images: int = 0
    reachable: int = 0
    garbage: int = 0
    garbage_bytes: int = 0
    deleted: Deleted = field(default_factory=Deleted)
    deletes_after: float | None = None
    hidden: bool = False
    largest: list[dict[str, Any]] = field(default_factory=list)
    problems: list[dict[str, str]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def run(collector: GarbageCollector, backfill: BackfillRun, options: GcOptions) -> GcReport:
    """Run garbage collection once; `backfill` is the run that `collector` uses.

    Raise GcRefused if the garbage is too large a share of all images, or if a tag cannot be read:
    an administrator may want to restore it with its image. Raise StorageError.
    """
    report = GcReport()
    waiting: list[Collection] = []
    if not options.dry_run:
        collector.clean()
    for collection in collector.collections():
        if options.dry_run or time.time() < collection.due:
            waiting.append(collection)
        else:
            deleted = collector.collect(collection, lambda: _refuse_unreadable(backfill, options))
            report.deleted.images += deleted.images
            report.deleted.bytes += deleted.bytes
            report.deleted.kept += deleted.kept
    if waiting:
        report.deletes_after = min(collection.due for collection in waiting)
        if not options.dry_run:
            return report
    plan = collector.plan(options.grace)
    report.images, report.reachable = plan.images, plan.reachable
    report.garbage, report.garbage_bytes = len(plan.garbage), plan.bytes
    largest = sorted(plan.garbage, key=lambda item: item.size, reverse=True)[:_LARGEST]
    report.largest = [{"image": item.id, "bytes": item.size} for item in largest]
    report.problems = backfill.problems
    if options.dry_run or not plan.garbage:
        return report
    _refuse_unreadable(backfill, options)
    _refuse_share(plan, options)
    report.deletes_after = collector.hide(plan).due
    report.hidden = True
    return report


def _refuse_unreadable(backfill: BackfillRun, options: GcOptions) -> None:
    if not backfill.problems or options.confirmed:
        return
    names = [_name(problem) for problem in backfill.problems[:_LARGEST]]
    more = len(backfill.problems) - len(names)
    raise GcRefused(
        f"these tags cannot be read, so their images would count as garbage: {', '.join(names)}"
        f"{f' and {more} more' if more else ''}. Repair or delete them, or confirm with --yes"
    )


def _refuse_share(plan: Plan, options: GcOptions) -> None:
    if plan.share > options.max_share and not options.confirmed:
        raise GcRefused(
            f"{len(plan.garbage):,} of {plan.images:,} images are garbage, more than"
            f" {options.max_share:.0%} (--max-share). Look at them with --dry-run, and confirm with"
            " --yes"
        )


def _name(problem: dict[str, str]) -> str:
    return ":".join(filter(None, (problem.get("repository"), problem.get("tag"))))
