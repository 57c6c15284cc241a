"""The command `v1registry index repository`."""

from __future__ import annotations

import click

from v1registry.commands.index.common import (
    ErrorReportingGroup,
    as_json,
    open_index,
    open_index_and_store,
    print_result,
    print_rows,
)
from v1registry.lib import errors
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName
from v1registry.lib.repositories.repositories import set_private
from v1registry.lib.repositories.tags import Tags

_COLUMNS = {
    "name": "NAME",
    "is_private": "PRIVATE",
    "is_official": "OFFICIAL",
    "is_automated": "AUTOMATED",
    "stars": "STARS",
    "pulls": "PULLS",
    "updated": "UPDATED",
    "missing": "NOT IN STORE SINCE",
}


@click.group("repository", cls=ErrorReportingGroup)
def repository() -> None:
    """Manage the data of the index about repositories."""


@repository.command("list")
@as_json
def list_repositories(as_json: bool) -> None:
    """List all repositories, including private ones."""
    print_rows(as_json, open_index().repositories.all(), _COLUMNS)


@repository.command("remove")
@click.argument("name")
@as_json
def remove(name: str, as_json: bool) -> None:
    """Delete a repository that is no longer in the store from the index.

    This deletes its description, stars and comments too.
    """
    index, storage = open_index_and_store()
    parsed = RepositoryName.parse_stored(name)
    if storage is not None and Tags(storage).all(parsed) is not None:
        raise Failure(400, f"{parsed} is in the store: delete it at the registry, by DELETE")
    if not index.repositories.delete(parsed):
        raise Failure(*errors.REPOSITORY_NOT_FOUND)
    print_result(as_json, {"name": str(parsed)}, f"{parsed} removed from the index")


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
@as_json
def set_repository(
    name: str,
    is_private: bool | None,
    is_official: bool | None,
    is_automated: bool | None,
    description: str | None,
    as_json: bool,
) -> None:
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
    print_result(as_json, {"name": str(parsed), **given}, f"{parsed} is set")
