"""Counts of pulls: added up in the process, written once in a while."""

from __future__ import annotations

from collections import Counter

import sqlalchemy as sa

from v1registry.index.database import Database
from v1registry.index.schema import repositories
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName


class SqlPullCounter:
    """A process that is killed loses what it has counted since it wrote last, and nothing else."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._counted: Counter[str] = Counter()

    def count(self, repository: RepositoryName) -> None:
        """One more; costs nothing."""
        self._counted[str(repository)] += 1

    def flush(self) -> None:
        """Write what was counted. Raise Failure 503; it stays counted then."""
        counted, self._counted = self._counted, Counter()
        if not counted:
            return
        try:
            # in one order, so that two processes never wait for each other
            self._database.write(lambda connection: _add(connection, sorted(counted.items())))
        except Failure:
            self._counted.update(counted)
            raise


def _add(connection: sa.Connection, counted: list[tuple[str, int]]) -> None:
    for name, more in counted:
        connection.execute(
            repositories.update()
            .where(repositories.c.name == name)
            .values(pulls=repositories.c.pulls + more)
        )
