"""The command `v1registry index repository`."""

from __future__ import annotations

import click

from v1registry.commands.index.common import open_index, open_index_and_store
from v1registry.commands.results import Result, ResultGroup, table
from v1registry.lib import errors
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName
from v1registry.lib.repositories.repositories import set_private
from v1registry.lib.repositories.tags import Tags

_COLUMNS = (
    *("name", "is_private", "is_official", "is_automated"),
    *("stars", "pulls", "updated", "missing"),
)


@click.group("repository", cls=ResultGroup)
def repository() -> None:
    """Manage the data of the index about repositories."""


@repository.command("list")
def list_repositories() -> Result:
    """List all repositories, including private ones."""
    return table(open_index().repositories.all(), *_COLUMNS)


@repository.command("remove")
@click.argument("name")
def remove(name: str) -> Result:
    """Delete a repository that is no longer in the store from the index.

    This deletes its description, stars and comments too.
    """
    index, storage = open_index_and_store()
    parsed = RepositoryName.parse_stored(name)
    if storage is not None and Tags(storage).all(parsed) is not None:
        raise Failure(400, f"{parsed} is in the store: delete it at the registry, by DELETE")
    if not index.repositories.delete(parsed):
        raise Failure(*errors.REPOSITORY_NOT_FOUND)
    return Result(f"{parsed} removed from the index", {"name": str(parsed)})


@repository.command("set")
@click.argument("name")
@click.option(
    "--private/--public",
    "is_private",
    default=None,
    help="Whether users without a role may see and pull it.",
)
@click.option(
    "--official/--no-official",
    "is_official",
    default=None,
    help="Whether searches mark it as official.",
)
@click.option(
    "--automated/--no-automated",
    "is_automated",
    default=None,
    help="Whether searches mark it as automated.",
)
@click.option("--description", help="Short description, which searches show.")
def set_repository(
    name: str,
    is_private: bool | None,
    is_official: bool | None,
    is_automated: bool | None,
    description: str | None,
) -> Result:
    """Set the flags and the description of a repository."""
    index, storage = open_index_and_store(needs_store=is_private is not None)
    parsed = RepositoryName.parse_stored(name)
    index.repositories.describe(parsed, description)
    flags = {"is_private": is_private, "is_official": is_official, "is_automated": is_automated}
    given = {flag: value for flag, value in flags.items() if value is not None}
    if given:
        index.repositories.flag(parsed, **given)
    if is_private is not None and storage is not None:
        set_private(storage, parsed, is_private)
    return Result(f"{parsed} is set", {"name": str(parsed), **given})
