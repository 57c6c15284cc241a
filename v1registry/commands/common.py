"""Helpers of all subcommands: configuration, store and user."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from v1registry.commands.errors import CommandError
from v1registry.commands.owner import take_owner
from v1registry.config import Config, load_config
from v1registry.config.option import Option


class Duration(click.ParamType[int]):
    """A time in the format of the configuration: 3600, 30m, 7d. Its value is in seconds."""

    name = "time"

    def __init__(self, at_least: int = 0) -> None:
        self._option = Option("time", "duration", "", at_least=at_least)

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        try:
            return int(self._option.check(value))
        except ValueError as error:
            self.fail(f"{error}, not {value!r}", param, ctx)


def load_configuration(file: Path | None = None, flavor: str | None = None) -> Config:
    """Return the checked configuration. Raise ConfigError."""
    return load_config(file, os.environ, flavor)


def prepare_store(config: Config, *, begins: bool = False) -> None:
    """Print which store the command uses, become the store's owner, and check that the store exists.

    If there is no store, raise CommandError, unless the command `begins` a new one: a report about
    a missing store would look like a report about an empty one.
    """
    from v1registry.storage import marker
    from v1registry.storage.loading import load
    from v1registry.wiring import store

    print_store(config)
    take_owner(config)
    if config.index.alone:
        return
    if marker.is_there(load(config.storage, lambda run, *arguments: run(*arguments))):
        return
    if not begins:
        raise CommandError(
            f"there is no store in {store.described(config.storage)}: correct the configuration"
            f" ({config.file}, flavor {config.flavor}), or begin a new store: v1registry serve"
        )
    click.echo("v1registry: a new store is begun there", err=True)


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


def warn(*warnings: str) -> None:
    for text in warnings:
        click.echo(f"v1registry: warning: {text}", err=True)
