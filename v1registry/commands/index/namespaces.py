"""The commands `v1registry index namespace`, `grant` and `revoke`."""

from __future__ import annotations

import click

from v1registry.commands.index.common import (
    ErrorReportingGroup,
    as_json,
    open_index,
    print_result,
    print_rows,
    warn_of_old_engines,
)

ROLES = ("pull", "push", "admin")


@click.group("namespace", cls=ErrorReportingGroup)
def namespace() -> None:
    """Manage namespaces of organisations, and their members."""


@namespace.command("add")
@click.argument("name")
@as_json
def add(name: str, as_json: bool) -> None:
    """Add a namespace. `grant` gives accounts roles in it."""
    open_index().namespaces.add(name)
    print_result(as_json, {"name": name}, f"namespace {name} added")
    warn_of_old_engines(name)


@namespace.command("remove")
@click.argument("name")
@as_json
def remove(name: str, as_json: bool) -> None:
    """Remove a namespace that has no repositories, with all roles in it."""
    open_index().namespaces.remove(name)
    print_result(as_json, {"name": name}, f"namespace {name} removed")


@namespace.command("set")
@click.argument("name")
@click.option(
    "--new",
    type=click.Choice(["private", "public", "default"]),
    help="Visibility of new repositories; default: the option index.private.",
)
@as_json
def set_namespace(name: str, new: str | None, as_json: bool) -> None:
    """Set or, without --new, show whether new repositories of a namespace are private.

    Repositories that exist stay as they are.
    """
    index = open_index()
    if new is not None:
        index.namespaces.set_private(name, None if new == "default" else new == "private")
    private = index.namespaces.new_are_private(name)
    word = {True: "private", False: "public", None: "default"}[private]
    print_result(as_json, {"name": name, "new": word}, f"new repositories of {name}: {word}")


@namespace.command("list")
@as_json
def list_namespaces(as_json: bool) -> None:
    """List all namespaces. OWNER is the account of the same name."""
    index = open_index()
    found = page = index.namespaces.all()
    while page:
        page = index.namespaces.all(after=page[-1].name)
        found = [*found, *page]
    columns = {
        "name": "NAME",
        "owner": "OWNER",
        "members": "MEMBERS",
        "repositories": "REPOSITORIES",
    }
    print_rows(as_json, found, columns)


@namespace.command("members")
@click.argument("name")
@as_json
def members(name: str, as_json: bool) -> None:
    """List the accounts that have a role in a namespace, or in one of its repositories."""
    columns = {"account": "ACCOUNT", "role": "ROLE", "repository": "REPOSITORY"}
    print_rows(as_json, open_index().namespaces.members(name), columns)


@click.command("grant")
@click.argument("account")
@click.argument("role", type=click.Choice(ROLES))
@click.argument("target", metavar="NAMESPACE[/REPOSITORY]")
@as_json
def grant(account: str, role: str, target: str, as_json: bool) -> None:
    """Give ACCOUNT a role: pull, push (includes pull), admin (also delete and describe)."""
    open_index().namespaces.grant(account, role, target)
    value = {"account": account, "role": role, "target": target}
    print_result(as_json, value, f"{account} has the role {role} in {target}")


@click.command("revoke")
@click.argument("account")
@click.argument("target", metavar="NAMESPACE[/REPOSITORY]")
@as_json
def revoke(account: str, target: str, as_json: bool) -> None:
    """Take ACCOUNT's role away. Servers notice within seconds."""
    open_index().namespaces.revoke(account, target)
    print_result(
        as_json, {"account": account, "target": target}, f"{account} has no role in {target}"
    )
