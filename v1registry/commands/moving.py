"""What `migrate`, `export` and `import` share: options, the choice of images, the report."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from v1registry.commands.common import configured, failure, ready, warn
from v1registry.commands.owner import explained
from v1registry.storage.errors import StorageError
from v1registry.transfer.errors import TransferError

if TYPE_CHECKING:
    from v1registry.api.services import RegistryServices
    from v1registry.config import Config
    from v1registry.transfer.report import TransferReport
    from v1registry.transfer.selection import Selection

F = TypeVar("F", bound=Callable[..., Any])


def selecting(command: F) -> F:
    """The options by which images are chosen and named."""
    for option in (
        click.option(
            "--map",
            "names",
            multiple=True,
            metavar="OLD=NEW",
            help="Call a repository otherwise there; OLD/=NEW/ all that begin with it.",
        ),
        click.option(
            "--tags", multiple=True, metavar="GLOB", help="Only tags that fit; several times: any."
        ),
        click.option(
            "--repositories",
            multiple=True,
            metavar="GLOB",
            help="Only repositories that fit, as namespace/name (* also stands for /).",
        ),
    ):
        command = option(command)
    return command


def telling(command: F) -> F:
    """The options about what is told."""
    for option in (
        click.option("--quiet", is_flag=True, help="No progress on standard error."),
        click.option(
            "--report",
            "report_file",
            type=click.Path(dir_okay=False, path_type=Path),
            help="Write the report as JSON into this file, too.",
        ),
        click.option("--json", "as_json", is_flag=True, help="The report as JSON."),
    ):
        command = option(command)
    return command


@contextlib.contextmanager
def ended_well() -> Iterator[None]:
    """What may go wrong becomes one line and an exit status."""
    try:
        yield
    except TransferError as error:
        raise failure(TransferError(explained(str(error)))) from None
    except StorageError as error:
        raise failure(error) from None
    except BrokenPipeError:
        raise click.exceptions.Exit(1) from None


def selection_of(
    repositories: tuple[str, ...], tags: tuple[str, ...], names: tuple[str, ...]
) -> Selection:
    from v1registry.transfer.selection import Selection, rule

    return Selection(repositories, tags, [rule(text) for text in names])


def parts_of(file: Path | None, flavor: str | None, *, begins: bool = False) -> RegistryServices:
    from v1registry.wiring.registry import build_registry

    config: Config = configured(file, flavor)
    warn(config.warnings)
    ready(config, begins=begins)
    return build_registry(dataclasses.replace(config, clean_interval=0))


def tagged(parts: RegistryServices, selection: Selection, report: TransferReport) -> list[Any]:
    """The tags that are meant; what cannot be read is in the report. Raise TransferError."""
    from v1registry.lib.repositories import walk

    def left_out(repository: str, tag: str, reason: str) -> None:
        if selection.wants(repository):
            report.left_out(repository, tag, reason)

    names = list(walk.repositories(parts.storage, left_out))
    chosen = list(selection.select(names, parts.repositories, report.left_out))
    if not chosen and not report.lines:
        raise TransferError("no tag in the store fits")
    return chosen


def tell(
    report: TransferReport, as_json: bool, report_file: Path | None, *, to_error: bool = False
) -> None:
    """The report; ends the command with its exit status."""
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
