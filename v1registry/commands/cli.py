"""The command `v1registry`."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import click

from v1registry import __version__
from v1registry.commands.backfill import backfill, facts
from v1registry.commands.bundle import export, import_
from v1registry.commands.common import (
    complain,
    configured,
    failure,
    ready,
    tell_store,
    told_store,
    warn,
)
from v1registry.commands.index import index
from v1registry.commands.migrate import migrate
from v1registry.commands.owner import owner
from v1registry.config import Config, ConfigError
from v1registry.config.index import is_file
from v1registry.config.load import PROJECT, Document, chosen_flavor, find
from v1registry.storage import keys
from v1registry.storage.errors import StorageError
from v1registry.wiring.store import root

_OLD_STORE = "/tmp/registry"  # where 0.x kept its files by default


@click.group()
@click.version_option(__version__, prog_name="v1registry")
def main() -> None:
    """A Docker Registry v1 protocol server. Its configuration: docs/configuration.md."""


for command in (backfill, facts, migrate, export, import_, index):
    main.add_command(command)


@main.command("config")
@click.option("--check", "file", type=click.Path(path_type=Path), help="Check this file instead.")
@click.option("--flavor", help="The flavor, instead of SETTINGS_FLAVOR or dev.")
@click.option("--all", "every", is_flag=True, help="Check every flavor of the file.")
def show_config(file: Path | None, flavor: str | None, every: bool) -> None:
    """Show the values in effect, secrets masked; or check a file.

    Exit status 1 if there is an error; errors and warnings go to standard error.
    """
    if every:
        _check_all(file)
    elif file is not None:
        config = configured(file, flavor)
        warn(config.warnings)
        click.echo(f"{config.file}: flavor {config.flavor} is fine")
    else:
        from v1registry.config.show import as_yaml

        config = configured(None, flavor)
        warn(config.warnings)
        head, _, values = as_yaml(config).partition("\n")
        click.echo(
            "\n".join([head, *(f"# {line}" for line in told_store(config)), values]), nl=False
        )


@main.command("drivers")
@click.argument("name", required=False)
def drivers(name: str | None) -> None:
    """List the storage drivers, those of other packages included; or the options of one.

    The options come as a table in Markdown, in the form of docs/configuration.md.
    """
    from v1registry.config.document import table
    from v1registry.config.drivers.plugins import Available

    available = Available()
    if name is None:
        for one in available:
            plugin = available.plugins.get(one)
            click.echo(f"{one:<12} {plugin.package if plugin else 'v1registry ' + __version__}")
    elif (chosen := name.lower()) not in available:
        raise failure(click.ClickException(f"no driver {name!r}: there are {', '.join(available)}"))
    else:
        try:
            click.echo(table(available[chosen]), nl=False)
        except StorageError as error:
            raise failure(error) from None


@main.command(
    "serve", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@click.argument("gunicorn_options", nargs=-1, type=click.UNPROCESSED)
def serve(gunicorn_options: tuple[str, ...]) -> None:
    """Serve the registry; further options are handed to gunicorn.

    This process becomes gunicorn's master. The configuration is checked before.
    """
    config = configured()
    options = [*_gunicorn_options(config), *gunicorn_options]
    warn(config.warnings)
    tell_store(config)
    if not config.index.alone:
        _check_store(config)
    if config.database is not None:
        _check_database(config)
    settings_file = PROJECT / "gunicorn.conf.py"
    arguments = ["-m", "gunicorn", "-c", str(settings_file), *options, "wsgi:application"]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, [sys.executable, *arguments], serving_environ(os.environ, Path.cwd()))


@main.command("clean")
@click.option(
    "--older-than",
    type=click.IntRange(min=0),
    metavar="SECONDS",
    help="Instead of the configured uploads_life.",
)
@click.option("--json", "as_json", is_flag=True, help="The report as JSON.")
def clean(older_than: int | None, as_json: bool) -> None:
    """Remove what broken pushes left behind and nobody touched for a while.

    Safe at any time, beside running servers; they do it by themselves every clean_interval.
    """
    from v1registry.wiring.registry import build_registry

    config = configured()
    if config.read_only:
        raise failure(click.ClickException("read_only is set: nothing is removed"))
    ready(config)
    age = config.uploads_life if older_than is None else older_than
    try:
        report = build_registry(config).cleaner.clean(time.time() - age)
    except StorageError as error:
        raise failure(error) from None
    click.echo(json.dumps(asdict(report)) if as_json else str(report))


def serving_environ(environ: Mapping[str, str], folder: Path) -> dict[str, str]:
    """The environment in which gunicorn finds our `wsgi`, whatever lies in `folder`.

    The working directory stays the caller's, because relative paths in the configuration mean it.
    Python and gunicorn both put it in front of the module path, where somebody else's wsgi.py
    would hide ours; unless it is on the path already, so it is put there last.
    """
    paths = [str(PROJECT), environ.get("PYTHONPATH", ""), str(folder)]
    return {
        **environ,
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "PYTHONSAFEPATH": "1",
    }


def _gunicorn_options(config: Config) -> list[str]:
    """GUNICORN_OPTS; and every variable is looked at, so that a bad one is told before gunicorn."""
    from v1registry.server.settings import PRELOAD, SettingsError, extra_options, settings

    try:
        settings(os.environ, config)
        if PRELOAD in os.environ.get("GUNICORN_OPTS", ""):
            warn([f"GUNICORN_OPTS: {PRELOAD} is left out: it is not needed, and does harm here"])
        return extra_options(os.environ)
    except SettingsError as error:
        raise failure(error) from None


def _check_store(config: Config) -> None:
    """Say it before gunicorn starts if the store is not ours; unless another user will serve."""
    from v1registry.lib.repositories.backfill import lacks_reach
    from v1registry.storage import marker
    from v1registry.wiring.store import opened

    if config.read_only or (os.geteuid() == 0 and os.environ.get("GUNICORN_USER")):
        return  # nothing to write; or each worker looks for itself
    _warn_of_root(config)
    try:
        store = opened(config, lambda function, *arguments: function(*arguments))
        if os.path.isdir(f"{_OLD_STORE}/repositories") and not marker.is_there(store):
            warn([f"a new store is begun; that of 0.x's default is in {_OLD_STORE} (STORAGE_PATH)"])
        store.prepare()
        _warn_of_case(config)
        if config.tells_users_apart and lacks_reach(store):
            warn(["images that 0.x wrote are shown to nobody before `v1registry backfill` has run"])
    except StorageError as error:
        raise failure(error) from None


def _warn_of_root(config: Config) -> None:
    found = owner(config) if os.geteuid() == 0 else None
    if found is not None and found[0] != 0:
        uid, gid, path = found
        warn(
            [
                f"running as root, but user {uid} owns {path}: files that root writes stop the next"
                f" start as that user. Set GUNICORN_USER={uid} GUNICORN_GROUP={gid}, or run:"
                f" sudo -u '#{uid}' v1registry serve"
            ]
        )


def _warn_of_case(config: Config) -> None:
    folder = root(config.storage)
    if folder is not None and os.path.lexists(f"{folder}/{keys.OURS.upper()}"):
        warn(
            [
                f"the file system of {folder} takes upper and lower case for the same: tags like V1"
                " and v1 replace each other there"
            ]
        )


def _check_database(config: Config) -> None:
    """Likewise for the database. One on another machine may come later than we do."""
    from v1registry.wiring import index as ownindex

    if os.geteuid() == 0 and os.environ.get("GUNICORN_USER"):
        return  # its file would be root's
    try:
        reason = ownindex.lacks(config)
    except ConfigError as error:
        raise failure(error) from None
    if reason is None:
        return
    if is_file(config.database or ""):
        raise failure(click.ClickException(f"the index's database cannot be used: {reason}"))
    warn([f"the index's database does not answer, and is asked again: {reason}"])


def _check_all(file: Path | None) -> None:
    try:
        document = Document(file or find(os.environ))
    except ConfigError as error:
        raise failure(error) from None
    failed = False
    for flavor in document.flavors:
        try:
            config = document.config(flavor, os.environ)
        except ConfigError as error:
            failed = True
            complain(error)
            continue
        warn(config.warnings)
        chosen = " (chosen)" if flavor == chosen_flavor(os.environ) else ""
        click.echo(f"{document.file}: flavor {flavor} is fine{chosen}")
    if failed:
        raise click.exceptions.Exit(1)


if __name__ == "__main__":
    main(prog_name="v1registry")
