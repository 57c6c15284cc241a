"""The command `v1registry` in this process, since starting one costs a second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from click.testing import CliRunner

from v1registry.commands.cli import main


def call(arguments: Sequence[str], env: Mapping[str, str], status: int) -> tuple[str, str]:
    """Standard output and error; the exit status must be `status`, and no exception come out."""
    result = CliRunner().invoke(main, list(arguments), env=dict(env))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == status, result.output
    return result.stdout, result.stderr
