"""Helpers of the index commands: open the configured index, print results and errors."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from v1registry.commands.common import failure, load_configuration, prepare_store, work_as_owner
from v1registry.config import ConfigError
from v1registry.config.option import Option
from v1registry.lib.errors import Failure, with_cause
from v1registry.lib.names import suits_old_engines
from v1registry.lib.running import in_place
from v1registry.storage import Storage
from v1registry.storage.errors import StorageError
from v1registry.wiring.store import opened

if TYPE_CHECKING:
    from v1registry.wiring.index import OwnIndex

F = TypeVar("F", bound=Callable[..., Any])

as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


class ErrorReportingGroup(click.Group):
    """A group whose commands print errors of the domain as one line."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (Failure, StorageError, ConfigError) as error:
            raise failure(click.ClickException(with_cause(error))) from None


class Duration(click.ParamType[int]):
    """A duration in the format of the configuration: 3600, 30m, 7d. Its value is in seconds."""

    name = "time"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        if isinstance(value, int):
            return value
        try:
            return int(Option("life", "duration", "", at_least=1).check(value))
        except ValueError as error:
            self.fail(f"{error}, not {value!r}", param, ctx)


def open_index() -> OwnIndex:
    """Open the configured index."""
    return open_index_and_store(needs_store=False)[0]


def open_index_and_store(*, needs_store: bool = True) -> tuple[OwnIndex, Storage | None]:
    """Open the configured index and the store; the store is None for an index without a store."""
    config = load_configuration()
    if config.index.database is None:
        raise failure(
            click.ClickException("no index is configured: set index.database, or INDEX_DATABASE")
        )
    if needs_store:
        prepare_store(config)
    else:
        work_as_owner(config)
    logging.getLogger("v1registry").addHandler(
        logging.NullHandler()
    )  # the command prints errors itself
    from v1registry.wiring import index  # imports SQLAlchemy, which is slow

    database = index.opened(config, in_place, index.unbounded)
    click.get_current_context().call_on_close(database.close)
    database.prepare()
    storage = opened(config, in_place) if config.storage else None
    if storage is not None and needs_store:
        storage.prepare()
    taken = index.taken_in(storage) if storage is not None else lambda _: False
    return index.build_parts(config, database, in_place, taken), storage


def warn_of_old_engines(namespace: str) -> None:
    """Warn on standard error about a namespace that Docker up to 1.5 cannot use."""
    if not suits_old_engines(namespace):
        click.echo(
            f"warning: Docker engines up to 1.5 cannot use the namespace {namespace}: they accept"
            " only 4 to 30 characters of a-z, 0-9 and _",
            err=True,
        )


def print_result(as_json: bool, value: Any, text: str) -> None:
    """Print a result as JSON, or else its text."""
    click.echo(json.dumps(value) if as_json else text)


def print_rows(as_json: bool, rows: Iterable[Any], columns: Mapping[str, str]) -> None:
    """Print dataclasses as a JSON list, or as a table; `columns` maps fields to headings."""
    found = [asdict(row) for row in rows]
    if as_json:
        click.echo(json.dumps(found))
        return
    lines = [list(columns.values())]
    lines += [[cell(field, row[field]) for field in columns] for row in found]
    for line in _aligned(lines):
        click.echo(line)


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def cell(field: str, value: Any) -> str:
    """Return the value of a field as text for a table."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if field in ("created", "expires", "updated", "missing"):
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M")
    return str(value)
