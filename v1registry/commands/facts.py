"""`v1registry facts`."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import click

from v1registry.commands.common import configured, failure, ready
from v1registry.commands.progress import CommandProgress
from v1registry.lib.repositories.backfill import Run
from v1registry.storage.errors import StorageError

_PROBLEMS = 3  # exit status


@click.command("facts")
@click.option("--only", metavar="KIND", help="Build this kind alone.")
@click.option("--jobs", type=click.IntRange(min=1), help="How many layers to read at once.")
@click.option("--again", is_flag=True, help="Look anew at layers that were found damaged.")
@click.option("--json", "as_json", is_flag=True, help="A report as JSON: counts, problems, tags.")
def facts(only: str | None, jobs: int | None, again: bool, as_json: bool) -> None:
    """Build what we keep beside images and a store written by 0.x lacks.

    Safe at any time, beside running servers, and when broken off: what is there stays. The kinds:

    `reach`, which repositories reach an image. Without it, whoever must prove who he is can read
    nothing of an older store by an image's id.

    `blobs`, what v2 clients must know of every layer and tag. Without it, the first of them waits
    while the layers of an image are read. Damaged layers are named.

    Tags and repositories that cannot be read, or not over v2, are named, too.

    Exit status: 0, 3 if something is damaged or cannot be shown over v2, 1 for a failure.
    """
    from v1registry.app import build

    config = configured()
    if config.read_only:
        raise failure(click.ClickException("read_only is set: nothing is written"))
    ready(config)
    progress = CommandProgress(sys.stderr)
    run = Run(jobs or len(os.sched_getaffinity(0)), again, progress, tags=[] if as_json else None)
    done: dict[str, dict[str, int]] = {}
    try:
        kinds = build(config).facts
        if only is not None and only not in {kind.name for kind in kinds}:
            there = ", ".join(kind.name for kind in kinds)
            raise failure(click.ClickException(f"no kind {only!r} (there are: {there})"))
        for kind in kinds:
            if only in (None, kind.name):
                done[kind.name] = dict(kind.build(run))
    except StorageError as error:
        raise failure(error) from None
    finally:
        progress.end()
    _report(done, run, as_json)
    if run.problems:
        raise click.exceptions.Exit(_PROBLEMS)


def _report(done: dict[str, dict[str, int]], run: Run, as_json: bool) -> None:
    if as_json:
        report: dict[str, Any] = {**done, "problems": run.problems, "tags": run.tags}
        click.echo(json.dumps(report))
        return
    for name, counts in done.items():
        click.echo(f"{name}: {', '.join(f'{n} {word}' for word, n in counts.items() if n)}")
    for problem in run.problems:
        click.echo(f"{_subject(problem)}: {problem['problem']}")


def _subject(problem: dict[str, str]) -> str:
    """What a problem is about: an image, or a tag and the image that it points to, if any."""
    if "tag" not in problem:
        return problem["image"]
    name = f"{problem['repository']}:{problem['tag']}" if problem["tag"] else problem["repository"]
    return f"{name} ({problem['image']})" if "image" in problem else name
