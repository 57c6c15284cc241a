"""The repositories that a user may see, as ranges that database indexes return in order.

The ranges are: all public repositories, the private ones of each namespace of the user, and single
repositories. An index returns the first rows of each range in order. So they cost the same for any
size of the range, and for any number of repositories that the user may not see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from v1registry.index.schema import accounts, grants, namespaces, repositories

#: The order of search results (most stars first), and of lists.
BY_STARS = (repositories.c.stars.desc(), repositories.c.name)
BY_NAME = (repositories.c.name,)

_MOST_RANGES = 100  # namespaces with a range each; the database sorts the rows of further ones

_SHOWN = repositories.c.is_gone == sa.false()
_PUBLIC = sa.and_(repositories.c.is_private == sa.false(), _SHOWN)
_PRIVATE = sa.and_(repositories.c.is_private == sa.true(), _SHOWN)


@dataclass(frozen=True, slots=True)
class VisibleRepositories:
    """The visible repositories: all of `namespaces`, the names in `single`, and public ones."""

    everything: bool = False
    namespaces: tuple[int, ...] = ()
    single: tuple[str, ...] = ()

    def condition(self) -> sa.ColumnElement[bool]:
        """Return the condition that a repository is visible."""
        return sa.or_(*self._ranges())

    def first(
        self,
        columns: Sequence[sa.ColumnElement[Any]],
        order: Sequence[Any],
        most: int,
        *conditions: sa.ColumnElement[bool],
    ) -> list[sa.Subquery]:
        """Return a subquery with the first `most` rows for each range. Ranges do not overlap."""

        return [
            sa.select(*columns).where(part, *conditions).order_by(*order).limit(most).subquery()
            for part in self._ranges()
        ]

    @property
    def range_count(self) -> int:
        """The number of subqueries that `first` returns."""
        return len(self._ranges())

    def _ranges(self) -> list[sa.ColumnElement[bool]]:
        if self.everything:
            return [_SHOWN]
        namespace, name = repositories.c.namespace_id, repositories.c.name
        ranges = [_PUBLIC]
        ranges += [sa.and_(_PRIVATE, namespace == one) for one in self.namespaces[:_MOST_RANGES]]
        if rest := self.namespaces[_MOST_RANGES:]:
            ranges.append(sa.and_(_PRIVATE, namespace.in_(rest)))
        if self.single:
            others = namespace.not_in(self.namespaces)
            ranges.append(sa.and_(_PRIVATE, name.in_(self.single), others))
        return ranges


def union(parts: Sequence[sa.Subquery]) -> sa.Subquery:
    """Return a subquery with the rows of all parts."""
    return sa.union_all(*map(sa.select, parts)).subquery()


def visible_to(connection: sa.Connection, user: str | None) -> VisibleRepositories:
    """Return the repositories that `user` (None: anonymous) may see."""
    if user is None:
        return VisibleRepositories()
    account = connection.execute(
        sa.select(accounts.c.id, accounts.c.is_admin).where(
            accounts.c.name == user, accounts.c.is_disabled == sa.false()
        )
    ).first()
    if account is None:
        return VisibleRepositories()
    if account.is_admin:
        return VisibleRepositories(everything=True)
    own = sa.select(namespaces.c.id).where(namespaces.c.account_id == account.id)
    held = sa.select(grants.c.namespace_id, grants.c.repository, namespaces.c.name).join(namespaces)
    roles = connection.execute(held.where(grants.c.account_id == account.id)).all()
    whole = {*connection.scalars(own), *(r.namespace_id for r in roles if not r.repository)}
    single = {f"{r.name}/{r.repository}" for r in roles if r.repository}
    return VisibleRepositories(False, tuple(sorted(whole)), tuple(sorted(single)))
