"""`python -m v1registry`."""

from v1registry.commands.cli import main

main(prog_name="v1registry")
