"""Counts of pulls, added up in memory and written to the database from time to time."""

from __future__ import annotations

from collections import Counter

import sqlalchemy as sa

from v1registry.index.database import Database
from v1registry.index.schema import repositories
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName


class SqlPullCounter:
    """Counts pulls. A process that is killed loses the counts since its last write."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._counted: Counter[str] = Counter()

    def count(self, repository: RepositoryName) -> None:
        """Count one pull in memory."""
        self._counted[str(repository)] += 1

    def flush(self) -> None:
        """Write the counts to the database. Raise Failure 503, and keep the counts then."""
        counted, self._counted = self._counted, Counter()
        if not counted:
            return
        try:
            # sorted, so that two processes cannot deadlock
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
