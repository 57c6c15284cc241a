"""Options, selection of images and the report of `migrate`, `export` and `import`."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from v1registry.commands.common import failure, load_configuration, prepare_store, warn
from v1registry.commands.owner import explained
from v1registry.storage.errors import StorageError
from v1registry.transfer.errors import TransferError

if TYPE_CHECKING:
    from v1registry.api.services import RegistryServices
    from v1registry.config import Config
    from v1registry.transfer.report import TransferReport
    from v1registry.transfer.selection import Selection

F = TypeVar("F", bound=Callable[..., Any])


def selection_options(command: F) -> F:
    """Add the options that select and rename images to a command."""
    for option in (
        click.option(
            "--map",
            "names",
            multiple=True,
            metavar="OLD=NEW",
            help="Rename a repository; OLD/=NEW/ renames all whose names begin with OLD/.",
        ),
        click.option(
            "--tags",
            multiple=True,
            metavar="GLOB",
            help="Only tags that match one of these patterns.",
        ),
        click.option(
            "--repositories",
            multiple=True,
            metavar="GLOB",
            help="Only repositories that match, as namespace/name (* also matches /).",
        ),
    ):
        command = option(command)
    return command


def report_options(command: F) -> F:
    """Add the options for progress and report to a command."""
    for option in (
        click.option("--quiet", is_flag=True, help="No progress on standard error."),
        click.option(
            "--report",
            "report_file",
            type=click.Path(dir_okay=False, path_type=Path),
            help="Also write the report as JSON to this file.",
        ),
        click.option("--json", "as_json", is_flag=True, help="Print the report as JSON."),
    ):
        command = option(command)
    return command


@contextlib.contextmanager
def errors_reported() -> Iterator[None]:
    """Turn expected errors into a line on standard error and an exit status."""
    try:
        yield
    except TransferError as error:
        raise failure(TransferError(explained(str(error)))) from None
    except StorageError as error:
        raise failure(error) from None
    except BrokenPipeError:
        raise click.exceptions.Exit(1) from None


def parse_selection(
    repositories: tuple[str, ...], tags: tuple[str, ...], names: tuple[str, ...]
) -> Selection:
    from v1registry.transfer.selection import Selection, rule

    return Selection(repositories, tags, [rule(text) for text in names])


def build_services(
    file: Path | None, flavor: str | None, *, begins: bool = False
) -> RegistryServices:
    from v1registry.wiring.registry import build_registry

    config: Config = load_configuration(file, flavor)
    warn(config.warnings)
    prepare_store(config, begins=begins)
    return build_registry(dataclasses.replace(config, clean_interval=0))


def selected_tags(
    services: RegistryServices, selection: Selection, report: TransferReport
) -> list[Any]:
    """Return the selected tags, and report unreadable ones. Raise TransferError if there are none."""
    from v1registry.lib.repositories import walk

    def left_out(repository: str, tag: str, reason: str) -> None:
        if selection.selects(repository):
            report.left_out(repository, tag, reason)

    names = list(walk.repositories(services.storage, left_out))
    chosen = list(selection.select(names, services.repositories, report.left_out))
    if not chosen and not report.lines:
        raise TransferError("no tag in the store matches --repositories and --tags")
    return chosen


def print_report(
    report: TransferReport, as_json: bool, report_file: Path | None, *, to_error: bool = False
) -> None:
    """Print the report. Unless all went well, end the command with the report's exit status."""
    text = json.dumps(report.as_json(), indent=1, sort_keys=True)
    if report_file is not None:
        try:
            report_file.write_text(f"{text}\n", encoding="utf-8")
        except OSError as error:
            raise TransferError(f"{report_file}: {error.strerror}") from None
    if as_json:
        click.echo(text, err=to_error)
    else:
        report.write(lambda line: click.echo(line, err=to_error))
    if report.exit_status:
        raise click.exceptions.Exit(report.exit_status)
