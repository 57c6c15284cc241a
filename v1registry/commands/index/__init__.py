"""The command `v1registry index`: accounts, roles, keys and maintenance of the index."""

from __future__ import annotations

import click

from v1registry.commands.index import namespaces, repositories, robots, upkeep, users
from v1registry.commands.results import ResultGroup


@click.group("index", cls=ResultGroup)
def index() -> None:
    """Manage accounts, roles and keys of this registry's own index (docs/index.md).

    The configuration names its database: `index.database`, or INDEX_DATABASE. Every command takes
    --json. Errors go to standard error, with exit status 1.
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
