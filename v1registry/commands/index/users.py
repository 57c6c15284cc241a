"""The commands `v1registry index user` and `invite`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

import click

from v1registry.commands.common import Duration
from v1registry.commands.index.common import every, open_index, warn_of_old_engines
from v1registry.commands.results import Result, ResultCommand, ResultGroup, cell, heading, table
from v1registry.lib.errors import Failure

_PASSWORD = click.option(
    "--password-stdin",
    is_flag=True,
    help="Read the password from standard input instead of asking.",
)
_COLUMNS = ("name", "email", "is_robot", "is_admin", "is_disabled", "created")


@click.group("user", cls=ResultGroup)
def user() -> None:
    """Manage accounts of people and robots."""


@user.command("add")
@click.argument("name")
@click.option("--email", help="E-mail address.")
@click.option("--admin", is_flag=True, help="Make it an administrator, with all rights everywhere.")
@click.option(
    "--robot", is_flag=True, help="For a program: no password, no namespace; see `token issue`."
)
@click.option("--adopt", is_flag=True, help="Give it the existing namespace NAME.")
@_PASSWORD
def add(
    name: str, email: str | None, admin: bool, robot: bool, adopt: bool, password_stdin: bool
) -> Result:
    """Add an account, and the namespace of its name."""
    index = open_index()
    if robot and password_stdin:
        raise click.UsageError("a robot has no password")
    if not robot and not adopt and index.is_taken(name):
        raise Failure(400, f"the store has repositories of {name}: --adopt gives them to it")
    password = None if robot else _password(password_stdin)
    index.accounts.add(name, password, email=email, is_admin=admin, adopt=adopt)
    if not robot:  # a robot has no namespace
        warn_of_old_engines(name)
    return Result(f"{'robot' if robot else 'user'} {name} added", {"name": name})


@user.command("passwd")
@click.argument("name")
@_PASSWORD
def passwd(name: str, password_stdin: bool) -> Result:
    """Set a new password."""
    index = open_index()
    index.accounts.get(name)
    index.accounts.set_password(name, _password(password_stdin))
    return Result(f"{name} has a new password", {"name": name})


@user.command("disable")
@click.argument("name")
def disable(name: str) -> Result:
    """Disable an account. Its roles, secrets and repositories stay.

    Servers notice within seconds. Registries that only check tokens notice when these expire.
    """
    open_index().accounts.set_disabled(name, True)
    return Result(f"{name} is disabled", {"name": name, "is_disabled": True})


@user.command("enable")
@click.argument("name")
def enable(name: str) -> Result:
    """Enable an account that `disable` has disabled."""
    open_index().accounts.set_disabled(name, False)
    return Result(f"{name} is enabled", {"name": name, "is_disabled": False})


@user.command("admin")
@click.argument("name")
@click.option("--revoke", is_flag=True, help="Take the right away again.")
def admin(name: str, revoke: bool) -> Result:
    """Make the account an administrator, with all rights everywhere."""
    open_index().accounts.set_admin(name, not revoke)
    text = f"{name} is {'no longer' if revoke else 'now'} an administrator"
    return Result(text, {"name": name, "is_admin": not revoke})


@user.command("remove")
@click.argument("name")
def remove(name: str) -> Result:
    """Remove an account with its secrets, roles, stars and comments.

    Its namespace stays, with its repositories and with the roles of others; `namespace remove`
    removes an empty one. The name can be used again after index.token_life. Servers notice within
    seconds. Registries that only check tokens notice when these expire. To undo it later, use
    `user disable` instead.
    """
    index = open_index()
    kept = index.accounts.remove(name, index.longest_token)
    text = f"{name} is removed"
    text += f"; the namespace {name} stays, without an owner" if kept else ""
    return Result(text, {"name": name, "namespace": name if kept else None})


@user.command("show")
@click.argument("name")
def show(name: str) -> Result:
    """Show an account, its roles and its secrets, without the secrets themselves."""
    index = open_index()
    account = asdict(index.accounts.get(name))
    roles = [asdict(role) for role in index.namespaces.roles(name)]
    secrets = [asdict(secret) for secret in index.accounts.secrets(name)]
    lines = [f"{heading(field)}: {cell(field, account[field])}" for field in _COLUMNS]
    lines += [f"ROLE: {one['role']} in {_target(one)}" for one in roles]
    lines += [
        f"SECRET: {one['id']} {cell('label', one['label'])}, expires {cell('expires', one['expires'])}"
        for one in secrets
    ]
    return Result("\n".join(lines), account | {"roles": roles, "secrets": secrets})


@user.command("rights")
@click.argument("name")
def rights(name: str) -> Result:
    """Show the roles of one account.

    The namespace * stands for all namespaces: the account is an administrator. Everyone may pull
    from public repositories, also without a role. A disabled account has roles, but no rights.
    """
    return table(open_index().namespaces.roles(name), "namespace", "repository", "role")


def _target(one: dict[str, Any]) -> str:
    if one["namespace"] == "*":
        return "all namespaces"
    return f"{one['namespace']}/{one['repository']}".removesuffix("/")


@user.command("list")
def list_users() -> Result:
    """List all accounts."""
    return table(every(open_index().accounts.all), *_COLUMNS)


@click.command("invite", cls=ResultCommand)
@click.option("--email", help="E-mail address of the invited person; the account gets it.")
@click.option("--life", type=Duration(at_least=1), default="7d", help="Lifetime; default: 7d.")
def invite(email: str | None, life: int) -> Result:
    """Create an invitation to sign up, for the setting `invitation` of index.sign_up.

    It is shown once and valid once. With Docker up to 1.10: docker login -u NAME -e INVITATION.
    Later versions cannot sign up: add the account with `user add`.
    """
    code = open_index().sign_up.invite(email, life)
    return Result(code, {"invitation": code, "email": email, "life": life})


def _password(from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().removesuffix("\n").removesuffix("\r")
    if not sys.stdin.isatty():
        raise click.UsageError("no terminal to ask for the password: use --password-stdin")
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
