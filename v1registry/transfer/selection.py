"""The selection of repositories and tags for a transfer, and their names in the target."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName, Tag, is_v2_repository
from v1registry.lib.repositories.repositories import Repositories
from v1registry.lib.repositories.walk import LeftOut
from v1registry.transfer.errors import TransferError


@dataclass(frozen=True, slots=True)
class Tagged:
    """A tag of the store, its v1 id, and the name of its repository in the target."""

    repository: RepositoryName
    tag: str
    image_id: str
    target: str

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}"


@dataclass(frozen=True, slots=True)
class Selection:
    """Patterns for repositories (`namespace/name`; `*` also matches a slash) and tags. None: all.

    `names` are rules `old=new` that rename one repository (`team/app=apps/app`), or all that begin
    with a prefix (`team/=apps/`). The longest rule that matches applies.
    """

    repositories: Sequence[str] = ()
    tags: Sequence[str] = ()
    names: Sequence[tuple[str, str]] = ()

    def selects(self, repository: str) -> bool:
        """Return whether a repository, given as `namespace/name`, is selected."""
        return _fits({repository, repository.removeprefix("library/")}, self.repositories)

    def selects_tag(self, tag: str) -> bool:
        return _fits({tag}, self.tags)

    def target(self, repository: RepositoryName) -> str:
        """Return the name of the repository in the target."""
        name = str(repository)
        fitting = [(old, new) for old, new in self.names if name == old or _is_below(name, old)]
        if not fitting:
            return name
        old, new = max(fitting, key=lambda rule: len(rule[0]))
        return new + name[len(old) :]

    def select(
        self, names: Sequence[RepositoryName], repositories: Repositories, left_out: LeftOut
    ) -> Iterator[Tagged]:
        """Yield the selected tags by name. Raise TransferError if two repositories get one name.

        `left_out` is called with a repository, its tag, and the reason why the tag cannot be read.
        """
        targets: dict[str, RepositoryName] = {}
        for repository in sorted(names):
            if not self.selects(str(repository)):
                continue
            target = self.target(repository)
            if (other := targets.setdefault(target, repository)) != repository:
                raise TransferError(f"{other} and {repository} would both become {target}")
            try:
                unreadable: dict[str, str] = {}
                tags = repositories.tags(repository, unreadable.__setitem__)
            except Failure:
                continue  # deleted in the meantime
            for tag, reason in sorted(unreadable.items()):
                if self.selects_tag(tag):
                    left_out(str(repository), tag, reason)
            for tag, image_id in sorted(tags.items()):
                if self.selects_tag(tag):
                    yield Tagged(repository, tag, image_id, target)


def rule(text: str) -> tuple[str, str]:
    """Parse `old=new`. An old name without a slash is in `library/`. Raise TransferError."""
    old, mark, new = text.partition("=")
    if not mark or not old or not new or old.endswith("/") != new.endswith("/"):
        raise TransferError(f"{text!r}: must be OLD=NEW, or OLD/=NEW/ for all that begin with it")
    if "/" not in old:
        old = f"library/{old}"
    return old, new


def unloadable(target: str, tag: str) -> str | None:
    """Return why Docker and `v1registry import` would refuse the name; None if they accept it."""
    try:
        RepositoryName.parse(target)
    except Failure:
        return f"{target} is no legal name for a repository: rename it with --map"
    return None if Tag.is_valid(tag) else f"{tag!r} is no legal tag: push the image by another tag"


def refused(target: str, tag: str) -> str | None:
    """Return why a v2 registry would refuse the repository or tag; None if it accepts them."""
    if not is_v2_repository(target):
        return f"{target} is no name for a repository of a v2 registry: rename it with --map"
    if not Tag.is_valid(tag):
        return f"{tag!r} is no tag for a v2 registry"
    return None


def _fits(names: set[str], globs: Sequence[str]) -> bool:
    return not globs or any(fnmatch.fnmatchcase(name, glob) for name in names for glob in globs)


def _is_below(name: str, prefix: str) -> bool:
    return prefix.endswith("/") and name.startswith(prefix)
