"""The commands `v1registry index token` (secrets of accounts) and `key` (signing keys)."""

from __future__ import annotations

import click

from v1registry.commands.index.common import (
    Duration,
    ErrorReportingGroup,
    as_json,
    open_index,
    print_result,
    print_rows,
)


@click.group("token", cls=ErrorReportingGroup)
def token() -> None:
    """Manage secrets that robots and scripts use instead of a password."""


@token.command("issue")
@click.argument("account")
@click.option("--label", default="", help="Purpose of the secret.")
@click.option("--life", type=Duration(), help="Lifetime, such as 90d. Default: no end.")
@as_json
def issue(account: str, label: str, life: int | None, as_json: bool) -> None:
    """Create a secret for ACCOUNT and show it once.

    Use it as a password: docker login -u ACCOUNT -p SECRET. It has all roles of the account.
    `user add --robot` and `grant` make an account with few roles.
    """
    secret = open_index().accounts.issue_secret(account, label, life)
    print_result(as_json, {"account": account, "secret": secret, "life": life}, secret)


@token.command("list")
@click.argument("account", required=False)
@as_json
def list_tokens(account: str | None, as_json: bool) -> None:
    """List the secrets of ACCOUNT, or of all accounts, without their texts."""
    columns = {
        "id": "ID",
        "account": "ACCOUNT",
        "label": "LABEL",
        "created": "CREATED",
        "expires": "EXPIRES",
    }
    print_rows(as_json, open_index().accounts.secrets(account), columns)


@token.command("revoke")
@click.argument("secret_id", metavar="ID", type=int)
@as_json
def revoke(secret_id: int, as_json: bool) -> None:
    """Revoke the secret with this number. Servers notice within seconds."""
    open_index().accounts.revoke_secret(secret_id)
    print_result(as_json, {"id": secret_id}, f"secret {secret_id} revoked")


@click.group("key", cls=ErrorReportingGroup)
def key() -> None:
    """Manage the keys that sign the tokens which clients take from the index to registries."""


@key.command("list")
@as_json
def list_keys(as_json: bool) -> None:
    """List all keys. Registries need their public parts in the option `index_keys`."""
    columns = {"id": "ID", "public": "PUBLIC", "created": "CREATED", "is_signing": "SIGNS"}
    keys = open_index().keys
    keys.ensure()
    print_rows(as_json, keys.all(), columns)


@key.command("add")
@as_json
def add(as_json: bool) -> None:
    """Add a key that does not sign yet. Add it to the registries, then run `key use`."""
    made = open_index().keys.add()
    print_result(
        as_json, {"id": made.id, "public": made.public}, f"key {made.id} added: {made.public}"
    )


@key.command("use")
@click.argument("key_id", metavar="ID")
@as_json
def use(key_id: str, as_json: bool) -> None:
    """Sign new tokens with this key. Tokens that other keys signed stay valid."""
    open_index().keys.use(key_id)
    print_result(as_json, {"id": key_id}, f"key {key_id} signs")


@key.command("remove")
@click.argument("key_id", metavar="ID")
@as_json
def remove(key_id: str, as_json: bool) -> None:
    """Remove a key. Tokens that it signed become invalid within a minute."""
    open_index().keys.remove(key_id)
    print_result(as_json, {"id": key_id}, f"key {key_id} removed")
