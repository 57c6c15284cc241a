"""The versions of the schema, and the steps between them.

Many processes may start at once on an empty or old database. One of them runs the steps in one
transaction, and the others wait. SQLite's write lock ensures this. In PostgreSQL two processes could
create a table at once, so an advisory lock is used.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import sqlalchemy as sa

from v1registry.index import schema, textsearch
from v1registry.lib.errors import Failure

_LOCK = 0x7631_7265_67  # key of the advisory lock in PostgreSQL

_log = logging.getLogger(__name__)

_metadata = sa.MetaData()
_versions = sa.Table(
    "v1registry_schema", _metadata, sa.Column("version", sa.Integer, nullable=False)
)


class TooNew(Failure):
    """The database has a version of the schema that this program does not know."""

    def __init__(self, found: int) -> None:
        super().__init__(
            503,
            f"the database has version {found} of the schema, this program knows {LATEST}:"
            " it was used by a later version of v1registry. Run that version, or roll the schema"
            " back (docs/index.md, Upgrade and roll-back)",
        )


def _tables(connection: sa.Connection) -> None:
    """Create version 1: all tables without search indexes."""
    schema.metadata.create_all(connection, checkfirst=False)


def _visibility_indexes(connection: sa.Connection) -> None:
    """Create version 3: indexes that return search results and lists in order for every user."""
    _make_indexes(connection, "")


def _deleted(connection: sa.Connection) -> None:
    """Create version 5: deleted and missing repositories, and defaults of namespaces."""
    schema.deleted.create(connection, checkfirst=True)
    for table, name in (
        (schema.namespaces, "is_private"),
        (schema.repositories, "made"),
        (schema.repositories, "missing"),
        (schema.repositories, "is_gone"),
    ):
        known = {column["name"] for column in sa.inspect(connection).get_columns(table.name)}
        if name not in known:  # version 1 creates the tables of today
            column = sa.schema.CreateColumn(table.c[name]).compile(connection)
            connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {column}")
    _make_indexes(connection, " AND is_gone = false")


def _make_indexes(connection: sa.Connection, condition: str) -> None:
    for name, index in schema.BY_SIGHT.items():
        text = f"{index}{condition}"
        if (
            connection.dialect.name == "sqlite"
        ):  # SQLite writes them so, and compares the text of the condition
            text = text.replace("= false", "= 0").replace("= true", "= 1")
        connection.exec_driver_sql(f"DROP INDEX IF EXISTS {name}")
        connection.exec_driver_sql(f"CREATE INDEX {name} ON repositories {text}")


def _counters(connection: sa.Connection) -> None:
    """Create version 4: shared counters. They may be lost in a crash of PostgreSQL."""
    schema.counters.create(connection, checkfirst=True)
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("ALTER TABLE counters SET UNLOGGED")


#: Step N upgrades version N - 1 to version N. A released step must not change.
STEPS: tuple[Callable[[sa.Connection], None], ...] = (
    _tables,
    textsearch.create,
    _visibility_indexes,
    _counters,
    _deleted,
)
LATEST = len(STEPS)


def migrate(connection: sa.Connection) -> None:
    """Bring the schema to the latest version, in the write transaction that `connection` is in.

    Raise TooNew if its version is later.
    """
    if connection.dialect.name == "postgresql":
        if _version(connection) == LATEST:
            return  # do not wait for the lock
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    found = _version(connection)
    if found > LATEST:
        raise TooNew(found)
    if found == LATEST:
        return
    for step in STEPS[found:]:
        step(connection)
    _metadata.create_all(connection)
    connection.execute(_versions.delete())
    connection.execute(_versions.insert().values(version=LATEST))
    _log.info("The index's database now has version %d of the schema (before: %d)", LATEST, found)


def _version(connection: sa.Connection) -> int:
    if not sa.inspect(connection).has_table(_versions.name):
        return 0
    return connection.execute(sa.select(_versions.c.version)).scalar_one_or_none() or 0
