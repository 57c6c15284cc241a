"""The rules of the configuration: what is allowed to whom for which repositories."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from v1registry.config.access import ANYBODY, USERS, Rule
from v1registry.lib.auth.rights import Access, Caller, IsPrivate
from v1registry.lib.names import RepositoryName

Patterns = tuple[re.Pattern[str], ...]

_USER = "{user}"
_NAMESPACE = re.compile(r"[a-z0-9._-]+")


class Rules:
    """Rules add up: what one of them allows is allowed, and nothing else."""

    def __init__(self, rules: Sequence[Rule], is_private: IsPrivate) -> None:
        self._rules = [(rule, frozenset(map(Access, rule.allow))) for rule in rules]
        self._is_private = is_private
        # A list of many repositories asks for each of them in the name of one asker.
        self._of = lru_cache(maxsize=256)(self._patterns_of)

    def allow(
        self,
        asker: Caller,
        repository: RepositoryName | None,
        access: Access,
        private: bool | None = None,
    ) -> bool:
        """Whether a rule allows that; `repository` None: for any repository at all. `private` tells
        how it is flagged, None: that is to be found out.

        What is allowed to `anybody` does not hold for a repository that is flagged private.
        """
        own, anybody = self._of(asker.user, asker.groups, access)
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
        """Of the rules that mean an asker by name or group, and of those that mean anybody."""
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
    """What an asker is called in rules as somebody who has an account."""
    if user is None:
        return set()
    names = {USERS, *(f"@{group}" for group in groups)}
    if user not in (ANYBODY, USERS) and not user.startswith("@"):
        names.add(user)
    return names


def _pattern(text: str, user: str | None) -> re.Pattern[str] | None:
    """The pattern for this user; None if it can match nothing."""
    if _USER in text:
        if user is None or not _NAMESPACE.fullmatch(user):
            return None  # `a/b` is no namespace of its own, and `*` is not everybody's
        text = text.replace(_USER, user)
    return re.compile("".join({"*": ".*", "?": "."}.get(c) or re.escape(c) for c in text))
