"""The command `v1registry` in this process, because a new process costs a second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from click.testing import CliRunner

from v1registry.commands.cli import main


def call(arguments: Sequence[str], env: Mapping[str, str], status: int) -> tuple[str, str]:
    """Return standard output and error. Check the exit status, and that there is no traceback."""
    result = CliRunner().invoke(main, list(arguments), env=dict(env))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == status, result.output
    return result.stdout, result.stderr
