"""Options, selection of images and the report of `migrate`, `export` and `import`."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from v1registry.commands.common import load_configuration, prepare_store, warn
from v1registry.transfer.errors import TransferError

if TYPE_CHECKING:
    from v1registry.api.services import RegistryServices
    from v1registry.transfer.progress import TransferProgress
    from v1registry.transfer.report import TransferReport
    from v1registry.transfer.selection import Selection

Command = Callable[..., None]


def selection_options(command: Command) -> Command:
    """Add the options that select and rename images. The command gets them as `selection`."""

    @click.option(
        "--repositories",
        multiple=True,
        metavar="GLOB",
        help="Only repositories that match, as namespace/name (* also matches /).",
    )
    @click.option(
        "--tags", multiple=True, metavar="GLOB", help="Only tags that match one of these patterns."
    )
    @click.option(
        "--map",
        "names",
        multiple=True,
        metavar="OLD=NEW",
        help="Rename a repository; OLD/=NEW/ renames all whose names begin with OLD/.",
    )
    @wraps(command)
    def run(
        repositories: tuple[str, ...], tags: tuple[str, ...], names: tuple[str, ...], **others: Any
    ) -> None:
        from v1registry.transfer.selection import Selection, rule

        command(selection=Selection(repositories, tags, [rule(text) for text in names]), **others)

    return run


def output_options(command: Command) -> Command:
    """Add the options for progress and report. The command gets them as `output`."""

    @click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
    @click.option(
        "--report",
        "report_file",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Also write the report as JSON to this file.",
    )
    @click.option("--quiet", is_flag=True, help="No progress on standard error.")
    @wraps(command)
    def run(as_json: bool, report_file: Path | None, quiet: bool, **others: Any) -> None:
        command(output=Output(as_json, report_file, quiet), **others)

    return run


@dataclasses.dataclass(frozen=True, slots=True)
class Output:
    """How a command shows its progress and its report."""

    as_json: bool
    report_file: Path | None
    quiet: bool

    @contextlib.contextmanager
    def progress(self, images: int) -> Iterator[TransferProgress]:
        """Yield the display for a transfer of `images` tags."""
        from v1registry.commands.progress import transfer_progress

        with contextlib.closing(transfer_progress(images, quiet=self.quiet)) as progress:
            yield progress

    def report(self, report: TransferReport, *, to_error: bool = False) -> None:
        """Print the report. Unless all went well, end the command with the report's exit status."""
        text = json.dumps(report.as_json(), indent=1, sort_keys=True)
        if self.report_file is not None:
            try:
                self.report_file.write_text(f"{text}\n", encoding="utf-8")
            except OSError as error:
                raise TransferError(f"{self.report_file}: {error.strerror}") from None
        if self.as_json:
            click.echo(text, err=to_error)
        else:
            report.write(lambda line: click.echo(line, err=to_error))
        if report.exit_status:
            raise click.exceptions.Exit(report.exit_status)


def build_services(
    file: Path | None = None, flavor: str | None = None, *, begins: bool = False
) -> RegistryServices:
    from v1registry.wiring.registry import build_registry

    config = load_configuration(file, flavor)
    warn(*config.warnings)
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
