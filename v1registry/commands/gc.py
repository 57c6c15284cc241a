"""The command `gc`."""

from __future__ import annotations

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import click

from v1registry.commands.common import Duration, load_configuration, prepare_store
from v1registry.commands.errors import CommandError
from v1registry.commands.progress import CommandProgress
from v1registry.lib.maintenance.gc import GcOptions, GcRefused, GcReport
from v1registry.lib.repositories.backfill import BackfillRun
from v1registry.lib.support.lease import LeaseLost
from v1registry.lib.units import human


class Percent(click.ParamType[float]):
    """A share such as 20%, as a number from 0 to 1."""

    name = "percent"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        try:
            number = float(str(value).rstrip("%"))
        except ValueError:
            number = -1
        if not 0 <= number <= 100:
            self.fail("must be a share such as 20%", param, ctx)
        return number / 100


@click.command("gc")
@click.option("--dry-run", is_flag=True, help="Only report what is garbage.")
@click.option(
    "--grace",
    type=Duration(),
    default="24h",
    show_default=True,
    help="Keep images that changed within this time.",
)
@click.option(
    "--max-share",
    type=Percent(),
    default="20%",
    show_default=True,
    help="Refuse to hide more than this share of all images.",
)
@click.option("--yes", is_flag=True, help="Continue despite --max-share and unreadable tags.")
@click.option(
    "--jobs", type=click.IntRange(1, 256), help="Number of requests to the store at once."
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def gc(
    dry_run: bool, grace: int, max_share: float, yes: bool, jobs: int | None, as_json: bool
) -> None:
    """Delete images that no tag leads to.

    It is safe to run this at any time, beside servers and pushes, and to interrupt it. A run hides
    the garbage from clients. A later run, after uploads_life and the caches' lifetimes, deletes what
    no client has pushed or tagged again. So run it once a day: every run deletes what the run
    before has hidden.

    Exit status: 0, or 1 if nothing could be done.
    """
    from v1registry.lib.maintenance import gc as maintenance
    from v1registry.wiring import maintenance as wiring
    from v1registry.wiring.registry import build_registry

    config = load_configuration()
    if config.read_only and not dry_run:
        raise CommandError(
            "read_only is set, so nothing is deleted: run gc on a node that writes to the store"
        )
    prepare_store(config)
    progress = CommandProgress(sys.stderr)
    jobs = jobs or 4 * len(os.sched_getaffinity(0))
    walked = BackfillRun(jobs, progress=progress)
    services = build_registry(config)
    if not dry_run:
        services.read_only_switch.require_off()
    storage = services.storage
    lease = None if dry_run else wiring.gc_lease(storage)
    if lease and not lease.take():
        raise CommandError("another process is collecting garbage: run gc again when it has ended")
    try:
        with ThreadPoolExecutor(jobs) as pool:
            collector = wiring.garbage_collector(config, storage, lease, pool, walked)
            options = GcOptions(grace, max_share, yes, dry_run)
            report = maintenance.run(collector, walked, options)
    except LeaseLost:
        raise CommandError(
            "the store was too slow, so another process may have taken over: run gc again"
        ) from None
    except GcRefused as error:
        raise CommandError(str(error)) from None
    finally:
        progress.end()
        if lease:
            lease.release()
    click.echo(json.dumps(report.as_json()) if as_json else _text(report, dry_run))


def _text(report: GcReport, dry_run: bool) -> str:
    lines = []
    deleted = report.deleted
    if deleted.images or deleted.kept:
        lines.append(f"images deleted: {deleted.images:,} ({human(deleted.bytes)})")
        lines.append(f"images kept, because they are needed again: {deleted.kept:,}")
    if report.images:
        lines.append(
            f"images: {report.images:,}, {report.reachable:,} of them with a tag or in a push"
        )
    if report.images or dry_run:
        lines.append(f"garbage: {report.garbage:,} ({human(report.garbage_bytes)})")
    if dry_run:
        lines += [f"  {human(item['bytes']):>10}  {item['image']}" for item in report.largest]
    for problem in report.problems:
        name = ":".join(filter(None, (problem.get("repository"), problem.get("tag"))))
        lines.append(f"{name}: {problem['problem']}")
    if report.deletes_after is not None:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(report.deletes_after))
        what = (
            "the garbage is hidden now"
            if report.hidden
            else "the garbage of an earlier run is hidden"
        )
        lines.append(f"{what}: run gc again after {when} to delete it")
    elif not report.garbage and not deleted.images:
        lines.append("nothing to delete")
    return "\n".join(lines)
