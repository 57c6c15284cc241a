"""Measure searches with a thousand and with a hundred thousand repositories.

    python -m bench.search                                # SQLite, in a temporary folder
    python -m bench.search postgresql://me@host/database  # an empty database of PostgreSQL

Each query is sent many times. The figure is the minimum in milliseconds, because anything above it is
noise of the machine.
"""

from __future__ import annotations

import itertools
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from v1registry.index import schema, textsearch
from v1registry.index.database import Database
from v1registry.index.search import SqlSearch
from v1registry.lib.auth.rights import ANONYMOUS, Caller

SIZES = (1_000, 100_000)
TIMES = 30
WORDS = [
    "web",
    "api",
    "db",
    "cache",
    "proxy",
    "queue",
    "mail",
    "auth",
    "build",
    "base",
    "node",
    "java",
    "ruby",
    "go",
    "php",
    "tools",
    "admin",
]

FEW, MANY = Caller("few"), Caller("many")  # half of the repositories are private

QUERIES: dict[str, Callable[[SqlSearch], Any]] = {
    "one of all: `needle-7`": lambda s: s.find(ANONYMOUS, "needle-7", 25, 1),
    "nothing: `qqqqq`": lambda s: s.find(ANONYMOUS, "qqqqq", 25, 1),
    "a tenth of all: `proxy`": lambda s: s.find(ANONYMOUS, "proxy", 25, 1),
    "all of a namespace: `team3/`": lambda s: s.find(ANONYMOUS, "team3/", 25, 1),
    "nearly all: `team`": lambda s: s.find(ANONYMOUS, "team", 25, 1),
    "two letters: `db`": lambda s: s.find(ANONYMOUS, "db", 25, 1),
    "two letters in none: `qq`": lambda s: s.find(ANONYMOUS, "qq", 25, 1),
    "everything: an empty query": lambda s: s.find(ANONYMOUS, "", 25, 1),
    "everything, page 20": lambda s: s.find(ANONYMOUS, "", 25, 20),
    "everything, page 400": lambda s: s.find(ANONYMOUS, "", 25, 400),
    "the list, a page in the middle": lambda s: s.listed(ANONYMOUS, "team5/", 100),
    "sees one of the private: nearly all": lambda s: s.find(FEW, "team", 25, 1),
    "sees one of the private: two letters": lambda s: s.find(FEW, "db", 25, 1),
    "sees one of the private: the list": lambda s: s.listed(FEW, "", 100),
    "sees all of the private: nearly all": lambda s: s.find(MANY, "team", 25, 1),
    "sees all of the private: everything": lambda s: s.find(MANY, "", 25, 1),
    "sees all of the private: two letters in none": lambda s: s.find(MANY, "qq", 25, 1),
    "sees all of the private: the list": lambda s: s.listed(MANY, "team5/", 100),
}


def main() -> None:
    url = sys.argv[1] if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory() as folder:
        database = Database(
            url or f"sqlite:///{Path(folder)}/bench.db",
            lambda function, *arguments: function(*arguments),
            lambda _, function: function(),
        )
        figures = [measured(database, size) for size in SIZES]
        database.close()
    print("| Query |", " | ".join(f"{size:,}" for size in SIZES), "|")
    print("|---|" + "---:|" * len(SIZES))
    for query in QUERIES:
        print(f"| {query} |", " | ".join(f"{column[query]:.1f}" for column in figures), "|")


def measured(database: Database, size: int) -> dict[str, float]:
    """Return the milliseconds of each query, with the given number of repositories."""
    database.write(lambda connection: fill(connection, size))
    if not database.is_sqlite:
        with database._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as free:
            free.exec_driver_sql("VACUUM ANALYZE repositories")
    search = SqlSearch(database)
    found = {}
    for name, query in QUERIES.items():
        times = []
        for _ in range(TIMES):
            began = time.perf_counter()
            query(search)
            times.append(time.perf_counter() - began)
        found[name] = min(times) * 1000
    return found


def fill(connection: sa.Connection, size: int) -> None:
    if connection.execute(sa.select(schema.namespaces.c.id)).first() is None:
        connection.execute(schema.namespaces.insert(), [
            {"id": number + 1, "name": f"team{number}", "created": 0} for number in range(10)
        ])  # fmt: skip
        connection.execute(schema.accounts.insert(), [
            {"id": number, "name": name, "created": 0} for number, name in enumerate(["few", "many"])
        ])  # fmt: skip
        role = {"repository": "", "role": "pull"}
        connection.execute(schema.grants.insert(), [
            {"account_id": 1, "namespace_id": number + 1, **role} for number in range(10)
        ] + [{"account_id": 0, "namespace_id": 1, "repository": "proxy-9", "role": "pull"}])  # fmt: skip
    there = connection.execute(
        sa.select(sa.func.count()).select_from(schema.repositories)
    ).scalar_one()
    rows = itertools.islice(repositories(), there, size)
    while batch := list(itertools.islice(rows, 1000)):
        connection.execute(schema.repositories.insert(), batch)


def repositories() -> Iterator[dict[str, Any]]:
    words = random.Random(1)
    for number in itertools.count():
        word = "needle-7" if number == 500 else f"{words.choice(WORDS)}-{number}"
        name = f"team{number % 10}/{word}"
        text = " ".join(words.choices(WORDS, k=8)) if number % 2 else ""
        yield {
            "namespace_id": number % 10 + 1,
            "name": name,
            "description": text,
            "searched": textsearch.searched(name, text),
            "is_private": number // 10 % 2 == 1,
            "stars": int(words.paretovariate(1)) - 1,
            "created": number,
            "updated": number,
        }


if __name__ == "__main__":
    main()
