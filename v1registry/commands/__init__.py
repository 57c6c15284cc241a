"""Subcommands of `v1registry` that are too large for commands/cli.py."""
