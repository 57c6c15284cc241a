"""Synchronization of the database with the store.

After each change, the registry reads it from the store and writes it to the database. If that fails,
the push still succeeds: the repository is noted and retried. A periodic walk over the whole store finds
changes that another registry, or a process that died, did not write.

Two processes may write in the wrong order. So after writing, each process reads the store again, and
starts over if the store has changed. Then the last write has the current state.

A store may look empty because its disk is not mounted. So a repository that is missing from the store
keeps its row, with visibility, description, stars and comments. Only requests and commands delete rows.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import sqlalchemy as sa

from v1registry.index import deletions
from v1registry.index.database import Database
from v1registry.index.repositories import SHOWN, Repository, read
from v1registry.index.rows import now
from v1registry.index.schema import repositories
from v1registry.index.stored_repositories import (
    Policy,
    StoredRepository,
    StoredRows,
    Tags,
    hide_missing,
    mark_missing,
)
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName
from v1registry.lib.repositories.repositories import Events
from v1registry.lib.support.circuit_breaker import CircuitBreaker

PAUSE = 10.0  # seconds until the next attempt after a failure of the database
TIMEOUT = 2.0  # seconds that a push waits for the database
_NOTED = 100_000  # repositories noted for a retry; a walk finds further ones
_ROUNDS = 20  # attempts while other processes change the same repository
_AT_ONCE = 200  # repositories per statement
_ALWAYS = 10  # missing repositories that never make a walk doubtful

_log = logging.getLogger(__name__)


def _unchecked() -> None:
    pass


@dataclass(frozen=True, slots=True)
class StoreView:
    """Functions that read the store. `tags` and `tag` return None if there is nothing.

    `check` raises StorageError unless the store still is the one of the start.
    """

    tags: Callable[[RepositoryName], Tags | None]
    tag: Callable[[RepositoryName, str], str | None]
    is_private: Callable[[RepositoryName], bool]
    walk: Callable[[], Iterable[RepositoryName]]
    check: Callable[[], None] = _unchecked


@dataclass(slots=True)
class SyncReport:
    """Counts of a walk. `missing` repositories are not in the store; `removed` of them are hidden now.

    `doubtful`: too many were missing at once, so they were not noted as missing.
    """

    repositories: int = 0
    changed: int = 0
    removed: int = 0
    missing: int = 0
    doubtful: bool = False

    def __str__(self) -> str:
        text = (
            f"{self.repositories} repositories in the store, {self.changed} of them changed in the"
            f" index, {self.removed} removed from it"
        )
        if self.doubtful:
            text += (
                f"; {self.missing} of the index are missing from the store, more than"
                " index.missing_share: nothing was changed about them; if the store is right, run"
                " `v1registry index rebuild --missing`"
            )
        elif self.missing:
            text += f", {self.missing} missing from the store"
        return text


class Sync(Events):
    """Receives the events of pushes and deletions. `run_in_thread` runs walks over the store."""

    def __init__(
        self,
        database: Database,
        store: StoreView,
        run_in_thread: Callable[..., Any],
        policy: Policy | None = None,
    ) -> None:
        self._database = database
        self._store = store
        self._run_in_thread = run_in_thread
        self._policy = policy or Policy()
        self._rows = StoredRows(self._policy)
        self._calls = CircuitBreaker(PAUSE)
        self._noted: dict[RepositoryName, Callable[[RepositoryName], None]] = {}

    # -- one change ---------------------------------------------------------------

    def tagged(self, repository: RepositoryName, tag: str) -> None:
        self._try(repository, lambda: self._write_tag(repository, tag))

    def flagged(self, repository: RepositoryName, private: bool) -> None:
        work = partial(self._rows.flag, repository=repository, private=private)
        self._try(repository, lambda: self._database.write(work, TIMEOUT))

    def deleted(self, repository: RepositoryName) -> None:
        if not self._policy.decides:
            self._try(repository, partial(self._delete_row, repository), again=self._delete_row)

    def retry(self) -> None:
        """Retry the noted repositories. Raise Failure 503, or StorageError."""
        while self._noted:
            repository, again = next(iter(self._noted.items()))
            again(repository)
            if self._noted.get(repository) is again:
                del self._noted[repository]

    def _try(
        self,
        repository: RepositoryName,
        call: Callable[[], object],
        again: Callable[[RepositoryName], None] | None = None,
    ) -> None:
        ticket = self._calls.admit()
        if ticket is not None:
            try:
                call()
            except Exception as error:  # no error may fail the push, which is complete
                if self._calls.failed(ticket):
                    reason = error.text if isinstance(error, Failure) else repr(error)
                    _log.warning("The index lags behind the store: %s", reason)
            else:
                self._calls.succeeded(ticket)
                return
        if len(self._noted) < _NOTED:
            self._noted[repository] = again or self.update

    def _write_tag(self, repository: RepositoryName, tag: str) -> None:
        private = self._store.is_private(repository)
        for _ in range(_ROUNDS):
            image = self._store.tag(repository, tag)
            work = partial(
                self._rows.set_tag, repository=repository, tag=tag, image=image, private=private
            )
            self._database.write(work, TIMEOUT)
            if self._store.tag(repository, tag) == image:
                return

    def _delete_row(self, repository: RepositoryName) -> None:
        """Delete the row of a repository that a request has deleted in the store."""
        if self._store.tags(repository) is None:
            self._database.write(partial(self._rows.delete, repository=repository), TIMEOUT)
        if self._store.tags(repository) is not None:  # pushed again in the meantime
            self.update(repository)

    # -- a whole repository, a whole store --------------------------------------------

    def update(self, repository: RepositoryName) -> None:
        """Write the state of a repository to the database. Raise Failure 503, or StorageError."""
        for _ in range(_ROUNDS):
            seen = self._state(repository)
            self._database.write(partial(self._rows.write, repository=repository, seen=seen))
            if self._state(repository) == seen:
                return

    def rebuild(self, *, trust_missing: bool = False) -> SyncReport:
        """Compare the database with the whole store, and correct it.

        A missing repository is noted, and hidden after the grace period. If more are missing than
        the share allows, the walk is doubtful and notes none. `trust_missing` hides all of them now.

        Raise Failure 503, or StorageError, also if repositories are missing and the store is not
        the one of the start.
        """
        report = SyncReport()
        unseen = self._known_names()
        total = len(unseen)
        walk = iter(self._store.walk())
        while batch := self._run_in_thread(lambda: list(islice(walk, _AT_ONCE))):
            report.repositories += len(batch)
            report.changed += self._compare(batch)
            for repository in batch:
                unseen.pop(str(repository), None)
        missing = self._still_missing(list(unseen))
        if missing:
            self._run_in_thread(self._store.check)
        report.missing = len(missing)
        new = sum(unseen[name] is None for name in missing)
        report.doubtful = not trust_missing and new > max(
            _ALWAYS, total * self._policy.share // 100
        )
        if not report.doubtful:
            before = sys.maxsize if trust_missing else now() - self._policy.grace
            report.removed = self._note_missing(missing, before)
        else:
            _log.warning("Comparing the index with the store: %s", report)
        self._database.write(deletions.expire)
        return report

    def _still_missing(self, names: Sequence[str]) -> list[str]:
        """Return the repositories that are still missing from the store, and write the others."""
        missing = []
        for batch in _batches(names):
            stored = self._run_in_thread(
                self._stored_states, [RepositoryName.parse_stored(name) for name in batch]
            )
            for repository, seen in stored.items():
                if seen.tags is None:
                    missing.append(str(repository))
                else:
                    self.update(repository)
        return missing

    def _note_missing(self, names: Sequence[str], before: int) -> int:
        """Note repositories as missing, hide those missing since `before`, and return their number."""
        hidden = 0
        for batch in _batches(names):

            def work(connection: sa.Connection, batch: Sequence[str] = batch) -> int:
                mark_missing(connection, batch)
                return hide_missing(connection, batch, before)

            hidden += self._database.write(work)
        return hidden

    def _compare(self, batch: list[RepositoryName]) -> int:
        """Write the repositories that differ from the store, and return their number."""
        stored = self._run_in_thread(self._stored_states, batch)
        known = self._known(batch)
        different = {
            name: seen
            for name, seen in stored.items()
            if (row := known.get(str(name))) is None
            or row.tags != seen.tags
            or (seen.private and not row.is_private)
        }

        def work(connection: sa.Connection) -> None:
            for name, seen in different.items():
                self._rows.write(connection, name, seen)

        if different:
            self._database.write(work)
            again = self._run_in_thread(self._stored_states, list(different))
            for name, seen in different.items():
                if again[name] != seen:
                    self.update(name)
        return len(different)

    def _known(self, batch: list[RepositoryName]) -> dict[str, Repository]:
        """Return the repositories of the batch whose rows say that the store has them."""
        query = sa.select(*SHOWN).where(
            repositories.c.name.in_([str(repository) for repository in batch]),
            repositories.c.is_stored == sa.true(),
            repositories.c.missing.is_(None),
        )
        found = self._database.read(partial(read, query=query))
        return {repository.name: repository for repository in found}

    def _stored_states(self, batch: list[RepositoryName]) -> dict[RepositoryName, StoredRepository]:
        return {name: self._state(name) for name in batch}

    def _state(self, repository: RepositoryName) -> StoredRepository:
        return StoredRepository(self._store.tags(repository), self._store.is_private(repository))

    def _known_names(self) -> dict[str, int | None]:
        """Return all names that were ever in the store, and since when they are missing or None."""
        query = sa.select(repositories.c.name, repositories.c.missing).where(
            repositories.c.is_stored == sa.true()
        )
        return {row.name: row.missing for row in self._database.rows(query)}


def _batches(names: Sequence[str]) -> Iterable[Sequence[str]]:
    return (names[start : start + _AT_ONCE] for start in range(0, len(names), _AT_ONCE))
