"""The command `v1registry index rebuild`."""

from __future__ import annotations

from dataclasses import asdict

import click

from v1registry.commands.common import load_configuration, prepare_store
from v1registry.commands.errors import CommandError
from v1registry.commands.results import Result, ResultCommand

_EXIT_PROBLEMS = 3


@click.command("rebuild", cls=ResultCommand)
@click.option(
    "--image-lists",
    is_flag=True,
    help="Also copy image lists. Needed before the index runs without the store (index.alone).",
)
@click.option(
    "--missing",
    "trust_missing",
    is_flag=True,
    help="Hide every repository that is missing from the store now, without index.missing_grace.",
)
def rebuild(image_lists: bool, trust_missing: bool) -> Result:
    """Compare the index, or the search database, with the whole store, and correct it.

    It is safe to run this at any time, beside running servers. They do the same every
    index.repair_interval. Data that only the index has stays: privacy, descriptions, stars,
    comments. A repository that is missing from the store is hidden after index.missing_grace, and
    shown again when it comes back.

    Exit status: 0, 3 if something in the store cannot be read (the output names it), 1 for a failure.
    """
    config = load_configuration()
    if config.database is None:
        raise CommandError("no database is configured: see index.database")
    if config.index.alone:
        raise CommandError("an index alone has no store to compare with")
    from v1registry.wiring import index

    prepare_store(config)
    found: dict[tuple[str, str], str] = {}  # (repository, tag) -> reason

    def left_out(repository: str, tag: str, reason: str) -> None:
        found[repository, tag] = reason

    report, lists = index.rebuild(
        config, left_out, with_lists=image_lists, trust_missing=trust_missing
    )
    rows = [{"repository": r, "tag": t, "problem": why} for (r, t), why in sorted(found.items())]
    value = asdict(report) | ({"image_lists": lists} if image_lists else {}) | {"problems": rows}
    if not report.missing:
        del value["missing"], value["doubtful"]
    lines = [f"{report}" + (f", {lists} image lists copied" if image_lists else "")]
    lines += [f"{r}:{t}: {why}" if t else f"{r}: {why}" for (r, t), why in sorted(found.items())]
    return Result("\n".join(lines), value, _EXIT_PROBLEMS if rows else 0)
