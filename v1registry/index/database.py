"""The database of the index: transactions, retries and errors.

SQLite is for one machine, PostgreSQL for many nodes. The caller passes a function of a connection,
which runs in one transaction. The function may run again after a conflict, so it must change nothing
but the database. SQLite blocks its thread, so its work runs in the thread pool (`run_in_thread`).
PostgreSQL waits on a socket, and `within` limits the whole time of the work.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from v1registry.index import migrations
from v1registry.index.addresses import Addresses
from v1registry.lib import errors
from v1registry.lib.errors import Failure
from v1registry.lib.running import Within

T = TypeVar("T")
Work = Callable[[sa.Connection], T]

_TRIES = 4  # attempts of work that conflicts with another transaction
_CONFLICTS = {"40001", "40P01"}  # PostgreSQL: serialization failure, deadlock
_DAMAGED = {"XX001", "XX002"}  # PostgreSQL: data corrupted, index corrupted
_RETRY_AFTER = "5"  # seconds
_SWITCHING = 5.0  # seconds to wait while another process turns the write-ahead log on

_log = logging.getLogger(__name__)


class Database:
    """The database. Before its first work, it connects and upgrades the schema.

    `connections` limits the connections of this process, and `timeout` is the timeout in seconds.
    """

    name = "database"

    def __init__(
        self,
        url: str,
        run_in_thread: Callable[..., Any],
        within: Within,
        *,
        connections: int = 5,
        timeout: float = 10.0,
    ) -> None:
        self._url = parse(url)
        self._run_in_thread = run_in_thread
        self._within = within
        self._timeout = timeout
        self._bounds = (connections, timeout)
        self._engine = _engine(self._url, *self._bounds)
        self._process = os.getpid()
        self._ready = False

    @property
    def is_sqlite(self) -> bool:
        return self._url.get_backend_name() == "sqlite"

    @property
    def address(self) -> str:
        """The URL without its password, for the log."""
        return self._url.render_as_string(hide_password=True)

    def read(self, work: Work[T], timeout: float | None = None) -> T:
        """Return the result of `work(connection)`. Raise Failure 503 if the database fails."""
        return self._run(work, timeout or self._timeout, write=False)

    def write(self, work: Work[T], timeout: float | None = None) -> T:
        """Run work that changes the database, completely or not at all; otherwise as `read`."""
        return self._run(work, timeout or self._timeout, write=True)

    def rows(self, query: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        """Return all rows of a query. Raise as `read`."""
        return self.read(lambda connection: connection.execute(query).all())

    def row(self, query: sa.Select[Any]) -> Any:
        """Return the first row of a query, or None. Raise as `read`."""
        return self.read(lambda connection: connection.execute(query).first())

    def change(self, statement: sa.UpdateBase) -> int:
        """Run a statement, and return how many rows it changed. Raise as `write`."""
        return self.write(lambda connection: connection.execute(statement).rowcount)

    def prepare(self) -> None:
        """Upgrade the schema now. Raise Failure 503, or what `migrations` raises."""
        self.read(lambda _: None)

    def check(self) -> str | None:
        """Return None if the database answers, or else the reason without addresses or passwords."""
        try:
            self.row(sa.select(1))
        except Failure as failure:
            return failure.text
        return None

    def close(self) -> None:
        self._engine.dispose()

    def _run(self, work: Work[T], timeout: float, *, write: bool) -> T:
        self._after_fork()
        try:
            if self.is_sqlite:
                return self._run_in_thread(self._tried, work, write)  # type: ignore[no-any-return]
            return self._within(timeout, lambda: self._tried(work, write))  # type: ignore[no-any-return]
        except UnicodeEncodeError:  # for example, an argument of a command that is not UTF-8
            raise Failure(*errors.TEXT_INVALID) from None
        except (DBAPIError, PoolTimeout, TimeoutError, OSError) as error:
            if isinstance(error, DBAPIError) and _is_damaged(error):
                raise self._damaged(error) from _Damaged(f"{self.address}: {_reason(error)}")
            raise _unavailable(error) from error

    def _damaged(self, error: DBAPIError) -> Failure:
        """Log the damage, and return the failure. A retry does not help."""
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
                if not left or not _is_conflict(error):
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
        """After a fork, use new connections: the old ones belong to the parent process."""
        if self._process != os.getpid():
            self._inherited = self._engine
            self._engine = _engine(self._url, *self._bounds)
            self._process = os.getpid()


def parse(url: str) -> sa.URL:
    """Parse the URL of a database. Raise ValueError if it is not valid or not supported.

    `postgres://` and `postgresql://` use the required driver. The error text does not quote
    the URL, because it may hold a password.
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


def _engine(url: sa.URL, connections: int, timeout: float) -> sa.Engine:
    if url.get_backend_name() == "sqlite":
        engine = sa.create_engine(
            url,
            pool_size=connections,
            max_overflow=-1,  # the thread pool limits them
            connect_args={"timeout": timeout, "check_same_thread": False},
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
        pool_timeout=timeout,
        pool_pre_ping=True,  # a server or a firewall may have closed an idle connection
        connect_args={
            "connect_timeout": max(2, int(timeout)),
            "application_name": "v1registry",
            "prepare_threshold": None,  # a connection pooler may use another session each time
        },
        hide_parameters=True,
    )
    addresses = Addresses()

    def look_up(_dialect: Any, _record: Any, _arguments: list[Any], more: dict[str, Any]) -> None:
        addresses.fill_in(more)

    event.listen(engine, "do_connect", look_up)
    return engine


def _make_private(_dialect: Any, _record: Any, arguments: list[Any], _more: Any) -> None:
    """Create the file readable by its owner only: it holds password hashes and signing keys."""
    path = arguments[0]
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # _begin_sqlite begins transactions
    _write_ahead(connection)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _write_ahead(connection: Any) -> None:
    """Turn the write-ahead log on, for readers beside one writer.

    SQLite ignores its timeout while another process does the same, so this function retries.
    """
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
    """Begin a transaction. A writer takes its lock now: after a read, SQLite would not wait for it."""
    write = connection.get_execution_options().get("v1registry_write", True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _is_conflict(error: DBAPIError) -> bool:
    """Return whether another transaction conflicted, so that a retry may succeed."""
    return isinstance(error, IntegrityError) or getattr(error.orig, "sqlstate", None) in _CONFLICTS


class _Damaged(Exception):
    """The cause of a failure: address and reason of a damaged database."""


def _is_damaged(error: DBAPIError) -> bool:
    """Return whether the database's files are damaged, or are not a database."""
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is not None:
        return code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    return getattr(error.orig, "sqlstate", None) in _DAMAGED


def _reason(error: BaseException) -> str:
    """Return the message of the driver in one line."""
    return " ".join(str(getattr(error, "orig", None) or error).split())[:300]


def _unavailable(error: Exception) -> Failure:
    """Log the reason, and return the failure for clients."""
    reason: BaseException = getattr(error, "orig", None) or error
    if isinstance(error, PoolTimeout):
        reason = TimeoutError("all connections of this process are in use")
    _log.error("The index's database fails: %s: %s", type(reason).__name__, _reason(reason))
    return Failure(*errors.INDEX_UNAVAILABLE, {"Retry-After": _RETRY_AFTER})
