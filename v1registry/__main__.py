"""`python -m v1registry`."""

from v1registry.cli import main

main(prog_name="v1registry")
