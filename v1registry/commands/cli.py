"""The command `v1registry`."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from v1registry import __version__
from v1registry.commands.backfill import backfill, facts
from v1registry.commands.bundle import export, import_
from v1registry.commands.common import load_configuration, prepare_store, store_lines, warn
from v1registry.commands.errors import CommandError
from v1registry.commands.gc import gc
from v1registry.commands.index import index
from v1registry.commands.migrate import migrate
from v1registry.commands.owner import explained
from v1registry.commands.readonly import readonly
from v1registry.commands.repositories import repository, tag
from v1registry.commands.serve import serve
from v1registry.commands.verify import verify
from v1registry.config import ConfigError
from v1registry.config.load import Document, chosen_flavor, find
from v1registry.storage.errors import ReadOnly, StorageError
from v1registry.transfer.errors import TransferError


class MainGroup(click.Group):
    """The command `v1registry`. It turns expected errors of every subcommand into `CommandError`."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except TransferError as error:
            raise CommandError(str(TransferError(explained(str(error))))) from None
        except ReadOnly as error:
            raise CommandError(f"{error} (see: v1registry readonly status)") from None
        except (ConfigError, StorageError) as error:
            raise CommandError(str(error)) from None


@click.group(cls=MainGroup)
@click.version_option(__version__, prog_name="v1registry")
def main() -> None:
    """Run and maintain a Docker Registry v1 server (configuration: docs/configuration.md)."""


for command in (
    *(serve, backfill, facts, verify, gc, tag, repository, readonly),
    *(migrate, export, import_, index),
):
    main.add_command(command)


@main.command("config")
@click.option("--check", "file", type=click.Path(path_type=Path), help="Check this file instead.")
@click.option("--flavor", help="Flavor to use, instead of SETTINGS_FLAVOR or dev.")
@click.option("--all", "every", is_flag=True, help="Check every flavor of the file.")
def show_config(file: Path | None, flavor: str | None, every: bool) -> None:
    """Show the values in effect with secrets masked, or check a file.

    Errors and warnings go to standard error. Exit status: 1 if there is an error.
    """
    if every:
        _check_all(file)
    elif file is not None:
        config = load_configuration(file, flavor)
        warn(*config.warnings)
        click.echo(f"{config.file}: flavor {config.flavor} is fine")
    else:
        from v1registry.config.show import as_yaml

        config = load_configuration(None, flavor)
        warn(*config.warnings)
        head, _, values = as_yaml(config).partition("\n")
        click.echo(
            "\n".join([head, *(f"# {line}" for line in store_lines(config)), values]), nl=False
        )


@main.command("drivers")
@click.argument("name", required=False)
def drivers(name: str | None) -> None:
    """List the storage drivers, also those of other packages; or show the options of one.

    The options are a Markdown table, in the format of docs/configuration.md.
    """
    from v1registry.config.document import driver_options, table
    from v1registry.config.drivers import DRIVERS
    from v1registry.config.drivers.plugins import Available

    available = Available()
    if name is None:
        for one in available:
            plugin = available.plugins.get(one)
            click.echo(f"{one:<12} {plugin.package if plugin else 'v1registry ' + __version__}")
    elif (chosen := name.lower()) not in available:
        raise CommandError(f"no driver {name!r}: there are {', '.join(available)}")
    else:
        options = driver_options(chosen) if chosen in DRIVERS else available[chosen]
        click.echo(table(options), nl=False)


@main.command("clean")
@click.option(
    "--older-than",
    type=click.IntRange(min=0),
    metavar="SECONDS",
    help="Age to use instead of the option uploads_life.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def clean(older_than: int | None, as_json: bool) -> None:
    """Delete the remains of pushes that clients abandoned.

    It is safe to run this at any time, beside running servers. Servers do the same every
    clean_interval.
    """
    from v1registry.wiring.registry import build_registry

    config = load_configuration()
    if config.read_only:
        raise CommandError("read_only is set: nothing is removed")
    prepare_store(config)
    age = config.uploads_life if older_than is None else older_than
    services = build_registry(config)
    services.read_only_switch.require_off()
    report = services.cleaner.clean(time.time() - age)
    click.echo(json.dumps(asdict(report)) if as_json else str(report))


def _check_all(file: Path | None) -> None:
    document = Document(file or find(os.environ))
    failed = False
    for flavor in document.flavors:
        try:
            config = document.config(flavor, os.environ)
        except ConfigError as error:
            failed = True
            CommandError(str(error)).show()
            continue
        warn(*config.warnings)
        chosen = " (chosen)" if flavor == chosen_flavor(os.environ) else ""
        click.echo(f"{document.file}: flavor {flavor} is fine{chosen}")
    if failed:
        raise click.exceptions.Exit(1)


if __name__ == "__main__":
    main(prog_name="v1registry")
