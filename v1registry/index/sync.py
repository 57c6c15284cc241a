"""Keeps the database in step with the store, from which registries answer.

After each change, what changed is read from the store and written here. If that fails, nobody's
push does: the repository is noted and tried again, and from time to time the whole store is walked,
which also finds what another registry, or a process that died, has left out.

Two processes may write what they read in the wrong order. So whoever has written looks at the store
again, and begins anew if it is another by now: the last one to write has written what is there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import sqlalchemy as sa

from v1registry.index.database import Database
from v1registry.index.repositories import SHOWN, add, read, set_tags
from v1registry.index.rows import insert, now
from v1registry.index.schema import repositories, tags
from v1registry.lib.breaker import Breaker
from v1registry.lib.errors import Failure
from v1registry.lib.index import Repository
from v1registry.lib.names import RepositoryName

PAUSE = 10.0  # seconds for which a database that failed is left alone
PATIENCE = 2.0  # seconds that a push waits for it
_NOTED = 100_000  # repositories to be tried again; a walk finds what is beyond
_ROUNDS = 20  # of writing while others change the same thing
_AT_ONCE = 200  # repositories that are compared by one statement

_log = logging.getLogger(__name__)

Tags = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Store:
    """What we ask the store. `tags` is None where there is nothing, `tag` for no such tag."""

    tags: Callable[[RepositoryName], Tags | None]
    tag: Callable[[RepositoryName, str], str | None]
    is_private: Callable[[RepositoryName], bool]
    walk: Callable[[], Iterable[RepositoryName]]


@dataclass(frozen=True, slots=True)
class Seen:
    """A repository as it was in the store a moment ago."""

    tags: Tags | None
    private: bool


@dataclass(slots=True)
class Report:
    """What a walk did."""

    repositories: int = 0
    changed: int = 0
    removed: int = 0

    def __str__(self) -> str:
        return (
            f"{self.repositories} repositories in the store, {self.changed} of them changed in the"
            f" index, {self.removed} removed from it"
        )


class Sync:
    """Implements `lib.events.Events`. `offload` runs walks over the store."""

    def __init__(self, database: Database, store: Store, offload: Callable[..., Any]) -> None:
        self._database = database
        self._store = store
        self._offload = offload
        self._calls = Breaker(PAUSE)
        self._noted: dict[RepositoryName, None] = {}

    # -- one change ---------------------------------------------------------------

    def tagged(self, repository: RepositoryName, tag: str) -> None:
        self._try(repository, lambda: self._write_tag(repository, tag))

    def flagged(self, repository: RepositoryName, private: bool) -> None:
        def work(connection: sa.Connection) -> None:
            row = _row(connection, repository, private=private)
            _set(connection, row.id, is_private=private, is_stored=True)

        self._try(repository, lambda: self._database.write(work, PATIENCE))

    def deleted(self, repository: RepositoryName) -> None:
        def forget() -> None:
            this = repositories.delete().where(repositories.c.name == str(repository))
            self._database.write(lambda connection: connection.execute(this), PATIENCE)
            if self._store.tags(repository) is not None:  # pushed again meanwhile
                self.update(repository)

        self._try(repository, forget)

    def retry(self) -> None:
        """Try again what failed. Raise Failure 503, or StorageError."""
        while self._noted:
            repository = next(iter(self._noted))
            self.update(repository)
            self._noted.pop(repository, None)

    def _try(self, repository: RepositoryName, call: Callable[[], object]) -> None:
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
            self._noted[repository] = None

    def _write_tag(self, repository: RepositoryName, tag: str) -> None:
        private = self._store.is_private(repository)
        for _ in range(_ROUNDS):
            image = self._store.tag(repository, tag)
            work = partial(_set_tag, repository=repository, tag=tag, image=image, private=private)
            self._database.write(work, PATIENCE)
            if self._store.tag(repository, tag) == image:
                return

    # -- a whole repository, a whole store --------------------------------------------

    def update(self, repository: RepositoryName) -> None:
        """Write what the store has of a repository. Raise Failure 503, or StorageError."""
        for _ in range(_ROUNDS):
            seen = self._seen(repository)
            self._database.write(partial(_write, repository=repository, seen=seen))
            if self._seen(repository) == seen:
                return

    def rebuild(self) -> Report:
        """Walk the whole store. Raise Failure 503, or StorageError."""
        report = Report()
        unseen = self._stored()
        walk = iter(self._store.walk())
        while batch := self._offload(lambda: list(islice(walk, _AT_ONCE))):
            report.repositories += len(batch)
            report.changed += self._compare(batch)
            unseen -= {str(repository) for repository in batch}
        for name in unseen:
            self.update(RepositoryName.parse_stored(name))
            report.removed += 1
        return report

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
                _write(connection, name, seen)

        if different:
            self._database.write(work)
            again = self._offload(self._look, list(different))
            for name, seen in different.items():
                if again[name] != seen:
                    self.update(name)
        return len(different)

    def _known(self, batch: list[RepositoryName]) -> dict[str, Repository]:
        query = sa.select(*SHOWN).where(
            repositories.c.name.in_([str(repository) for repository in batch]),
            repositories.c.is_stored == sa.true(),
        )
        found = self._database.read(partial(read, query=query))
        return {repository.name: repository for repository in found}

    def _look(self, batch: list[RepositoryName]) -> dict[RepositoryName, Seen]:
        return {name: self._seen(name) for name in batch}

    def _seen(self, repository: RepositoryName) -> Seen:
        return Seen(self._store.tags(repository), self._store.is_private(repository))

    def _stored(self) -> set[str]:
        """Names of those that were in the store when they were looked at last."""
        query = sa.select(repositories.c.name).where(repositories.c.is_stored == sa.true())
        return set(self._database.read(lambda connection: connection.scalars(query).all()))


def _write(connection: sa.Connection, repository: RepositoryName, seen: Seen) -> None:
    if seen.tags is None:
        # what has never been in the store was made known just now, and is being pushed
        this = (repositories.c.name == str(repository), repositories.c.is_stored == sa.true())
        connection.execute(repositories.delete().where(*this))
        return
    row = _row(connection, repository, private=seen.private)
    values: dict[str, Any] = {"is_stored": True}
    if set_tags(connection, row.id, seen.tags):
        values["updated"] = now()
    if seen.private:
        # The other way round only on somebody's word (`flagged`): an index that had no store
        # before may know better what is private.
        values["is_private"] = True
    _set(connection, row.id, **values)


def _set_tag(
    connection: sa.Connection,
    repository: RepositoryName,
    tag: str,
    image: str | None,
    *,
    private: bool,
) -> None:
    row = _row(connection, repository, private=private)
    this = (tags.c.repository_id == row.id, tags.c.name == tag)
    if image is None:
        connection.execute(tags.delete().where(*this))
    else:
        values = {"repository_id": row.id, "name": tag, "image": image}
        connection.execute(
            insert(connection, tags)
            .values(values)
            .on_conflict_do_update(index_elements=list(tags.primary_key), set_={"image": image})
        )
    _set(connection, row.id, is_stored=True, updated=now())


def _row(connection: sa.Connection, repository: RepositoryName, *, private: bool) -> Any:
    """The repository's row; made, as private as the store says, if it is not there."""
    query = sa.select(repositories).where(repositories.c.name == str(repository))
    row = connection.execute(query).first()
    if row is None:
        add(connection, repository, {"is_private": private})
        row = connection.execute(query).one()
    return row


def _set(connection: sa.Connection, repository_id: int, **values: Any) -> None:
    this = repositories.c.id == repository_id
    connection.execute(repositories.update().where(this).values(**values))
