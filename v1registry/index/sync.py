"""Keeps the database in step with the store, from which registries answer.

After each change, what changed is read from the store and written here. If that fails, nobody's
push does: the repository is noted and tried again, and from time to time the whole store is walked,
which also finds what another registry, or a process that died, has left out.

Two processes may write what they read in the wrong order. So whoever has written looks at the store
again, and begins anew if it is another by now: the last one to write has written what is there.

A store may look empty because its disk is not mounted. So a repository that is missing there keeps
its row, with its privacy and everything that people wrote. Only requests and commands delete rows.
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
from v1registry.index.repositories import SHOWN, read
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
from v1registry.lib.auth.index_interface import Repository
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName
from v1registry.lib.support.circuit_breaker import Breaker

PAUSE = 10.0  # seconds for which a database that failed is left alone
PATIENCE = 2.0  # seconds that a push waits for it
_NOTED = 100_000  # repositories to be tried again; a walk finds what is beyond
_ROUNDS = 20  # of writing while others change the same thing
_AT_ONCE = 200  # repositories that are compared by one statement
_ALWAYS = 10  # repositories that one walk may find missing, whatever their share

_log = logging.getLogger(__name__)


def _unchecked() -> None:
    pass


@dataclass(frozen=True, slots=True)
class StoreView:
    """What we ask the store. `tags` is None where there is nothing, `tag` for no such tag.

    `check` raises StorageError unless this is the store that it was at the start.
    """

    tags: Callable[[RepositoryName], Tags | None]
    tag: Callable[[RepositoryName, str], str | None]
    is_private: Callable[[RepositoryName], bool]
    walk: Callable[[], Iterable[RepositoryName]]
    check: Callable[[], None] = _unchecked


@dataclass(slots=True)
class SyncReport:
    """What a walk did. The store has nothing of `missing`; the index hides `removed` of them now.

    `doubtful`: too many were missing at once, so nothing was noted about them.
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


class Sync:
    """Implements `lib.events.Events`. `offload` runs walks over the store."""

    def __init__(
        self,
        database: Database,
        store: StoreView,
        offload: Callable[..., Any],
        policy: Policy | None = None,
    ) -> None:
        self._database = database
        self._store = store
        self._offload = offload
        self._policy = policy or Policy()
        self._rows = StoredRows(self._policy)
        self._calls = Breaker(PAUSE)
        self._noted: dict[RepositoryName, Callable[[RepositoryName], None]] = {}

    # -- one change ---------------------------------------------------------------

    def tagged(self, repository: RepositoryName, tag: str) -> None:
        self._try(repository, lambda: self._write_tag(repository, tag))

    def flagged(self, repository: RepositoryName, private: bool) -> None:
        work = partial(self._rows.flag, repository=repository, private=private)
        self._try(repository, lambda: self._database.write(work, PATIENCE))

    def deleted(self, repository: RepositoryName) -> None:
        if not self._policy.decides:
            self._try(repository, partial(self._forget, repository), again=self._forget)

    def retry(self) -> None:
        """Try again what failed. Raise Failure 503, or StorageError."""
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
            except Exception as error:  # whatever it is, the push was right
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
            self._database.write(work, PATIENCE)
            if self._store.tag(repository, tag) == image:
                return

    def _forget(self, repository: RepositoryName) -> None:
        """Delete the row of a repository that a request has deleted in the store."""
        if self._store.tags(repository) is None:
            self._database.write(partial(self._rows.delete, repository=repository), PATIENCE)
        if self._store.tags(repository) is not None:  # pushed again meanwhile
            self.update(repository)

    # -- a whole repository, a whole store --------------------------------------------

    def update(self, repository: RepositoryName) -> None:
        """Write what the store has of a repository. Raise Failure 503, or StorageError."""
        for _ in range(_ROUNDS):
            seen = self._seen(repository)
            self._database.write(partial(self._rows.write, repository=repository, seen=seen))
            if self._seen(repository) == seen:
                return

    def rebuild(self, *, trust_missing: bool = False) -> SyncReport:
        """Walk the whole store. Raise Failure 503, or StorageError, also for a store that lacks
        repositories and is not the one of the start.

        What the store lacks is noted, and hidden after the time of grace. Where more is missing than
        the share allows, the store is doubted, and nothing is noted. With `trust_missing`, all of it
        is hidden at once.
        """
        report = SyncReport()
        unseen = self._stored()
        total = len(unseen)
        walk = iter(self._store.walk())
        while batch := self._offload(lambda: list(islice(walk, _AT_ONCE))):
            report.repositories += len(batch)
            report.changed += self._compare(batch)
            for repository in batch:
                unseen.pop(str(repository), None)
        missing = self._still_missing(list(unseen))
        if missing:
            self._offload(self._store.check)
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
        """Those of which the store has nothing now, either; the others are written."""
        missing = []
        for batch in _batches(names):
            stored = self._offload(
                self._look, [RepositoryName.parse_stored(name) for name in batch]
            )
            for repository, seen in stored.items():
                if seen.tags is None:
                    missing.append(str(repository))
                else:
                    self.update(repository)
        return missing

    def _note_missing(self, names: Sequence[str], before: int) -> int:
        """Return how many are hidden now, which have been missing since `before`."""
        hidden = 0
        for batch in _batches(names):

            def work(connection: sa.Connection, batch: Sequence[str] = batch) -> int:
                mark_missing(connection, batch)
                return hide_missing(connection, batch, before)

            hidden += self._database.write(work)
        return hidden

    def _compare(self, batch: list[RepositoryName]) -> int:
        """Write those that the database does not have as the store has them; return how many."""
        stored = self._offload(self._look, batch)
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
            again = self._offload(self._look, list(different))
            for name, seen in different.items():
                if again[name] != seen:
                    self.update(name)
        return len(different)

    def _known(self, batch: list[RepositoryName]) -> dict[str, Repository]:
        """Those of the batch whose rows say that the store has them."""
        query = sa.select(*SHOWN).where(
            repositories.c.name.in_([str(repository) for repository in batch]),
            repositories.c.is_stored == sa.true(),
            repositories.c.missing.is_(None),
        )
        found = self._database.read(partial(read, query=query))
        return {repository.name: repository for repository in found}

    def _look(self, batch: list[RepositoryName]) -> dict[RepositoryName, StoredRepository]:
        return {name: self._seen(name) for name in batch}

    def _seen(self, repository: RepositoryName) -> StoredRepository:
        return StoredRepository(self._store.tags(repository), self._store.is_private(repository))

    def _stored(self) -> dict[str, int | None]:
        """Names of those that were ever in the store, and since when they are missing there."""
        query = sa.select(repositories.c.name, repositories.c.missing).where(
            repositories.c.is_stored == sa.true()
        )
        rows = self._database.read(lambda connection: connection.execute(query).all())
        return {row.name: row.missing for row in rows}


def _batches(names: Sequence[str]) -> Iterable[Sequence[str]]:
    return (names[start : start + _AT_ONCE] for start in range(0, len(names), _AT_ONCE))
