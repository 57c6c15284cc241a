"""The database: one place where statements run, wait and fail.

SQLite for one machine, PostgreSQL for many nodes. Work is given as a function of a connection; it
is one transaction, and may be run again if the database asks for that, so it must change nothing
but the database. SQLite's calls block the thread they run in, so they go where that stops nobody
(`offload`); PostgreSQL's wait on a socket, and the whole time of a piece of work is bounded
(`within`).
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import time
from collections.abc import Callable
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from v1registry.index import migrations
from v1registry.index.addresses import Addresses
from v1registry.lib import errors
from v1registry.lib.errors import Failure

T = TypeVar("T")
Work = Callable[[sa.Connection], T]
Within = Callable[[float, Callable[[], Any]], Any]

_TRIES = 4  # of work that lost against another transaction
_AGAIN = {"40001", "40P01"}  # PostgreSQL: serialization failure, deadlock
_DAMAGED = {"XX001", "XX002"}  # PostgreSQL: data corrupted, index corrupted
_RETRY_AFTER = "5"  # seconds
_SWITCHING = 5.0  # seconds for a new file to become one with a write-ahead log

_log = logging.getLogger(__name__)


class Database:
    """Connects at the first piece of work, and brings the schema up to date before it.

    `connections` bounds those of this process, `patience` the seconds that work may take.
    """

    name = "database"

    def __init__(
        self,
        url: str,
        offload: Callable[..., Any],
        within: Within,
        *,
        connections: int = 5,
        patience: float = 10.0,
    ) -> None:
        self._url = parse(url)
        self._offload = offload
        self._within = within
        self._patience = patience
        self._bounds = (connections, patience)
        self._engine = _engine(self._url, *self._bounds)
        self._process = os.getpid()
        self._ready = False

    @property
    def is_sqlite(self) -> bool:
        return self._url.get_backend_name() == "sqlite"

    @property
    def address(self) -> str:
        """For the log: without a password."""
        return self._url.render_as_string(hide_password=True)

    def read(self, work: Work[T], patience: float | None = None) -> T:
        """What `work(connection)` returns; raise Failure 503 if the database does not answer."""
        return self._run(work, patience or self._patience, write=False)

    def write(self, work: Work[T], patience: float | None = None) -> T:
        """The same for work that changes something: all of it is kept, or nothing."""
        return self._run(work, patience or self._patience, write=True)

    def prepare(self) -> None:
        """Bring the schema up to date now. Raise Failure 503, or what `migrations` raises."""
        self.read(lambda _: None)

    def check(self) -> str | None:
        """None if it answers now, else why not, in words that tell no addresses or passwords."""
        try:
            self.read(lambda connection: connection.execute(sa.select(1)))
        except Failure as failure:
            return failure.text
        return None

    def close(self) -> None:
        self._engine.dispose()

    def _run(self, work: Work[T], patience: float, *, write: bool) -> T:
        self._after_fork()
        try:
            if self.is_sqlite:
                return self._offload(self._tried, work, write)  # type: ignore[no-any-return]
            return self._within(patience, lambda: self._tried(work, write))  # type: ignore[no-any-return]
        except UnicodeEncodeError:  # of a command's argument that is not UTF-8, for example
            raise Failure(*errors.TEXT_INVALID) from None
        except (DBAPIError, PoolTimeout, TimeoutError, OSError) as error:
            if isinstance(error, DBAPIError) and _is_damaged(error):
                raise self._damaged(error) from _Damaged(f"{self.address}: {_reason(error)}")
            raise _unavailable(error) from error

    def _damaged(self, error: DBAPIError) -> Failure:
        """The answer from a damaged database, which no later try mends."""
        _log.error(
            "The index's database %s is damaged: %s. Stop all servers and restore it from a backup"
            " (docs/index.md, Backup and restore)",
            self.address,
            _reason(error),
        )
        return Failure(*errors.INDEX_DAMAGED)

    def _tried(self, work: Work[T], write: bool) -> T:
        self._migrate()
        for left in reversed(range(_TRIES)):
            try:
                with self._transaction(write) as connection:
                    return work(connection)
            except DBAPIError as error:
                if not left or not _may_try_again(error):
                    raise
        raise AssertionError("not reached")

    @contextlib.contextmanager
    def _transaction(self, write: bool) -> Any:
        with self._engine.connect() as connection:
            with connection.execution_options(v1registry_write=write).begin():
                yield connection

    def _migrate(self) -> None:
        if not self._ready:
            with self._transaction(write=True) as connection:
                migrations.migrate(connection)
            self._ready = True

    def _after_fork(self) -> None:
        """Connections belong to the process that opened them: they stay there, untouched."""
        if self._process != os.getpid():
            self._inherited = self._engine
            self._engine = _engine(self._url, *self._bounds)
            self._process = os.getpid()


def parse(url: str) -> sa.URL:
    """The database that `url` names, in SQLAlchemy's form; raise ValueError for none of ours.

    `postgres://` and `postgresql://` mean the driver that we ship. The text never quotes the URL,
    for it may hold a password.
    """
    try:
        parsed = sa.make_url(url)
    except SQLAlchemyError:
        raise ValueError(FORM) from None
    backend, _, driver = parsed.drivername.partition("+")
    if backend == "sqlite" and driver in ("", "pysqlite"):
        if not parsed.database or parsed.database == ":memory:" or parsed.host:
            raise ValueError(FORM)
        return parsed.set(drivername="sqlite+pysqlite")
    if backend in ("postgresql", "postgres") and driver in ("", "psycopg", "psycopg2"):
        return parsed.set(drivername="postgresql+psycopg")
    raise ValueError(FORM)


FORM = (
    "must be sqlite:////absolute/path.db, or postgresql://user:password@host/database (write"
    " @ : / in a password as %40 %3A %2F)"
)


def _engine(url: sa.URL, connections: int, patience: float) -> sa.Engine:
    if url.get_backend_name() == "sqlite":
        engine = sa.create_engine(
            url,
            pool_size=connections,
            max_overflow=-1,  # the threads that use them are few
            connect_args={"timeout": patience, "check_same_thread": False},
            hide_parameters=True,
        )
        event.listen(engine, "do_connect", _make_private)
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    engine = sa.create_engine(
        url,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=patience,
        pool_pre_ping=True,  # a server or a firewall may have ended what lay idle
        connect_args={
            "connect_timeout": max(2, int(patience)),
            "application_name": "v1registry",
            "prepare_threshold": None,  # a pooler in between may give us another session each time
        },
        hide_parameters=True,
    )
    addresses = Addresses()

    def look_up(_dialect: Any, _record: Any, _arguments: list[Any], more: dict[str, Any]) -> None:
        addresses.fill_in(more)

    event.listen(engine, "do_connect", look_up)
    return engine


def _make_private(_dialect: Any, _record: Any, arguments: list[Any], _more: Any) -> None:
    """The file holds password hashes and the key that signs tokens: nobody else may read it."""
    path = arguments[0]
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions begin where we say, see below
    _write_ahead(connection)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _write_ahead(connection: Any) -> None:
    """Readers and one writer at a time. The change is made once for a file, and while another
    process makes it SQLite does not wait, whatever time it was given."""
    end = time.monotonic() + _SWITCHING
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.02)


def _begin_sqlite(connection: sa.Connection) -> None:
    """A writer takes its lock at once: one that read first could not wait for another's end."""
    write = connection.get_execution_options().get("v1registry_write", True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _may_try_again(error: DBAPIError) -> bool:
    """Whether another transaction came between: the next try sees what it did."""
    return isinstance(error, IntegrityError) or getattr(error.orig, "sqlstate", None) in _AGAIN


class _Damaged(Exception):
    """Says where the damaged database is, and what is wrong with it."""


def _is_damaged(error: DBAPIError) -> bool:
    """Whether the database's files are damaged, or no database at all."""
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is not None:
        return code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    return getattr(error.orig, "sqlstate", None) in _DAMAGED


def _reason(error: BaseException) -> str:
    """What the driver says, in one line."""
    return " ".join(str(getattr(error, "orig", None) or error).split())[:300]


def _unavailable(error: Exception) -> Failure:
    """The answer while the database does not work; the reason goes into the log."""
    reason: BaseException = getattr(error, "orig", None) or error
    if isinstance(error, PoolTimeout):
        reason = TimeoutError("all connections of this process are in use")
    _log.error("The index's database fails: %s: %s", type(reason).__name__, _reason(reason))
    return Failure(*errors.INDEX_UNAVAILABLE, {"Retry-After": _RETRY_AFTER})
