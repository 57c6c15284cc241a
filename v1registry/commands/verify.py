"""The command `verify`."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import click

from v1registry.commands.common import load_configuration, prepare_store
from v1registry.commands.errors import CommandError
from v1registry.commands.progress import CommandProgress
from v1registry.commands.results import confirm
from v1registry.lib.maintenance.findings import CODES, Finding
from v1registry.lib.support.lease import Lease, LeaseLost

if TYPE_CHECKING:
    from v1registry.lib.maintenance.repair import Repairs
    from v1registry.lib.maintenance.verify import Row, Verification

_EXIT_FINDINGS = 3


@click.command("verify")
@click.option("--repair", is_flag=True, help="Repair what can be repaired without any loss.")
@click.option(
    "--deep", is_flag=True, help="Read all layers, and compare them with their checksums."
)
@click.option(
    "--repositories", "glob", metavar="GLOB", help="Check only these repositories and their images."
)
@click.option("--yes", is_flag=True, help="Do not ask before the repair.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.option("--jobs", type=click.IntRange(1, 256), help="Number of objects to check at once.")
def verify(
    repair: bool, deep: bool, glob: str | None, yes: bool, as_json: bool, jobs: int | None
) -> None:
    """Find damage in the store: images, tags, repositories, and the registry's own files.

    It is safe to run this at any time, beside servers and pushes. A run that was stopped continues
    where it was, within a day. The table of all findings is in docs/maintenance.md.

    Exit status: 0, 3 if there are errors or warnings, 1 if nothing could be done.
    """
    from v1registry.lib.maintenance.verify import Verification, VerifyJournal
    from v1registry.wiring import maintenance as wiring
    from v1registry.wiring.registry import build_registry

    if repair and as_json and not yes:
        raise click.UsageError("--json with --repair needs --yes")
    config = load_configuration()
    if config.read_only and repair:
        raise CommandError(
            "read_only is set: nothing is repaired; use a node that writes to the store"
        )
    prepare_store(config)
    services = build_registry(config)
    if repair:
        services.read_only_switch.require_off()
    storage = services.storage
    is_read_only = config.read_only or services.read_only_switch.state() is not None
    leases = [] if is_read_only else [wiring.verify_lease(storage)]
    if repair:
        leases.append(wiring.gc_lease(storage))
    jobs = jobs or 4 * len(os.sched_getaffinity(0))
    shown = CommandProgress(sys.stderr)
    progress = wiring.extending(shown, *(lease.extend for lease in leases))
    with _held(leases), ThreadPoolExecutor(jobs) as pool:
        try:
            journal = VerifyJournal(None if is_read_only else storage)
            cursor = journal.load({"deep": deep, "repositories": glob})
            if cursor.saved:
                when = time.strftime("%Y-%m-%d %H:%M", time.localtime(cursor.started))
                click.echo(f"v1registry: continuing the run of {when}", err=True)
            checks = wiring.store_checks(config, services, glob, deep=deep)
            run = Verification(
                checks.phases(), journal, cursor, pool, jobs, progress, checks.look_again
            )
            run.run()
        finally:
            shown.end()
        if not checks.with_references:
            click.echo(
                "v1registry: missing repository references are not checked: run v1registry backfill",
                err=True,
            )
        repairs = wiring.repairs(config, services, checks) if repair else None
        try:
            failed = _report(run, cursor.checked, repairs, yes, as_json)
        except CommandError:
            journal.delete()
            raise
        finally:
            shown.end()
        journal.delete()
    if failed:
        raise click.exceptions.Exit(_EXIT_FINDINGS)


@contextmanager
def _held(leases: list[Lease]) -> Iterator[None]:
    """Hold these leases. Raise CommandError if another process holds one, or if one is lost."""
    with ExitStack() as stack:
        for lease in leases:
            stack.callback(lease.release)  # first: an interrupt may come within `take`
            if not lease.take():
                raise CommandError(
                    "another process is verifying or collecting garbage: run verify again when it has ended"
                )
        try:
            yield
        except LeaseLost:
            raise CommandError(
                "the store was too slow, so another process may have taken over: run verify again"
            ) from None


def _report(
    run: Verification, checked: dict[str, int], repairs: Repairs | None, yes: bool, as_json: bool
) -> bool:
    """Print the findings, repair them if wanted, and return whether errors or warnings remain."""
    counts = dict.fromkeys(("error", "warning", "info", "fixable"), 0)
    if as_json:
        click.echo(f'{{"checked": {json.dumps(checked)}, "findings": [', nl=False)
    for number, row in enumerate(run.rows()):
        counts[row.finding.severity] += 1
        counts["fixable"] += row.finding.fixable
        _show(row.finding, number, as_json)
    if as_json:
        click.echo("]", nl=False)
    else:
        click.echo(_summary(checked, counts))
    remains = bool(counts["error"] or counts["warning"])
    if repairs is not None and counts["fixable"]:
        remains = _repair(run, repairs, counts["fixable"], yes, as_json)
    if as_json:
        click.echo("}")
    return remains


def _repair(run: Verification, repairs: Repairs, count: int, yes: bool, as_json: bool) -> bool:
    """Print what will be done, do it, and print what remains; return whether that is serious."""
    for row in run.rows():
        if row.finding.fixable:
            what = CODES[row.finding.code].repair
            click.echo(f"repair: {row.finding.object}: {what}", err=as_json)
    confirm(f"Repair {count:,} findings?", yes)
    if as_json:
        click.echo(', "remaining": [', nl=False)
    remains = _show_all(run.repair(repairs.repair), as_json)
    click.echo("]" if as_json else "repaired", nl=not as_json)
    return remains


def _show_all(rows: Iterable[Row], as_json: bool) -> bool:
    """Print the findings; return whether one of them is an error or a warning."""
    is_serious = False
    for number, row in enumerate(rows):
        if number == 0 and not as_json:
            click.echo("these findings remain:")
        _show(row.finding, number, as_json)
        is_serious = is_serious or row.finding.severity != "info"
    return is_serious


def _show(finding: Finding, number: int, as_json: bool) -> None:
    if as_json:
        click.echo(f"{', ' if number else ''}{json.dumps(finding.as_json())}", nl=False)
        return
    fix = " [--repair]" if finding.fixable else ""
    name = ascii(finding.object)[1:-1]
    click.echo(f"{finding.severity}: {finding.code}: {name}: {finding.explanation}{fix}")


def _summary(checked: dict[str, int], counts: dict[str, int]) -> str:
    done = ", ".join(f"{number:,} {name}" for name, number in checked.items())
    return (
        f"checked: {done or 'nothing'}\n"
        f"errors: {counts['error']:,}, warnings: {counts['warning']:,}, info: {counts['info']:,};"
        f" --repair repairs {counts['fixable']:,}"
    )
