"""`v1registry index user` and `invite`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

import click

from v1registry.commands.index.common import (
    Duration,
    ErrorReportingGroup,
    as_json,
    cell,
    own,
    tell,
    tell_rows,
    warn_of_old_engines,
)
from v1registry.lib.errors import Failure

_PASSWORD = click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input, do not ask."
)
_COLUMNS = {
    "name": "NAME",
    "email": "E-MAIL",
    "is_robot": "ROBOT",
    "is_admin": "ADMIN",
    "is_disabled": "DISABLED",
    "created": "CREATED",
}


@click.group("user", cls=ErrorReportingGroup)
def user() -> None:
    """Accounts of people and robots."""


@user.command("add")
@click.argument("name")
@click.option("--email", help="The e-mail address.")
@click.option("--admin", is_flag=True, help="May do everything everywhere.")
@click.option("--robot", is_flag=True, help="For CI: no password, no namespace; see `token issue`.")
@click.option("--adopt", is_flag=True, help="Give it the namespace NAME, which exists already.")
@_PASSWORD
@as_json
def add(
    name: str,
    email: str | None,
    admin: bool,
    robot: bool,
    adopt: bool,
    password_stdin: bool,
    as_json: bool,
) -> None:
    """Make an account, and the namespace of its name."""
    index = own()
    if robot and password_stdin:
        raise click.UsageError("a robot has no password")
    if not robot and not adopt and index.is_taken(name):
        raise Failure(400, f"the store has repositories of {name}: --adopt gives them to it")
    password = None if robot else _password(password_stdin)
    index.accounts.add(name, password, email=email, is_admin=admin, adopt=adopt)
    tell(as_json, {"name": name}, f"{'robot' if robot else 'user'} {name} added")
    if not robot:  # a robot has no namespace
        warn_of_old_engines(name)


@user.command("passwd")
@click.argument("name")
@_PASSWORD
@as_json
def passwd(name: str, password_stdin: bool, as_json: bool) -> None:
    """Set a new password."""
    index = own()
    index.accounts.get(name)
    index.accounts.set_password(name, _password(password_stdin))
    tell(as_json, {"name": name}, f"{name} has a new password")


@user.command("disable")
@click.argument("name")
@as_json
def disable(name: str, as_json: bool) -> None:
    """Let the account do nothing any more; all that it has stays.

    Servers notice within seconds; registries that check tokens alone, when these run out.
    """
    own().accounts.set_disabled(name, True)
    tell(as_json, {"name": name, "is_disabled": True}, f"{name} is disabled")


@user.command("enable")
@click.argument("name")
@as_json
def enable(name: str, as_json: bool) -> None:
    """Undo `disable`."""
    own().accounts.set_disabled(name, False)
    tell(as_json, {"name": name, "is_disabled": False}, f"{name} is enabled")


@user.command("admin")
@click.argument("name")
@click.option("--revoke", is_flag=True, help="Not any more.")
@as_json
def admin(name: str, revoke: bool, as_json: bool) -> None:
    """Let the account do everything everywhere."""
    own().accounts.set_admin(name, not revoke)
    text = f"{name} is {'no longer' if revoke else 'now'} an administrator"
    tell(as_json, {"name": name, "is_admin": not revoke}, text)


@user.command("remove")
@click.argument("name")
@as_json
def remove(name: str, as_json: bool) -> None:
    """Remove an account with its secrets, roles, stars and comments.

    Its namespace stays, with its repositories and with the roles of others; `namespace remove`
    removes an empty one. The name can be used again after index.token_life. Servers notice within
    seconds; registries that check tokens alone, when these run out. `user disable` can be undone.
    """
    index = own()
    kept = index.accounts.remove(name, index.longest_token)
    text = f"{name} is removed"
    text += f"; the namespace {name} stays, without an owner" if kept else ""
    tell(as_json, {"name": name, "namespace": name if kept else None}, text)


@user.command("show")
@click.argument("name")
@as_json
def show(name: str, as_json: bool) -> None:
    """Show an account, its roles and its secrets, without the secrets themselves."""
    index = own()
    account = asdict(index.accounts.get(name))
    roles = [asdict(role) for role in index.namespaces.roles(name)]
    secrets = [asdict(secret) for secret in index.accounts.secrets(name)]
    lines = [f"{label}: {cell(field, account[field])}" for field, label in _COLUMNS.items()]
    lines += [f"ROLE: {one['role']} in {_target(one)}" for one in roles]
    lines += [
        f"SECRET: {one['id']} {cell('label', one['label'])}, expires {cell('expires', one['expires'])}"
        for one in secrets
    ]
    tell(as_json, account | {"roles": roles, "secrets": secrets}, "\n".join(lines))


@user.command("rights")
@click.argument("name")
@as_json
def rights(name: str, as_json: bool) -> None:
    """Show the roles of one account.

    The namespace * stands for all namespaces: the account is an administrator. Everybody may pull
    from public repositories, also without a role. A disabled account has roles, but no rights.
    """
    columns = {"namespace": "NAMESPACE", "repository": "REPOSITORY", "role": "ROLE"}
    tell_rows(as_json, own().namespaces.roles(name), columns)


def _target(one: dict[str, Any]) -> str:
    if one["namespace"] == "*":
        return "all namespaces"
    return f"{one['namespace']}/{one['repository']}".removesuffix("/")


@user.command("list")
@as_json
def list_users(as_json: bool) -> None:
    """All accounts."""
    index = own()
    found = page = index.accounts.all()
    while page:
        page = index.accounts.all(after=page[-1].name)
        found = [*found, *page]
    tell_rows(as_json, found, _COLUMNS)


@click.command("invite")
@click.option("--email", help="Whom for: becomes the account's address.")
@click.option("--life", type=Duration(), default="7d", help="How long it is good; 7d by default.")
@as_json
def invite(email: str | None, life: int, as_json: bool) -> None:
    """Make an invitation to sign up, where index.sign_up is `invitation`.

    It is shown once, and good once. With an engine up to 1.10: docker login -u NAME -e INVITATION.
    Later engines do not sign up: make the account with `user add`.
    """
    code = own().sign_up.invite(email, life)
    tell(as_json, {"invitation": code, "email": email, "life": life}, code)


def _password(from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().removesuffix("\n").removesuffix("\r")
    if not sys.stdin.isatty():
        raise click.UsageError("no terminal to ask for the password: use --password-stdin")
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
