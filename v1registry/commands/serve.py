"""The command `serve`: checks of the configuration and the store, and the start of gunicorn."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from v1registry.commands.common import load_configuration, print_store, warn
from v1registry.commands.errors import CommandError
from v1registry.commands.owner import owner
from v1registry.config import Config
from v1registry.config.database import file_of
from v1registry.config.load import PROJECT
from v1registry.storage import keys
from v1registry.wiring.store import root

_OLD_STORE = "/tmp/registry"  # where 0.x kept its files by default


@click.command(
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
    from v1registry.wiring import database

    if os.geteuid() == 0 and os.environ.get("GUNICORN_USER"):
        return  # root would own a new database file
    reason = database.problem_of(config)
    if reason is not None and file_of(config.database or "") is not None:
        raise CommandError(f"the index's database cannot be used: {reason}")
    if reason is not None:
        warn(f"the index's database does not answer; servers try again: {reason}")
