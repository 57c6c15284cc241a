"""The selection of repositories and tags for a migration, by patterns, and the names that they get."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from v1registry.lib.names import RepositoryName

Rule = tuple[str, str]


@dataclass(frozen=True, slots=True)
class NameSelection:
    """Patterns for repositories (`namespace/name`; `*` also matches a slash) and tags. None: all.

    `names` are rules `old=new` that rename one repository (`team/app=apps/app`), or all that begin
    with a prefix (`team/=apps/`). The longest rule that matches applies.
    """

    repositories: Sequence[str] = ()
    tags: Sequence[str] = ()
    names: Sequence[Rule] = ()

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


def rule(text: str) -> Rule:
    """Parse `old=new`. An old name without a slash is in `library/`. Raise ValueError."""
    old, mark, new = text.partition("=")
    if not mark or not old or not new or old.endswith("/") != new.endswith("/"):
        raise ValueError(f"{text!r}: must be OLD=NEW, or OLD/=NEW/ for all that begin with it")
    if "/" not in old:
        old = f"library/{old}"
    return old, new


def registry_url(text: str) -> str:
    """Return the URL of a registry as scheme://host. Raise ValueError, which quotes no credentials."""
    if "@" in text:
        raise ValueError("give credentials by --creds or docker login, not in the URL")
    url = text if "://" in text else f"https://{text}"
    try:
        parsed = urlsplit(url)
        is_url = parsed.scheme in ("http", "https") and parsed.hostname and parsed.port != 0
    except ValueError:
        is_url = False
    if not is_url or not text.isprintable() or " " in text:
        raise ValueError(f"{text}: must be https://host[:port], or http://")
    if parsed.path.strip("/") or parsed.query or parsed.fragment:
        raise ValueError(f"{text}: must be https://host[:port] alone; --map renames repositories")
    return f"{parsed.scheme}://{parsed.netloc}"


def _fits(names: set[str], globs: Sequence[str]) -> bool:
    return not globs or any(_compiled(glob).match(name) for name in names for glob in globs)


@lru_cache(maxsize=64)  # `fnmatch.fnmatchcase` keeps 32768, which clients of the pages could fill
def _compiled(glob: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(glob))


def _is_below(name: str, prefix: str) -> bool:
    return prefix.endswith("/") and name.startswith(prefix)
