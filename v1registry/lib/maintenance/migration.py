"""What a migration would copy, for a page: only what a caller may pull, and without the target.

The names come from the search, so nothing walks over the store. Tags and sizes are read for one page
of repositories, and for a limited time.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

from v1registry.lib.auth.rights import Caller
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName, is_v2_repository
from v1registry.lib.oci.tag_list import TagList
from v1registry.lib.repositories.search import BrowseQuery, Search, paced
from v1registry.lib.repositories.selection import NameSelection

NAMES = 2000  # repositories that are compared with the patterns
TAGS = 100  # tags of a repository that are read


@dataclass(frozen=True, slots=True)
class PlannedRepository:
    """A repository, its name in the target, and what is known of its tags and their size in bytes.

    None: not read in time. `is_complete` is False if there are more tags than were read.
    `is_legal`: whether a v2 registry accepts the name.
    """

    name: str
    target: str
    is_legal: bool
    tags: int | None = None
    size: int | None = None
    is_complete: bool = True


@dataclass(frozen=True, slots=True)
class MigrationPlan:
    """One page of the repositories that match, the number of all, and whether there may be more.

    `conflicts` are pairs of repositories that would get the same name.
    """

    rows: Sequence[PlannedRepository]
    total: int
    has_more: bool
    conflicts: Sequence[tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class MigrationPlanner:
    """Plans migrations. `may_pull` checks the caller's access again for each repository that is read."""

    search: Search
    tag_list: TagList
    may_pull: Callable[[RepositoryName], bool]

    def plan(
        self, caller: Caller, selection: NameSelection, number: int, size: int, *, seconds: float
    ) -> MigrationPlan:
        """Return page `number` (from 1). After `seconds`, tags and sizes are not read."""
        end = time.monotonic() + seconds
        query = BrowseQuery(namespace=_namespace(selection), size=NAMES)
        found = self.search.browse(caller, query)
        matching: list[RepositoryName] = []
        targets: dict[str, str] = {}
        conflicts: list[tuple[str, str, str]] = []
        for row in paced(found.rows):
            repository = _parsed(row.name)
            if repository is None or not selection.selects(row.name):
                continue
            matching.append(repository)
            target = selection.target(repository)
            if (other := targets.setdefault(target, row.name)) != row.name:
                conflicts.append((other, row.name, target))
        shown = matching[(number - 1) * size : number * size]
        rows = [self._read(repository, selection, end) for repository in shown]
        return MigrationPlan(rows, len(matching), found.total > len(found.rows), conflicts)

    def _read(
        self, repository: RepositoryName, selection: NameSelection, end: float
    ) -> PlannedRepository:
        target = selection.target(repository)
        name, is_legal = str(repository), is_v2_repository(target)
        left = end - time.monotonic()
        if left <= 0 or not self.may_pull(repository):
            return PlannedRepository(name, target, is_legal)
        page = self.tag_list.page(repository, "", 1, TAGS, seconds=left)
        if page is None:
            return PlannedRepository(name, target, is_legal, 0, 0)
        chosen = [row for row in page.rows if selection.selects_tag(row.name)]
        sizes = {row.image_id: row.facts.size if row.facts else None for row in chosen}
        known = [one for one in sizes.values() if one is not None]
        size = sum(known) if len(known) == len(sizes) else None
        is_complete = page.total <= len(page.rows)
        return PlannedRepository(name, target, is_legal, len(chosen), size, is_complete)


def command_line(
    url: str, selection: NameSelection, rules: Sequence[str], *, form: str, is_dry: bool
) -> str:
    """Return the command of a migration, quoted for a POSIX shell."""
    options = [
        ("to", [url]),
        ("repositories", selection.repositories),
        ("tags", selection.tags),
        ("map", rules),
        ("format", [form] if form != "docker" else []),
    ]
    words = chain.from_iterable(
        _option(name, value) for name, values in options for value in values
    )
    return shlex.join(["v1registry", "migrate", *words, *(["--dry-run"] if is_dry else [])])


def _option(name: str, value: str) -> list[str]:
    return [f"--{name}={value}"] if value.startswith("-") else [f"--{name}", value]


def _namespace(selection: NameSelection) -> str:
    """Return the namespace to which a single pattern limits the search, or an empty text."""
    if len(selection.repositories) != 1:
        return ""
    namespace, slash, _ = selection.repositories[0].partition("/")
    return namespace if slash and not set(namespace) & set("*?[") else ""


def _parsed(name: str) -> RepositoryName | None:
    try:
        return RepositoryName.parse_stored(name)
    except Failure:
        return None
