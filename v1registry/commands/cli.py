"""The command `v1registry`."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from v1registry import __version__
from v1registry.commands.backfill import backfill, facts
from v1registry.commands.bundle import export, import_
from v1registry.commands.common import (
    load_configuration,
    prepare_store,
    print_store,
    store_lines,
    warn,
)
from v1registry.commands.errors import CommandError
from v1registry.commands.gc import gc
from v1registry.commands.index import index
from v1registry.commands.migrate import migrate
from v1registry.commands.owner import explained, owner
from v1registry.config import Config, ConfigError
from v1registry.config.database import is_file
from v1registry.config.load import PROJECT, Document, chosen_flavor, find
from v1registry.storage import keys
from v1registry.storage.errors import StorageError
from v1registry.transfer.errors import TransferError
from v1registry.wiring.store import root

_OLD_STORE = "/tmp/registry"  # where 0.x kept its files by default


class MainGroup(click.Group):
    """The command `v1registry`. It turns expected errors of every subcommand into `CommandError`."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except TransferError as error:
            raise CommandError(str(TransferError(explained(str(error))))) from None
        except (ConfigError, StorageError) as error:
            raise CommandError(str(error)) from None


@click.group(cls=MainGroup)
@click.version_option(__version__, prog_name="v1registry")
def main() -> None:
    """Run and maintain a Docker Registry v1 server (configuration: docs/configuration.md)."""


for command in (backfill, facts, gc, migrate, export, import_, index):
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


@main.command(
    "serve", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@click.argument("gunicorn_options", nargs=-1, type=click.UNPROCESSED)
def serve(gunicorn_options: tuple[str, ...]) -> None:
    """Serve the registry. Further options go to gunicorn.

    The command checks the configuration; then this process becomes gunicorn's master.
    """
    config = load_configuration()
    options = [*_gunicorn_options(config), *gunicorn_options]
    warn(*config.warnings)
    print_store(config)
    if not config.index.alone:
        _check_store(config)
    if config.database is not None:
        _check_database(config)
    settings_file = PROJECT / "gunicorn.conf.py"
    arguments = ["-m", "v1registry.server", "-c", str(settings_file), *options]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, [sys.executable, *arguments], serving_environ(os.environ, Path.cwd()))


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
    report = build_registry(config).cleaner.clean(time.time() - age)
    click.echo(json.dumps(asdict(report)) if as_json else str(report))


def serving_environ(environ: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Return the environment in which gunicorn imports the registry's `wsgi` module.

    The working directory stays `folder`, because relative paths in the configuration refer to it.
    Python and gunicorn would put it first on the module path, where another wsgi.py would hide ours.
    They do not if it is on the path already, so it is appended here.
    """
    paths = [str(PROJECT), environ.get("PYTHONPATH", ""), str(folder)]
    return {
        **environ,
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "PYTHONSAFEPATH": "1",
    }


def _gunicorn_options(config: Config) -> list[str]:
    """Return GUNICORN_OPTS as a list, and check all server variables before gunicorn starts."""
    from v1registry.server.settings import PRELOAD, SettingsError, extra_options, settings

    try:
        settings(os.environ, config)
        if PRELOAD in os.environ.get("GUNICORN_OPTS", ""):
            warn(
                f"GUNICORN_OPTS: {PRELOAD} is ignored: v1registry preloads its modules itself, and"
                " --preload breaks that"
            )
        return extra_options(os.environ)
    except SettingsError as error:
        raise CommandError(str(error)) from None


def _check_store(config: Config) -> None:
    """End the command if the store cannot be used, unless the server will run as another user."""
    from v1registry.lib.repositories.backfill import lacks_references
    from v1registry.storage import marker
    from v1registry.wiring.store import opened

    if config.read_only or (os.geteuid() == 0 and os.environ.get("GUNICORN_USER")):
        return  # read-only, or each worker checks the store as the other user
    _warn_of_root(config)
    store = opened(config, lambda function, *arguments: function(*arguments))
    if os.path.isdir(f"{_OLD_STORE}/repositories") and not marker.is_there(store):
        warn(
            "a new store is begun; there is an old store of docker-registry 0.x in"
            f" {_OLD_STORE} (STORAGE_PATH)"
        )
    store.prepare()
    _warn_of_case(config)
    if config.checks_access and lacks_references(store):
        warn(
            "clients cannot read images of docker-registry 0.x before `v1registry backfill` has run"
        )


def _warn_of_root(config: Config) -> None:
    found = owner(config) if os.geteuid() == 0 else None
    if found is not None and found[0] != 0:
        uid, gid, path = found
        warn(
            f"running as root, but user {uid} owns {path}: files that root writes stop the next"
            f" start as that user. Set GUNICORN_USER={uid} GUNICORN_GROUP={gid}, or run:"
            f" sudo -u '#{uid}' v1registry serve"
        )


def _warn_of_case(config: Config) -> None:
    folder = root(config.storage)
    if folder is not None and os.path.lexists(f"{folder}/{keys.OURS.upper()}"):
        warn(
            f"the file system of {folder} takes upper and lower case for the same: tags like V1"
            " and v1 replace each other there"
        )


def _check_database(config: Config) -> None:
    """End the command if the database file cannot be used. Only warn about a database server.

    A database server may start after the registry, and workers connect to it again.
    """
    from v1registry.wiring import index as ownindex

    if os.geteuid() == 0 and os.environ.get("GUNICORN_USER"):
        return  # root would own a new database file
    reason = ownindex.problem_of(config)
    if reason is not None and is_file(config.database or ""):
        raise CommandError(f"the index's database cannot be used: {reason}")
    if reason is not None:
        warn(f"the index's database does not answer; servers try again: {reason}")


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
