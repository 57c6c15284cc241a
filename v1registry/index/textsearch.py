"""Text search with trigrams, which finds a part of a text without reading all rows.

SQLite has trigrams in its full-text search (FTS5), PostgreSQL in the extension pg_trgm. Without them,
a search reads all rows.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from v1registry.index.schema import repositories

SHORTEST = 3  # characters of a query for which trigrams help

_log = logging.getLogger(__name__)

_TEXT = sa.table("repositories_text", sa.column("rowid", sa.Integer))

_SQLITE = (
    "CREATE VIRTUAL TABLE repositories_text USING fts5"
    " (searched, content='repositories', content_rowid='id', tokenize='trigram')",
    "CREATE TRIGGER repositories_text_insert AFTER INSERT ON repositories BEGIN"
    " INSERT INTO repositories_text (rowid, searched) VALUES (new.id, new.searched); END",
    "CREATE TRIGGER repositories_text_delete AFTER DELETE ON repositories BEGIN"
    " INSERT INTO repositories_text (repositories_text, rowid, searched)"
    " VALUES ('delete', old.id, old.searched); END",
    "CREATE TRIGGER repositories_text_update AFTER UPDATE OF searched ON repositories BEGIN"
    " INSERT INTO repositories_text (repositories_text, rowid, searched)"
    " VALUES ('delete', old.id, old.searched);"
    " INSERT INTO repositories_text (rowid, searched) VALUES (new.id, new.searched); END",
    "INSERT INTO repositories_text (repositories_text) VALUES ('rebuild')",
)
_POSTGRESQL = (
    "CREATE EXTENSION IF NOT EXISTS pg_trgm",
    "CREATE INDEX repositories_text ON repositories USING gin (searched gin_trgm_ops)",
)


def create(connection: sa.Connection) -> None:
    """Create the trigram index. Only log a warning if this database does not support it."""
    statements = _SQLITE if connection.dialect.name == "sqlite" else _POSTGRESQL
    try:
        with connection.begin_nested():
            for statement in statements:
                connection.exec_driver_sql(statement)
    except sa.exc.DBAPIError as error:
        reason = " ".join(str(error.orig).split())
        _log.warning("This database has no trigrams, so searches read all rows: %s", reason)


def searched(name: str, description: str) -> str:
    """Return the text that a search matches. No query matches across the line feed."""
    return f"{name}\n{description}".lower()


def cleaned(query: str) -> str:
    """Return a query in the form that is compared with `searched`."""
    return "".join(c for c in query.strip().lower()[:255] if c.isprintable())


def contains(
    connection: sa.Connection,
    text: str,
    column: sa.ColumnElement[str] = repositories.c.searched,
) -> sa.ColumnElement[bool]:
    """Return the condition that a text column contains the cleaned query `text`."""
    if connection.dialect.name == "sqlite":
        return sa.func.instr(column, text) > 0  # LIKE is slower in SQLite
    return column.contains(text, autoescape=True)


def narrow(connection: sa.Connection, text: str) -> tuple[sa.FromClause, sa.ColumnElement[bool]]:
    """Return tables and a condition that find matching rows, by trigrams if possible."""
    if connection.dialect.name != "sqlite" or len(text) < SHORTEST:
        return repositories, contains(connection, text)
    if not sa.inspect(connection).has_table(_TEXT.name):
        return repositories, contains(connection, text)
    quoted = '"' + text.replace('"', '""') + '"'
    matches = sa.literal_column(_TEXT.name).op("MATCH")(quoted)
    return _TEXT.join(repositories, repositories.c.id == _TEXT.c.rowid), matches


def first_matches(
    connection: sa.Connection, text: str, most: int, columns: Sequence[sa.ColumnElement[Any]]
) -> sa.Subquery:
    """Return a subquery with these columns of any `most` repositories that match.

    The columns are chosen here, because with a later join PostgreSQL would read all matching rows.
    """
    source, matches = narrow(connection, text)
    shown = repositories.c.is_gone == sa.false()
    return sa.select(*columns).select_from(source).where(matches, shown).limit(most).subquery()
