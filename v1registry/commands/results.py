"""The results of commands: as a text or table for people, and as JSON for scripts."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import click

from v1registry.commands.errors import CommandError
from v1registry.config import ConfigError
from v1registry.lib.errors import Failure, with_cause
from v1registry.storage.errors import ReadOnly, StorageError

#: Headings of columns that are not the name of the field.
_HEADINGS = {"email": "E-MAIL", "is_signing": "SIGNS", "missing": "NOT IN STORE SINCE"}


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a command: the text it prints, or the value with --json; and its exit status."""

    text: str
    value: Any
    status: int = 0


class ResultCommand(click.Command):
    """A command with the option --json, whose function returns a `Result`."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        help = "Print the result as JSON."
        self.params.append(click.Option(["--json", "as_json"], is_flag=True, help=help))

    def invoke(self, ctx: click.Context) -> None:
        as_json = ctx.params.pop("as_json")
        try:
            result: Result = super().invoke(ctx)
        except ReadOnly:
            raise  # `cli.py` says what to do
        except (Failure, StorageError, ConfigError) as error:
            raise CommandError(with_cause(error)) from None
        click.echo(json.dumps(result.value) if as_json else result.text)
        ctx.exit(result.status)


class ResultGroup(click.Group):
    """A group of `ResultCommand`s."""

    command_class = ResultCommand


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


def confirm(question: str, yes: bool) -> None:
    """Ask the question on a terminal; elsewhere require `yes`. Raise CommandError if not confirmed."""
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise CommandError(f"{question} Confirm with --yes")
    if not click.confirm(question, err=True):
        raise CommandError("nothing was changed")
