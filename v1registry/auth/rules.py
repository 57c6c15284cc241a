"""The access rules of the configuration."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from v1registry.config.access import ANYBODY, USERS, Rule
from v1registry.lib.auth.rights import Access, Caller, IsPrivate
from v1registry.lib.names import RepositoryName, glob

Patterns = tuple[re.Pattern[str], ...]

_USER = "{user}"
_NAMESPACE = re.compile(r"[a-z0-9._-]+")


class Rules:
    """A set of access rules. An access is allowed if at least one rule allows it."""

    def __init__(self, rules: Sequence[Rule], is_private: IsPrivate) -> None:
        self._rules = [(rule, frozenset(map(Access, rule.allow))) for rule in rules]
        self._is_private = is_private
        # A list of many repositories checks each of them for the same caller.
        self._of = lru_cache(maxsize=256)(self._patterns_of)

    def allow(
        self,
        caller: Caller,
        repository: RepositoryName | None,
        access: Access,
        private: bool | None = None,
    ) -> bool:
        """Return whether a rule allows the access; `repository` None: to any repository.

        Rules for `anybody` do not apply to private repositories. `private` is the repository's
        flag; None: look it up.
        """
        own, anybody = self._of(caller.user, caller.groups, access)
        if repository is None:
            return bool(own or anybody)
        name = str(repository)
        if any(pattern.fullmatch(name) for pattern in own):
            return True
        openly = any(pattern.fullmatch(name) for pattern in anybody)
        return openly and not (self._is_private(repository) if private is None else private)

    def _patterns_of(
        self, user: str | None, groups: frozenset[str], access: Access
    ) -> tuple[Patterns, Patterns]:
        """Return the patterns of rules that name the caller or a group, and of those for anybody."""
        own: list[re.Pattern[str]] = []
        anybody: list[re.Pattern[str]] = []
        for rule, allowed in self._rules:
            if access not in allowed:
                continue
            named = not _names(user, groups).isdisjoint(rule.who)
            if named or ANYBODY in rule.who:
                patterns = [_pattern(text, user) for text in rule.repositories]
                (own if named else anybody).extend(p for p in patterns if p is not None)
        return tuple(own), tuple(anybody)


def _names(user: str | None, groups: frozenset[str]) -> set[str]:
    """Return the names in `who` that a user with an account matches."""
    if user is None:
        return set()
    names = {USERS, *(f"@{group}" for group in groups)}
    if user not in (ANYBODY, USERS) and not user.startswith("@"):
        names.add(user)
    return names


def _pattern(text: str, user: str | None) -> re.Pattern[str] | None:
    """Return the pattern for this user; None if it cannot match any repository."""
    if _USER in text:
        if user is None or not _NAMESPACE.fullmatch(user):
            # A user called `a/b` has no namespace, and one called `*` must not match every one.
            return None
        text = text.replace(_USER, user)
    return glob(text)
