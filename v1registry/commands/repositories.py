"""The commands `tag` and `repository`: what the store has, and deleting or renaming it."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import click

from v1registry.commands.common import load_configuration, prepare_store
from v1registry.commands.errors import CommandError
from v1registry.commands.results import Result, ResultGroup, confirm, table
from v1registry.lib.names import RepositoryName, Tag
from v1registry.lib.repositories import walk

if TYPE_CHECKING:
    from v1registry.api.services import RegistryServices

_YES = click.option("--yes", is_flag=True, help="Do not ask.")
_MOST_NAMED = 20  # tags that a question names


@dataclass(frozen=True, slots=True)
class TagRow:
    """A row of `tag list`."""

    tag: str
    image: str


@dataclass(frozen=True, slots=True)
class RepositoryRow:
    """A row of `repository list`."""

    name: str
    tags: int
    is_private: bool


@click.group("tag", cls=ResultGroup)
def tag() -> None:
    """List and delete tags (docs/deleting.md)."""


@click.group("repository", cls=ResultGroup)
def repository() -> None:
    """List, delete and rename repositories (docs/deleting.md)."""


@tag.command("list")
@click.argument("name", metavar="REPOSITORY")
def list_tags(name: str) -> Result:
    """List the tags of a repository with their image ids."""
    services = _services(writes=False)
    found = services.repositories.tags(RepositoryName.parse_stored(name))
    return table([TagRow(tag, image) for tag, image in sorted(found.items())], "tag", "image")


@tag.command("delete")
@click.argument("name", metavar="REPOSITORY")
@click.argument("tags", metavar="TAG...", nargs=-1, required=True)
@_YES
def delete_tags(name: str, tags: tuple[str, ...], yes: bool) -> Result:
    """Delete tags. Their images stay until `v1registry gc` deletes those without a tag."""
    services = _services(writes=True)
    parsed = RepositoryName.parse_stored(name)
    known = services.repositories.tags(parsed)
    chosen = [Tag.parse_existing(tag) for tag in dict.fromkeys(tags)]
    services.repositories.immutable.refuse_deletion(parsed, chosen)
    confirm(f"Delete {_named(known, chosen)} of {parsed}?", yes)
    for tag in chosen:
        services.repositories.delete_tag(parsed, tag)
    return Result(
        "\n".join(f"{parsed}:{tag} deleted" for tag in chosen),
        {"repository": str(parsed), "deleted": list(chosen)},
    )


@repository.command("list")
@click.argument("pattern", metavar="[GLOB]", default="*")
def list_repositories(pattern: str) -> Result:
    """List all repositories in the store, or those whose names match a glob such as `team/*`."""
    services = _services(writes=False)
    rows = []
    for name in sorted(walk.repositories(services.storage), key=str):
        if fnmatchcase(str(name), pattern):
            tags = len(services.repositories.tags(name))
            rows.append(RepositoryRow(str(name), tags, services.repositories.is_private(name)))
    return table(rows, "name", "tags", "is_private")


@repository.command("delete")
@click.argument("name")
@_YES
def delete_repository(name: str, yes: bool) -> Result:
    """Delete a repository with all its tags, and its data in the index.

    The images stay until `v1registry gc` deletes those without a tag.
    """
    from v1registry.api import changes

    services = _services(writes=True)
    parsed = RepositoryName.parse_stored(name)
    count = len(services.repositories.tags(parsed))
    services.repositories.immutable.refuse_deletion(parsed)
    confirm(f"Delete {parsed} with {count} tags?", yes)
    changes.delete(services, parsed)
    return Result(f"{parsed} deleted", {"repository": str(parsed), "tags": count})


@repository.command("rename")
@click.argument("name")
@click.argument("new_name")
@_YES
def rename_repository(name: str, new_name: str, yes: bool) -> Result:
    """Rename a repository. No repository may have the new name yet.

    It keeps its tags, image list and visibility, and in an index its roles, stars and comments. If the
    command is interrupted, run it again.
    """
    from v1registry.api import changes

    services = _services(writes=True)
    old, new = RepositoryName.parse_stored(name), RepositoryName.parse(new_name)
    count = len(services.repositories.tags(old))
    services.repositories.immutable.refuse_deletion(old)
    confirm(f"Rename {old} with {count} tags to {new}?", yes)
    changes.rename(services, old, new)
    return Result(f"{old} is {new} now", {"repository": str(new), "tags": count})


def _services(*, writes: bool) -> RegistryServices:
    from v1registry.wiring.registry import build_registry

    config = load_configuration()
    if writes and config.read_only:
        raise CommandError("read_only is set: run the command on a node that writes to the store")
    if config.index.alone:
        raise CommandError("this is an index without a store: run the command at the registry")
    prepare_store(config)
    services = build_registry(config)
    if writes:
        services.read_only_switch.require_off()
    return services


def _named(known: dict[str, str], chosen: list[Tag]) -> str:
    """Return the chosen tags with the other tags of their images, for a question."""
    parts = []
    for tag in chosen[:_MOST_NAMED]:
        image = known.get(tag)
        others = [other for other, id in known.items() if id == image and other not in chosen]
        also = f" (also tagged {', '.join(sorted(others)[:_MOST_NAMED])})" if others else ""
        parts.append(f"{tag}{also}")
    more = len(chosen) - _MOST_NAMED
    return ", ".join(parts) + (f" and {more} more tags" if more > 0 else "")
