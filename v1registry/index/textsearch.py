"""Finding a piece of text in many rows without reading them: trigrams, in either database.

SQLite has them in its full-text search (FTS5), PostgreSQL in the extension pg_trgm. Where neither
may be had, rows are read one after another.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from v1registry.index.schema import repositories

SHORTEST = 3  # characters that trigrams help to find

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
    """Make what searching needs; do without where this database has no such thing."""
    statements = _SQLITE if connection.dialect.name == "sqlite" else _POSTGRESQL
    try:
        with connection.begin_nested():
            for statement in statements:
                connection.exec_driver_sql(statement)
    except sa.exc.DBAPIError as error:
        reason = " ".join(str(error.orig).split())
        _log.warning("No trigrams in this database, searching reads every row: %s", reason)


def searched(name: str, description: str) -> str:
    """The text in which a repository is looked for; no query reaches over the line feed."""
    return f"{name}\n{description}".lower()


def cleaned(query: str) -> str:
    """A query as it is compared with `searched`."""
    return "".join(c for c in query.strip().lower()[:255] if c.isprintable())


def contains(
    connection: sa.Connection,
    text: str,
    column: sa.ColumnElement[str] = repositories.c.searched,
) -> sa.ColumnElement[bool]:
    """The condition that a repository's text contains `text`, which is `cleaned`."""
    if connection.dialect.name == "sqlite":
        return sa.func.instr(column, text) > 0  # its LIKE takes longer
    return column.contains(text, autoescape=True)


def narrow(connection: sa.Connection, text: str) -> tuple[sa.FromClause, sa.ColumnElement[bool]]:
    """Tables and condition that find the rows by trigrams, where that is possible."""
    if connection.dialect.name != "sqlite" or len(text) < SHORTEST:
        return repositories, contains(connection, text)
    if not sa.inspect(connection).has_table(_TEXT.name):
        return repositories, contains(connection, text)
    quoted = '"' + text.replace('"', '""') + '"'
    matches = sa.literal_column(_TEXT.name).op("MATCH")(quoted)
    return _TEXT.join(repositories, repositories.c.id == _TEXT.c.rowid), matches


def first(
    connection: sa.Connection, text: str, most: int, columns: Sequence[sa.ColumnElement[Any]]
) -> sa.Subquery:
    """Of `most` repositories that match, whichever, these columns. (A join with them later would
    have PostgreSQL read all that there are.)
    """
    source, matches = narrow(connection, text)
    shown = repositories.c.is_gone == sa.false()
    return sa.select(*columns).select_from(source).where(matches, shown).limit(most).subquery()
