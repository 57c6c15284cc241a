"""The commands `v1registry index namespace`, `grant` and `revoke`."""

from __future__ import annotations

import click

from v1registry.commands.index.common import every, open_index, warn_of_old_engines
from v1registry.commands.results import Result, ResultCommand, ResultGroup, table

ROLES = ("pull", "push", "admin")


@click.group("namespace", cls=ResultGroup)
def namespace() -> None:
    """Manage namespaces of organisations, and their members."""


@namespace.command("add")
@click.argument("name")
def add(name: str) -> Result:
    """Add a namespace. `grant` gives accounts roles in it."""
    open_index().namespaces.add(name)
    warn_of_old_engines(name)
    return Result(f"namespace {name} added", {"name": name})


@namespace.command("remove")
@click.argument("name")
def remove(name: str) -> Result:
    """Remove a namespace that has no repositories, with all roles in it."""
    open_index().namespaces.remove(name)
    return Result(f"namespace {name} removed", {"name": name})


@namespace.command("set")
@click.argument("name")
@click.option(
    "--new",
    type=click.Choice(["private", "public", "default"]),
    help="Visibility of new repositories; default: the option index.private.",
)
def set_namespace(name: str, new: str | None) -> Result:
    """Set or, without --new, show whether new repositories of a namespace are private.

    Repositories that exist stay as they are.
    """
    index = open_index()
    if new is not None:
        index.namespaces.set_private(name, None if new == "default" else new == "private")
    private = index.namespaces.new_are_private(name)
    word = {True: "private", False: "public", None: "default"}[private]
    return Result(f"new repositories of {name}: {word}", {"name": name, "new": word})


@namespace.command("list")
def list_namespaces() -> Result:
    """List all namespaces. OWNER is the account of the same name."""
    found = every(open_index().namespaces.all)
    return table(found, "name", "owner", "members", "repositories")


@namespace.command("members")
@click.argument("name")
def members(name: str) -> Result:
    """List the accounts that have a role in a namespace, or in one of its repositories."""
    return table(open_index().namespaces.members(name), "account", "role", "repository")


@click.command("grant", cls=ResultCommand)
@click.argument("account")
@click.argument("role", type=click.Choice(ROLES))
@click.argument("target", metavar="NAMESPACE[/REPOSITORY]")
def grant(account: str, role: str, target: str) -> Result:
    """Give ACCOUNT a role: pull, push (includes pull), admin (also delete and describe)."""
    open_index().namespaces.grant(account, role, target)
    value = {"account": account, "role": role, "target": target}
    return Result(f"{account} has the role {role} in {target}", value)


@click.command("revoke", cls=ResultCommand)
@click.argument("account")
@click.argument("target", metavar="NAMESPACE[/REPOSITORY]")
def revoke(account: str, target: str) -> Result:
    """Take ACCOUNT's role away. Servers notice within seconds."""
    open_index().namespaces.revoke(account, target)
    return Result(f"{account} has no role in {target}", {"account": account, "target": target})
