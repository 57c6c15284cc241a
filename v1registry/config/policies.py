"""The kinds of the options for policies."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from v1registry.config.access import whole

_REPOSITORY = re.compile(r"[a-z0-9._*?/-]+")
_TAGS = re.compile(r"[A-Za-z0-9_.*?-]+")
_FORM = "must be a list of rules, each with a glob as repository and a glob as tags"


class TagRule(NamedTuple):
    """A rule about tags: a glob for whole names of repositories, and a glob for their tags."""

    repository: str
    tags: str

    def as_mapping(self) -> dict[str, str]:
        """Return the rule as it is written in a file."""
        return self._asdict()


def tag_rules(value: Any) -> tuple[TagRule, ...]:
    """Check a list of rules with `repository` and `tags`."""
    if not isinstance(value, list):
        raise ValueError(_FORM)
    return tuple(_rule(item, number) for number, item in enumerate(value, 1))


def _rule(value: Any, number: int) -> TagRule:
    if not isinstance(value, dict) or set(value) != {"repository", "tags"}:
        raise ValueError(f"{_FORM}, in rule {number}")
    for name, form in (("repository", _REPOSITORY), ("tags", _TAGS)):
        if not (isinstance(value[name], str) and form.fullmatch(value[name])):
            raise ValueError(f"must have a glob in quotes as {name}, in rule {number}")
    return TagRule(whole(value["repository"]), value["tags"])
