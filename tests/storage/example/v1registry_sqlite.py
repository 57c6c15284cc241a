"""An example of a driver in a package of its own: keeps everything in one SQLite file.

Any number of processes on one machine may share the file. It is an example: SQLite lets one
process write at a time.
"""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, BinaryIO

from v1registry.storage import Buffer, ListEntry, Stage, Stat, Storage
from v1registry.storage.errors import NotFound, Refused, StoreFull, Unavailable

# Plain data: the configuration is checked against it before a store is made.
OPTIONS = (
    {
        "key": "sqlite_path",
        "kind": "path",
        "help": "The file.",
        "default": "/var/lib/v1registry.sqlite",
        "variable": "SQLITE_PATH",
        "required": True,
    },
    {
        "key": "sqlite_wait",
        "kind": "duration",
        "help": "How long to wait for another process that writes.",
        "default": "20s",
    },
)

_TABLES = """
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS bodies (body INTEGER PRIMARY KEY, key TEXT, size INTEGER, time REAL);
CREATE TABLE IF NOT EXISTS objects (key TEXT PRIMARY KEY, body INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pieces (body INTEGER, start INTEGER, data BLOB, PRIMARY KEY (body, start));
"""
_FOUND = "SELECT body, size, time FROM objects JOIN bodies USING (body) WHERE objects.key = ?"
_STAGED = "SELECT body, size FROM bodies WHERE body = ? AND body NOT IN (SELECT body FROM objects)"


def make(options: Mapping[str, Any], run_in_thread: Callable[..., Any]) -> SqliteStorage:
    """Return the driver; called once per process, with checked and converted options."""
    return SqliteStorage(options["sqlite_path"], options["sqlite_wait"])


class SqliteBlob:
    """Reads one body in its own transaction, which sees the bytes even after a deletion."""

    file: BinaryIO | None = None

    def __init__(self, database: sqlite3.Connection, body: int, size: int) -> None:
        self.size = size
        self._database, self._body, self._position = database, body, 0

    def pieces(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        stop = self.size if stop is None else min(stop, self.size)
        first = "(SELECT max(start) FROM pieces WHERE body = :body AND start <= :start)"
        rows = self._database.execute(
            "SELECT start, data FROM pieces WHERE body = :body"
            f" AND start >= {first} AND start < :stop ORDER BY start",
            {"body": self._body, "start": start, "stop": stop},
        )
        for at, data in rows:
            yield data[max(0, start - at) : stop - at]

    def read(self, size: int = -1) -> bytes:
        start = self._position
        self._position = self.size if size < 0 else min(self.size, start + size)
        return b"".join(self.pieces(start, self._position))

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> SqliteBlob:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class SqliteStorage(Storage):
    """Keeps bodies in pieces. An object is a name that points to a body; a staged body has no name."""

    def __init__(self, path: str, wait: float) -> None:
        self._path, self._wait = path, wait

    @contextlib.contextmanager
    def _database(self, about: str, *, write: bool = False) -> Iterator[sqlite3.Connection]:
        """Run a transaction; turn exceptions of SQLite into storage errors."""
        try:
            with contextlib.closing(self._connect()) as database:
                database.execute("BEGIN IMMEDIATE" if write else "BEGIN")
                yield database
                database.execute("COMMIT")
        except sqlite3.Error as error:
            raise _mapped(error, about) from error

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(
            self._path, timeout=self._wait, isolation_level=None, check_same_thread=False
        )

    # -- reading -----------------------------------------------------------

    def get(self, key: str) -> bytes:
        with self.open(key) as blob:
            return blob.read()

    def open(self, key: str) -> SqliteBlob:
        return self._open(_FOUND, key)

    def open_staged(self, handle: str) -> SqliteBlob:
        return self._open(_STAGED, handle)

    def _open(self, query: str, name: str) -> SqliteBlob:
        try:
            database = self._connect()
            database.execute("BEGIN")
            row = database.execute(query, (name,)).fetchone()
        except sqlite3.Error as error:
            raise _mapped(error, name) from error
        if row is None:
            database.close()
            raise NotFound(name)
        return SqliteBlob(database, row[0], row[1])

    def stat(self, key: str) -> Stat:
        with self._database(key) as database:
            row = database.execute(_FOUND, (key,)).fetchone()
        if row is None:
            raise NotFound(key)
        return Stat(row[1], row[2])

    def list(self, folder: str) -> Iterator[ListEntry]:
        children: dict[str, bool] = {}
        for key in self._below(folder):
            name, slash, _ = key[len(folder) + 1 :].partition("/")
            children[name] = bool(slash)
        for name, is_folder in children.items():
            yield ListEntry(name, is_folder)

    def _below(self, folder: str) -> list[str]:
        with self._database(folder) as database:
            bounds = (f"{folder}/", f"{folder}0")  # 0 comes after /
            rows = database.execute("SELECT key FROM objects WHERE key > ? AND key < ?", bounds)
            return [key for (key,) in rows]

    # -- writing -----------------------------------------------------------

    def put(self, key: str, data: bytes, *, durable: bool = True) -> None:
        with self._database(key, write=True) as database:
            self._name(database, key, self._add(database, key, data))

    def create(self, key: str, data: bytes) -> bool:
        with self._database(key, write=True) as database:
            if database.execute(_FOUND, (key,)).fetchone():
                return False
            self._name(database, key, self._add(database, key, data))
            return True

    def delete(self, key: str, *, durable: bool = True) -> None:
        with self._database(key, write=True) as database:
            self._name(database, key, None)

    def delete_folder(self, folder: str) -> None:
        for key in self._below(folder):
            self.delete(key)

    def stage(self, key: str, pieces: Iterable[Buffer]) -> str:
        with self._database(key, write=True) as database:
            body = self._add(database, key, b"")
        try:
            for piece in pieces:  # a transaction each: others write in between
                with self._database(key, write=True) as database:
                    self._append(database, body, piece)
        except BaseException:
            self.abandon(str(body))
            raise
        return str(body)

    def commit(self, handle: str) -> None:
        with self._database(handle, write=True) as database:
            if not database.execute(_STAGED, (handle,)).fetchone():
                raise NotFound(handle)
            query = "SELECT key FROM bodies WHERE body = ?"
            [key] = database.execute(query, (handle,)).fetchone()
            self._name(database, key, int(handle))

    def abandon(self, handle: str) -> None:
        with self._database(handle, write=True) as database:
            if database.execute(_STAGED, (handle,)).fetchone():
                self._remove(database, int(handle))

    def stages(self) -> Iterator[Stage]:
        query = "SELECT body, key, time FROM bodies WHERE body NOT IN (SELECT body FROM objects)"
        with self._database("stages") as database:
            rows = database.execute(query).fetchall()
        for body, key, modified in rows:
            yield Stage(str(body), key, modified)

    def prepare(self) -> None:
        try:
            with contextlib.closing(self._connect()) as database:
                database.executescript(_TABLES)
        except sqlite3.Error as error:
            raise _mapped(error, self._path) from error

    def check(self) -> None:
        self.put("_v1registry/check", b"true")
        self.delete("_v1registry/check")

    # -- inside of a transaction -------------------------------------------

    def _add(self, database: sqlite3.Connection, key: str, data: Buffer) -> int:
        body = secrets.randbits(62)
        database.execute("INSERT INTO bodies VALUES (?, ?, 0, 0)", (body, key))
        self._append(database, body, data)
        return body

    def _append(self, database: sqlite3.Connection, body: int, data: Buffer) -> None:
        size = "(SELECT size FROM bodies WHERE body = :body)"
        values = {"body": body, "data": data, "size": len(data), "time": time.time()}
        if len(data):
            database.execute(f"INSERT INTO pieces SELECT :body, {size}, :data", values)
        database.execute(
            "UPDATE bodies SET size = size + :size, time = :time WHERE body = :body", values
        )

    def _name(self, database: sqlite3.Connection, key: str, body: int | None) -> None:
        """Let the key point to the body, or to none; delete the body to which it pointed."""
        before = database.execute(_FOUND, (key,)).fetchone()
        if body is None:
            database.execute("DELETE FROM objects WHERE key = ?", (key,))
        else:
            database.execute("INSERT OR REPLACE INTO objects VALUES (?, ?)", (key, body))
        if before:
            self._remove(database, before[0])

    def _remove(self, database: sqlite3.Connection, body: int) -> None:
        for table in ("pieces", "bodies"):
            database.execute(f"DELETE FROM {table} WHERE body = ?", (body,))


def _mapped(error: sqlite3.Error, about: str) -> Refused | Unavailable:
    text = f"{about}: {error}"
    code = getattr(error, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_FULL:
        return StoreFull(text)
    busy = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    return Unavailable(text) if code in busy else Refused(text)
