"""What the modules of the command `v1registry` share: the configuration, and how errors are told."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

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


def reason(error: Exception) -> str:
    """What an error says, and what is behind it, in one line, for operators alone."""
    cause: Any = error.__cause__
    if cause is None:
        return str(error)
    return f"{error}: {' '.join(str(getattr(cause, 'orig', None) or cause).split())}"
