"""Helpers of all subcommands: configuration, store, user and error messages."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import click

from v1registry.config import Config, ConfigError, load_config
from v1registry.storage.errors import StorageError


def load_configuration(file: Path | None = None, flavor: str | None = None) -> Config:
    """Return the checked configuration. If it has errors, print them and end the command."""
    try:
        return load_config(file, os.environ, flavor)
    except ConfigError as error:
        raise failure(error) from None


def prepare_store(config: Config, *, begins: bool = False) -> None:
    """Print which store the command uses, become the store's owner, and check that the store exists.

    If there is no store, end the command, unless it `begins` a new one: a report about a missing
    store would look like a report about an empty one.
    """
    from v1registry.storage import marker
    from v1registry.storage.loading import load
    from v1registry.wiring import store

    print_store(config)
    work_as_owner(config)
    if config.index.alone:
        return
    try:
        is_there = marker.is_there(load(config.storage, lambda run, *arguments: run(*arguments)))
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
    """As root, become the owner of the store or the database. End the command if that fails."""
    from v1registry.commands.owner import take_owner

    try:
        take_owner(config)
    except PermissionError as error:
        raise failure(error) from None


def print_store(config: Config) -> None:
    """Print which store the configuration names to standard error."""
    for line in store_lines(config):
        click.echo(f"v1registry: {line}", err=True)


def store_lines(config: Config) -> list[str]:
    """Return a line that describes the store, or no line for an index without a store."""
    from v1registry.wiring import store

    if config.index.alone:
        return []
    return [f"store: {store.described(config.storage)} (flavor {config.flavor})"]


def failure(error: Exception) -> click.exceptions.Exit:
    """Print the error, and return the exception that ends the command with status 1."""
    print_error(error)
    return click.exceptions.Exit(1)


def print_error(error: Exception) -> None:
    for line in str(error).splitlines():
        click.echo(f"v1registry: {line}", err=True)


def warn(warnings: Iterable[str]) -> None:
    for text in warnings:
        click.echo(f"v1registry: warning: {text}", err=True)
