"""Helpers of the index commands: open the configured index, print results."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from v1registry.commands.common import load_configuration, prepare_store
from v1registry.commands.errors import CommandError
from v1registry.commands.owner import take_owner
from v1registry.config import ConfigError
from v1registry.lib.errors import Failure, with_cause
from v1registry.lib.names import suits_old_engines
from v1registry.lib.running import in_place
from v1registry.storage import Storage
from v1registry.storage.errors import StorageError
from v1registry.wiring.store import opened

if TYPE_CHECKING:
    from v1registry.wiring.index import OwnIndex

Row = TypeVar("Row")

#: Headings of columns that are not the name of the field.
_HEADINGS = {"email": "E-MAIL", "is_signing": "SIGNS", "missing": "NOT IN STORE SINCE"}


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a command: the text it prints, or the value with --json; and its exit status."""

    text: str
    value: Any
    status: int = 0


class IndexCommand(click.Command):
    """A command with the option --json, whose function returns a `Result`."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        help = "Print the result as JSON."
        self.params.append(click.Option(["--json", "as_json"], is_flag=True, help=help))

    def invoke(self, ctx: click.Context) -> None:
        as_json = ctx.params.pop("as_json")
        try:
            result: Result = super().invoke(ctx)
        except (Failure, StorageError, ConfigError) as error:
            raise CommandError(with_cause(error)) from None
        click.echo(json.dumps(result.value) if as_json else result.text)
        ctx.exit(result.status)


class IndexGroup(click.Group):
    """A group of `IndexCommand`s."""

    command_class = IndexCommand


def open_index() -> OwnIndex:
    """Open the configured index."""
    return open_index_and_store(needs_store=False)[0]


def open_index_and_store(*, needs_store: bool = True) -> tuple[OwnIndex, Storage | None]:
    """Open the configured index and the store; the store is None for an index without a store."""
    config = load_configuration()
    if config.index.database is None:
        raise CommandError("no index is configured: set index.database, or INDEX_DATABASE")
    if needs_store:
        prepare_store(config)
    else:
        take_owner(config)
    # The command prints errors itself.
    logging.getLogger("v1registry").addHandler(logging.NullHandler())
    from v1registry.wiring import index  # imports SQLAlchemy, which is slow
    from v1registry.wiring.database import opened as opened_database
    from v1registry.wiring.database import unbounded

    database = opened_database(config, in_place, unbounded)
    click.get_current_context().call_on_close(database.close)
    database.prepare()
    storage = opened(config, in_place) if config.storage else None
    if storage is not None and needs_store:
        storage.prepare()
    taken = index.taken_in(storage) if storage is not None else lambda _: False
    return index.OwnIndex(config, database, in_place, taken), storage


def warn_of_old_engines(namespace: str) -> None:
    """Warn on standard error about a namespace that Docker up to 1.5 cannot use."""
    if not suits_old_engines(namespace):
        click.echo(
            f"warning: Docker engines up to 1.5 cannot use the namespace {namespace}: they accept"
            " only 4 to 30 characters of a-z, 0-9 and _",
            err=True,
        )


def every(page: Callable[..., Sequence[Any]]) -> list[Any]:
    """Return the rows of all pages. `page(after=name)` returns the rows that follow this name."""
    found = list(rows := page())
    while rows:
        found += (rows := page(after=rows[-1].name))
    return found


def table(rows: Iterable[Any], *columns: str) -> Result:
    """Return dataclasses as a result: as JSON all fields, as text a table with these columns."""
    found = [asdict(row) for row in rows]
    lines = [[heading(field) for field in columns]]
    lines += [[cell(field, row[field]) for field in columns] for row in found]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = [
        [cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines
    ]
    return Result("\n".join("  ".join(line).rstrip() for line in padded), found)


def heading(field: str) -> str:
    """Return the heading of a column."""
    return _HEADINGS.get(field) or field.removeprefix("is_").upper()


def cell(field: str, value: Any) -> str:
    """Return the value of a field as text for a table."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if field in ("created", "expires", "updated", "missing"):
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M")
    return str(value)
