"""What an account may see, in pieces that the database has in order.

All that is public, what is private in each of one's namespaces, and single repositories: each piece
lies in an index in the order of a list, or of a search's results, so that its first rows cost the
same whatever its size, and whatever there is that one may not see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from v1registry.index.schema import accounts, grants, namespaces, repositories

#: Of search results, best starred first, and of lists.
BY_STARS = (repositories.c.stars.desc(), repositories.c.name)
BY_NAME = (repositories.c.name,)

_MOST = 100  # namespaces that are a piece each; who has more sees to sorting the rest

_SHOWN = repositories.c.is_gone == sa.false()
_PUBLIC = sa.and_(repositories.c.is_private == sa.false(), _SHOWN)
_PRIVATE = sa.and_(repositories.c.is_private == sa.true(), _SHOWN)


@dataclass(frozen=True, slots=True)
class VisibleRepositories:
    """`namespaces` are those of which one sees all, `single` names of others' repositories."""

    everything: bool = False
    namespaces: tuple[int, ...] = ()
    single: tuple[str, ...] = ()

    def condition(self) -> sa.ColumnElement[bool]:
        """That a repository is to be seen."""
        return _SHOWN if self.everything else sa.or_(*self._pieces())

    def first(
        self,
        columns: Sequence[sa.ColumnElement[Any]],
        order: Sequence[Any],
        most: int,
        *conditions: sa.ColumnElement[bool],
    ) -> list[sa.Subquery]:
        """The first `most` rows of each piece; no row is in two of them."""
        pieces = [_SHOWN] if self.everything else self._pieces()
        return [
            sa.select(*columns).where(piece, *conditions).order_by(*order).limit(most).subquery()
            for piece in pieces
        ]

    @property
    def pieces(self) -> int:
        """How many parts `first` has."""
        return 1 if self.everything else len(self._pieces())

    def _pieces(self) -> list[sa.ColumnElement[bool]]:
        namespace, name = repositories.c.namespace_id, repositories.c.name
        pieces = [_PUBLIC]
        pieces += [sa.and_(_PRIVATE, namespace == one) for one in self.namespaces[:_MOST]]
        if rest := self.namespaces[_MOST:]:
            pieces.append(sa.and_(_PRIVATE, namespace.in_(rest)))
        if self.single:
            others = namespace.not_in(self.namespaces)
            pieces.append(sa.and_(_PRIVATE, name.in_(self.single), others))
        return pieces


def joined(parts: Sequence[sa.Subquery]) -> sa.Subquery:
    """The rows of all."""
    return sa.union_all(*map(sa.select, parts)).subquery()


def sight(connection: sa.Connection, user: str | None) -> VisibleRepositories:
    """What `user` (None: anybody) may see: what is public, or has a role for the account."""
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
