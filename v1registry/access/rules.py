"""The rules of the configuration: what is allowed to whom for which repositories."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from v1registry.config.access import ANYBODY, USERS, Rule
from v1registry.lib.names import RepositoryName
from v1registry.lib.rights import Access, Asker, IsPrivate

_USER = "{user}"
_NAMESPACE = re.compile(r"[a-z0-9._-]+")


class Rules:
    """Rules add up: what one of them allows is allowed, and nothing else."""

    def __init__(self, rules: Sequence[Rule], is_private: IsPrivate) -> None:
        self._rules = [(rule, frozenset(map(Access, rule.allow))) for rule in rules]
        self._is_private = is_private

    def allow(self, asker: Asker, repository: RepositoryName | None, access: Access) -> bool:
        """Whether a rule allows that; `repository` None: for any repository at all.

        What is allowed to `anybody` does not hold for a repository that is flagged private.
        """
        openly = False
        for rule, allowed in self._rules:
            if access not in allowed or not _is_meant(rule, asker):
                continue
            if repository is None:
                return True
            if not any(_matches(p, asker.user, str(repository)) for p in rule.repositories):
                continue
            if _is_named(rule, asker):
                return True
            openly = True
        return openly and repository is not None and not self._is_private(repository)


def _is_named(rule: Rule, asker: Asker) -> bool:
    """Whether the rule means the asker as somebody who has an account."""
    if asker.user is None:
        return False
    names = {USERS, *(f"@{group}" for group in asker.groups)}
    if asker.user not in (ANYBODY, USERS) and not asker.user.startswith("@"):
        names.add(asker.user)
    return not names.isdisjoint(rule.who)


def _is_meant(rule: Rule, asker: Asker) -> bool:
    return ANYBODY in rule.who or _is_named(rule, asker)


def _matches(pattern: str, user: str | None, name: str) -> bool:
    if _USER in pattern:
        if user is None or not _NAMESPACE.fullmatch(user):
            return False  # `a/b` is no namespace of its own, and `*` is not everybody's
        pattern = pattern.replace(_USER, user)
    return _compiled(pattern).fullmatch(name) is not None


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile("".join({"*": ".*", "?": "."}.get(c) or re.escape(c) for c in pattern))
