"""What the modules of the command `v1registry` share: the configuration, the store that they work
on and the user that they work as, and how errors are told.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import click

from v1registry.config import Config, ConfigError, load_config
from v1registry.storage.errors import StorageError


def configured(file: Path | None = None, flavor: str | None = None) -> Config:
    """The checked configuration; what is wrong with it ends the command."""
    try:
        return load_config(file, os.environ, flavor)
    except ConfigError as error:
        raise failure(error) from None


def ready(config: Config, *, begins: bool = False) -> None:
    """Before a command works on the store: say which it is, take its owner's user, look for it.

    A missing store ends the command, which would report on nothing; unless it `begins` a new one.
    """
    from v1registry.storage import marker
    from v1registry.storage.loading import load
    from v1registry.wiring import store

    tell_store(config)
    work_as_owner(config)
    if config.index.alone:
        return
    try:
        is_there = marker.is_there(load(config.storage, lambda run, *given: run(*given)))
    except StorageError as error:
        raise failure(error) from None
    if is_there:
        return
    if not begins:
        text = (
            f"there is no store in {store.described(config.storage)}: correct the configuration"
            f" ({config.file}, flavor {config.flavor}), or begin a new store: v1registry serve"
        )
        raise failure(click.ClickException(text))
    click.echo("v1registry: a new store is begun there", err=True)


def work_as_owner(config: Config) -> None:
    """As root, take the user of the store's or the database's owner; or end the command."""
    from v1registry.commands.owner import take_owner

    try:
        take_owner(config)
    except PermissionError as error:
        raise failure(error) from None


def tell_store(config: Config) -> None:
    """Say on standard error which store the configuration names."""
    for line in told_store(config):
        click.echo(f"v1registry: {line}", err=True)


def told_store(config: Config) -> list[str]:
    """Return a line about the store; none for an index alone."""
    from v1registry.wiring import store

    if config.index.alone:
        return []
    return [f"store: {store.described(config.storage)} (flavor {config.flavor})"]


def failure(error: Exception) -> click.exceptions.Exit:
    """Tell the error; raise what this returns to end the command with status 1."""
    complain(error)
    return click.exceptions.Exit(1)


def complain(error: Exception) -> None:
    for line in str(error).splitlines():
        click.echo(f"v1registry: {line}", err=True)


def warn(warnings: Iterable[str]) -> None:
    for text in warnings:
        click.echo(f"v1registry: warning: {text}", err=True)
