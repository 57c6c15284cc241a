"""What the modules of the command `v1registry` share: the configuration, and how errors are told."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import click

from v1registry.config import Config, ConfigError, load_config


def configured(file: Path | None = None, flavor: str | None = None) -> Config:
    """The checked configuration; what is wrong with it ends the command."""
    try:
        return load_config(file, os.environ, flavor)
    except ConfigError as error:
        raise failure(error) from None


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
