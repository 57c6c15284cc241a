"""The command `backfill`."""

from __future__ import annotations

import copy
import json
import os
import sys
from typing import Any

import click

from v1registry.commands.common import load_configuration, prepare_store
from v1registry.commands.errors import CommandError
from v1registry.commands.progress import CommandProgress
from v1registry.lib.repositories.backfill import BackfillRun

_EXIT_PROBLEMS = 3


@click.command("backfill")
@click.option("--only", metavar="KIND", help="Build this kind alone.")
@click.option("--jobs", type=click.IntRange(min=1), help="Number of layers to read at once.")
@click.option("--again", is_flag=True, help="Read layers again that were found damaged.")
@click.option("--json", "as_json", is_flag=True, help="Print counts, problems and tags as JSON.")
def backfill(only: str | None, jobs: int | None, again: bool, as_json: bool) -> None:
    """Compute the files beside images that a store of docker-registry 0.x does not have.

    It is safe to run this at any time, beside running servers, and to interrupt it: results that
    are there stay. The kinds:

    `reach`: repository references, which say which repositories contain an image. Without them,
    authenticated users cannot read images that docker-registry 0.x wrote.

    `blobs`: layer metadata of every layer and tag for v2 clients. Without it, the first v2 client
    waits while the registry reads the layers of an image. Damaged layers are listed.

    Tags and repositories that cannot be read, or not over v2, are listed too.

    Exit status: 0, 3 if something is damaged or cannot be shown over v2, 1 for a failure.
    """
    from v1registry.wiring.registry import build_registry

    config = load_configuration()
    if config.read_only:
        raise CommandError("read_only is set: nothing is written")
    prepare_store(config)
    progress = CommandProgress(sys.stderr)
    run = BackfillRun(
        jobs or len(os.sched_getaffinity(0)), again, progress, tags=[] if as_json else None
    )
    counts: dict[str, dict[str, int]] = {}
    try:
        services = build_registry(config)
        services.read_only_switch.require_off()
        kinds = services.backfills
        if only is not None and only not in {kind.name for kind in kinds}:
            known = ", ".join(kind.name for kind in kinds)
            raise CommandError(f"no kind {only!r} (there are: {known})")
        for kind in kinds:
            if only in (None, kind.name):
                counts[kind.name] = dict(kind.build(run))
    finally:
        progress.end()
    _report(counts, {kind.name: kind.title for kind in kinds}, run, as_json)
    if run.problems:
        raise click.exceptions.Exit(_EXIT_PROBLEMS)


#: The name of `backfill` before release 1.0, which scripts and cron jobs may still call.
facts = copy.copy(backfill)
facts.name, facts.hidden = "facts", True


def _report(
    counts: dict[str, dict[str, int]], titles: dict[str, str], run: BackfillRun, as_json: bool
) -> None:
    if as_json:
        report: dict[str, Any] = {**counts, "problems": run.problems, "tags": run.tags}
        click.echo(json.dumps(report))
        return
    for name, kind_counts in counts.items():
        found = ", ".join(f"{n} {word}" for word, n in kind_counts.items() if n)
        click.echo(f"{titles[name]}: {found}")
    for problem in run.problems:
        click.echo(f"{_subject(problem)}: {problem['problem']}")


def _subject(problem: dict[str, str]) -> str:
    """Return what a problem is about: an image, or a tag and its image if the tag names one."""
    if "tag" not in problem:
        return problem["image"]
    name = f"{problem['repository']}:{problem['tag']}" if problem["tag"] else problem["repository"]
    return f"{name} ({problem['image']})" if "image" in problem else name
