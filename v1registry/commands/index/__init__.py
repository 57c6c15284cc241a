"""`v1registry index`: what operators do with accounts, rights, keys and the index as a whole."""

from __future__ import annotations

import click

from v1registry.commands.index import namespaces, repositories, robots, upkeep, users
from v1registry.commands.index.common import ErrorReportingGroup


@click.group("index", cls=ErrorReportingGroup)
def index() -> None:
    """Accounts, rights and upkeep of an index of our own (docs/index.md).

    The configuration names its database: `index.database`, or INDEX_DATABASE. Every command takes
    --json; errors go to standard error, with exit status 1.
    """


for command in (
    users.user,
    users.invite,
    namespaces.namespace,
    namespaces.grant,
    namespaces.revoke,
    robots.token,
    robots.key,
    repositories.repository,
    upkeep.rebuild,
):
    index.add_command(command)
