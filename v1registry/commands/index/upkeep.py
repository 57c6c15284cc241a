"""`v1registry index rebuild`."""

from __future__ import annotations

from dataclasses import asdict

import click

from v1registry.commandline import configured, failure
from v1registry.commands.index.common import as_json, tell


@click.command("rebuild")
@click.option(
    "--image-lists",
    is_flag=True,
    help="Copy image lists, too: before the index moves away from the store (index.alone).",
)
@as_json
def rebuild(image_lists: bool, as_json: bool) -> None:
    """Compare the index, or the search's database, with the whole store, and mend it.

    Safe at any time, beside running servers, which do the same every index.repair_interval. Nothing
    that only the index knows is lost: descriptions, stars, comments.
    """
    config = configured()
    if config.database is None:
        raise failure(click.ClickException("no database is configured: see index.database"))
    if config.index.alone:
        raise failure(click.ClickException("an index alone has no store to compare with"))
    from v1registry import ownindex

    report, lists = ownindex.rebuild(config, with_lists=image_lists)
    value = asdict(report) | ({"image_lists": lists} if image_lists else {})
    tell(as_json, value, f"{report}" + (f", {lists} image lists copied" if image_lists else ""))
