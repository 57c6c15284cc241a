"""The error of a command."""

from __future__ import annotations

from typing import IO, Any

import click


class CommandError(click.ClickException):
    """An error that ends the command with status 1. click prints it to standard error."""

    def show(self, file: IO[Any] | None = None) -> None:
        for line in self.message.splitlines():
            click.echo(f"v1registry: {line}", file=file, err=True)
