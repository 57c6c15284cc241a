"""The commands `v1registry index token` (secrets of accounts) and `key` (signing keys)."""

from __future__ import annotations

import click

from v1registry.commands.common import Duration
from v1registry.commands.index.common import open_index
from v1registry.commands.results import Result, ResultGroup, table


@click.group("token", cls=ResultGroup)
def token() -> None:
    """Manage secrets that robots and scripts use instead of a password."""


@token.command("issue")
@click.argument("account")
@click.option("--label", default="", help="Purpose of the secret.")
@click.option("--life", type=Duration(at_least=1), help="Lifetime, such as 90d. Default: no end.")
def issue(account: str, label: str, life: int | None) -> Result:
    """Create a secret for ACCOUNT and show it once.

    Use it as a password: docker login -u ACCOUNT -p SECRET. It has all roles of the account.
    `user add --robot` and `grant` make an account with few roles.
    """
    secret = open_index().accounts.issue_secret(account, label, life)
    return Result(secret, {"account": account, "secret": secret, "life": life})


@token.command("list")
@click.argument("account", required=False)
def list_tokens(account: str | None) -> Result:
    """List the secrets of ACCOUNT, or of all accounts, without their texts."""
    secrets = open_index().accounts.secrets(account)
    return table(secrets, "id", "account", "label", "created", "expires")


@token.command("revoke")
@click.argument("secret_id", metavar="ID", type=int)
def revoke(secret_id: int) -> Result:
    """Revoke the secret with this number. Servers notice within seconds."""
    open_index().accounts.revoke_secret(secret_id)
    return Result(f"secret {secret_id} revoked", {"id": secret_id})


@click.group("key", cls=ResultGroup)
def key() -> None:
    """Manage the keys that sign the tokens which clients take from the index to registries."""


@key.command("list")
def list_keys() -> Result:
    """List all keys. Registries need their public parts in the option `index_keys`."""
    keys = open_index().keys
    keys.ensure()
    return table(keys.all(), "id", "public", "created", "is_signing")


@key.command("add")
def add() -> Result:
    """Add a key that does not sign yet. Add it to the registries, then run `key use`."""
    made = open_index().keys.add()
    return Result(f"key {made.id} added: {made.public}", {"id": made.id, "public": made.public})


@key.command("use")
@click.argument("key_id", metavar="ID")
def use(key_id: str) -> Result:
    """Sign new tokens with this key. Tokens that other keys signed stay valid."""
    open_index().keys.use(key_id)
    return Result(f"key {key_id} signs", {"id": key_id})


@key.command("remove")
@click.argument("key_id", metavar="ID")
def remove(key_id: str) -> Result:
    """Remove a key. Tokens that it signed become invalid within a minute."""
    open_index().keys.remove(key_id)
    return Result(f"key {key_id} removed", {"id": key_id})
