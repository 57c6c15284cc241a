"""`v1registry index token` for robots, and `key` for what signs the tokens of engines."""

from __future__ import annotations

import click

from v1registry.commands.index.common import (
    Duration,
    ErrorReportingGroup,
    as_json,
    own,
    tell,
    tell_rows,
)


@click.group("token", cls=ErrorReportingGroup)
def token() -> None:
    """Secrets that stand in for a password, for CI robots and scripts."""


@token.command("issue")
@click.argument("account")
@click.option("--label", default="", help="What it is for.")
@click.option("--life", type=Duration(), help="How long it is good, as in 90d. Default: for ever.")
@as_json
def issue(account: str, label: str, life: int | None, as_json: bool) -> None:
    """Make a secret for ACCOUNT, and show it, this once.

    It is given where an engine asks for the password: docker login -u ACCOUNT -p SECRET. What it
    allows are the account's roles; `user add --robot` and `grant` make an account with few of them.
    """
    secret = own().accounts.issue_secret(account, label, life)
    tell(as_json, {"account": account, "secret": secret, "life": life}, secret)


@token.command("list")
@click.argument("account", required=False)
@as_json
def list_tokens(account: str | None, as_json: bool) -> None:
    """The secrets of ACCOUNT, or all, without themselves."""
    columns = {
        "id": "ID",
        "account": "ACCOUNT",
        "label": "LABEL",
        "created": "CREATED",
        "expires": "EXPIRES",
    }
    tell_rows(as_json, own().accounts.secrets(account), columns)


@token.command("revoke")
@click.argument("secret_id", metavar="ID", type=int)
@as_json
def revoke(secret_id: int, as_json: bool) -> None:
    """Make the secret with this number worthless. Servers notice within seconds."""
    own().accounts.revoke_secret(secret_id)
    tell(as_json, {"id": secret_id}, f"secret {secret_id} revoked")


@click.group("key", cls=ErrorReportingGroup)
def key() -> None:
    """Keys that sign the tokens which engines carry from the index to registries."""


@key.command("list")
@as_json
def list_keys(as_json: bool) -> None:
    """All keys. Their public part is what registries take as `index_keys`."""
    columns = {"id": "ID", "public": "PUBLIC", "created": "CREATED", "is_signing": "SIGNS"}
    keys = own().keys
    keys.ensure()
    tell_rows(as_json, keys.all(), columns)


@key.command("add")
@as_json
def add(as_json: bool) -> None:
    """Make a key that does not sign yet: tell the registries first, then `key use` it."""
    made = own().keys.add()
    tell(as_json, {"id": made.id, "public": made.public}, f"key {made.id} added: {made.public}")


@key.command("use")
@click.argument("key_id", metavar="ID")
@as_json
def use(key_id: str, as_json: bool) -> None:
    """Sign with this key from now on. The others still check what they signed."""
    own().keys.use(key_id)
    tell(as_json, {"id": key_id}, f"key {key_id} signs")


@key.command("remove")
@click.argument("key_id", metavar="ID")
@as_json
def remove(key_id: str, as_json: bool) -> None:
    """Remove a key: tokens that it signed count no more, within a minute."""
    own().keys.remove(key_id)
    tell(as_json, {"id": key_id}, f"key {key_id} removed")
