"""The database: versions of the schema, concurrent processes, and failures."""

from __future__ import annotations

import multiprocessing
import os
import re
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.backends.postgres import Postgres
from tests.index.conftest import here, open_database, without_end
from tests.live_server import free_port
from v1registry.index import leases, migrations, schema, textsearch
from v1registry.index.database import Database, parse
from v1registry.index.rows import insert_new
from v1registry.lib.errors import Failure

WORKERS = 8


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """Yield a new database without a schema."""
    opened = open_database(url)
    yield opened
    opened.close()


def names(database: Database) -> set[str]:
    return database.read(lambda connection: set(sa.inspect(connection).get_table_names()))


def version(database: Database) -> int:
    return database.read(lambda connection: migrations._version(connection))


# -- versions -----------------------------------------------------------------------------


def test_the_schema_is_created_in_an_empty_database(database: Database) -> None:
    database.prepare()
    assert {table.name for table in schema.metadata.sorted_tables} <= names(database)
    assert version(database) == migrations.LATEST
    assert database.check() is None


def start(url: str, barrier: Any, results: Any) -> None:
    database = open_database(url)
    barrier.wait(30)
    try:
        database.prepare()
        name = database.write(
            lambda c: insert_new(c, schema.namespaces, {"name": "team", "created": 0})
        )
        results.put("first" if name else "later")
    except BaseException as error:
        results.put(repr(error))
    database.close()


def test_many_processes_start_at_once_on_an_empty_database(url: str) -> None:
    """The workers of 0.x conflicted here, and the image did not start (dr#829, dr#886)."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    barrier, results = context.Barrier(WORKERS), context.Queue()
    workers = [context.Process(target=start, args=(url, barrier, results)) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    found = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join(30)
    assert sorted(found) == ["first", *["later"] * (WORKERS - 1)]


def test_an_older_version_is_upgraded_with_its_data(url: str) -> None:
    database = open_database(url)

    def as_version_1(connection: sa.Connection) -> None:
        schema.metadata.create_all(connection)
        migrations._metadata.create_all(connection)
        connection.execute(migrations._versions.insert().values(version=1))
        row = {"name": "team", "created": 0, "id": 1}
        connection.execute(schema.namespaces.insert().values(row))
        values = {"namespace_id": 1, "name": "team/app", "created": 0, "updated": 0}
        text = textsearch.searched("team/app", "An old one")
        connection.execute(schema.repositories.insert().values(searched=text, **values))

    database._ready = True
    database.write(as_version_1)
    database.close()
    upgraded = open_database(url)
    assert version(upgraded) == migrations.LATEST

    def find(connection: sa.Connection) -> list[str]:
        source, matches = textsearch.narrow(connection, "an old")
        query = sa.select(schema.repositories.c.name).select_from(source).where(matches)
        if connection.dialect.name == "sqlite":
            assert source is not schema.repositories
        return list(connection.scalars(query))

    assert upgraded.read(find) == ["team/app"]
    upgraded.close()


def test_version_3_is_upgraded(url: str) -> None:
    """Its tables and a program of version 3 that still writes do not have the columns of version 5."""
    database = open_database(url)
    database.prepare()

    def as_version_3(connection: sa.Connection) -> None:
        for name, index in schema.BY_SIGHT.items():
            connection.exec_driver_sql(f"DROP INDEX {name}")
            connection.exec_driver_sql(f"CREATE INDEX {name} ON repositories {index}")
        for column in ("made", "missing", "is_gone"):
            connection.exec_driver_sql(f"ALTER TABLE repositories DROP COLUMN {column}")
        connection.exec_driver_sql("ALTER TABLE namespaces DROP COLUMN is_private")
        connection.exec_driver_sql("DROP TABLE deleted")
        connection.exec_driver_sql("DROP TABLE counters")
        connection.execute(migrations._versions.update().values(version=3))
        insert_as_version_3(connection, "team/app")

    def insert_as_version_3(connection: sa.Connection, name: str) -> None:
        connection.exec_driver_sql(
            "INSERT INTO namespaces (name, created) SELECT 'team', 0"
            " WHERE NOT EXISTS (SELECT 1 FROM namespaces)"
        )
        connection.exec_driver_sql(
            "INSERT INTO repositories (namespace_id, name, description, full_description, searched,"
            " is_private, is_official, is_automated, stars, pulls, created, updated, is_stored)"
            f" SELECT id, '{name}', '', '', '{name}', is_true, is_true, is_true, 0, 0, 0, 0, is_true"
            " FROM namespaces, (SELECT 1 = 1 AS is_true) AS truth"
        )

    database.write(as_version_3)
    database.close()
    upgraded = open_database(url)
    assert version(upgraded) == migrations.LATEST
    upgraded.write(lambda connection: insert_as_version_3(connection, "team/later"))
    rows = upgraded.read(lambda c: c.execute(sa.select(schema.repositories)).all())
    assert [(row.name, row.made, row.missing, row.is_gone) for row in rows] == [
        ("team/app", "", None, False),
        ("team/later", "", None, False),
    ]
    assert "deleted" in names(upgraded)
    upgraded.close()


def test_a_later_version_is_not_touched(database: Database) -> None:
    database.prepare()
    later = migrations._versions.update().values(version=migrations.LATEST + 1)
    database.write(lambda connection: connection.execute(later))
    database._ready = False
    with pytest.raises(migrations.TooNew, match="used by a later version of v1registry"):
        database.prepare()


def test_rolled_back_and_upgraded_again(url: str) -> None:
    """Roll back as in docs/index.md; a program of version 3 runs in between."""
    database = open_database(url)
    database.prepare()
    back = "UPDATE v1registry_schema SET version = 3"
    assert back in (Path(__file__).parents[2] / "docs" / "index.md").read_text()
    database.write(lambda connection: connection.exec_driver_sql(back))
    database.close()
    again = open_database(url)
    assert version(again) == migrations.LATEST
    again.close()


def test_a_later_version_answers_503(database: Database, caplog: Any) -> None:
    """The database was away when this process started, and was upgraded since."""
    database.prepare()
    later = migrations._versions.update().values(version=migrations.LATEST + 1)
    database.write(lambda connection: connection.execute(later))
    database._ready = False
    with pytest.raises(Failure, match="used by a later version of v1registry") as caught:
        database.read(lambda connection: None)
    assert caught.value.status == 503
    assert "later version" in (database.check() or "")


@pytest.mark.parametrize("what", ["garbage", "a page", "the first page"])
def test_a_damaged_file(tmp_path: Path, what: str, caplog: Any) -> None:
    """A retry does not help, so the answer has no Retry-After."""
    file = tmp_path / "index.db"
    database = open_database(f"sqlite:///{file}")
    row = {"name": "team", "created": 0}
    database.write(lambda c: c.execute(schema.namespaces.insert().values(row)))
    database.close()
    data = bytearray(file.read_bytes())
    if what == "garbage":
        data = bytearray(b"no database at all " * 1000)
    elif what == "a page":
        root = 4096 * (data.index(b"team") // 4096)
        data[root : root + 4096] = b"\xff" * 4096
    else:
        data[100:4096] = b"\xff" * 3996
    file.write_bytes(data)
    damaged = open_database(f"sqlite:///{file}")
    with pytest.raises(Failure) as caught:
        damaged.read(lambda c: c.execute(sa.select(schema.namespaces)).all())
    assert caught.value.status == 503
    assert caught.value.text.startswith("The index's database is damaged")
    assert str(file) not in caught.value.text  # clients read it
    assert "Retry-After" not in caught.value.headers
    assert f"{file} is damaged" in caplog.text
    assert "restore it from a backup" in caplog.text
    damaged.close()


def test_the_documented_backup_of_a_file_in_use(tmp_path: Path) -> None:
    """The backup holds the latest changes, which are in the write-ahead log."""
    page = (Path(__file__).parents[2] / "docs" / "index.md").read_text()
    documented = re.search(r'`python3 (-c) "(import sqlite3; [^"]+)"`', page)
    assert documented is not None
    live, copy = tmp_path / "index.db", tmp_path / "copy.db"
    database = open_database(f"sqlite:///{live}")
    row = {"name": "team", "created": 0}
    database.write(lambda c: c.execute(schema.namespaces.insert().values(row)))
    code = documented[2].replace("/var/lib/v1registry-index/index.db", str(live))
    code = code.replace("/backup/index.db", str(copy))
    subprocess.run([sys.executable, "-c", code], check=True)
    database.close()
    restored = open_database(f"sqlite:///{copy}")
    assert version(restored) == migrations.LATEST
    found = sa.select(schema.namespaces.c.name)
    assert restored.read(lambda c: c.execute(found).scalar_one()) == "team"
    restored.close()


def test_tables_of_other_programs_are_not_used(database: Database) -> None:
    database._ready = True
    database.write(lambda c: c.exec_driver_sql("CREATE TABLE accounts (id integer)"))
    database._ready = False
    with pytest.raises(Failure) as caught:
        database.prepare()
    assert caught.value.status == 503
    database._ready = True
    assert names(database) == {"accounts"}


def test_without_trigrams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    monkeypatch.setattr(textsearch, "_SQLITE", ("CREATE VIRTUAL TABLE t USING nothing (a)",))
    database = open_database(f"sqlite:///{tmp_path}/index.db")
    database.prepare()
    assert version(database) == migrations.LATEST
    assert "This database has no trigrams" in caplog.text
    database.close()


# -- transactions ---------------------------------------------------------------------------


def test_all_or_nothing(database: Database) -> None:
    def work(connection: sa.Connection) -> None:
        insert_new(connection, schema.namespaces, {"name": "team", "created": 0})
        raise Failure(400, "no")

    with pytest.raises(Failure, match=r"^no$"):
        database.write(work)
    assert database.read(lambda c: c.execute(sa.select(schema.namespaces)).all()) == []


def test_concurrent_changes_both_count(database: Database) -> None:
    """The second writer in SQLite waits only if it takes the write lock at the beginning."""
    database.write(lambda c: insert_new(c, schema.namespaces, {"name": "team", "created": 0}))
    column = schema.namespaces.c.created

    def work(connection: sa.Connection) -> None:
        query = sa.select(column)
        value = connection.execute(query if database.is_sqlite else query.with_for_update())
        found = value.scalar_one()
        time.sleep(0.05)
        connection.execute(schema.namespaces.update().values(created=found + 1))

    threads = [threading.Thread(target=database.write, args=(work,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert database.read(lambda c: c.execute(sa.select(column)).scalar_one()) == 4


def test_conflicting_work_is_retried(postgres: Postgres) -> None:
    database = open_database(postgres.database())
    tries = []

    def work(connection: sa.Connection) -> str:
        tries.append(1)
        if len(tries) < 3:
            connection.exec_driver_sql("DO $$BEGIN RAISE SQLSTATE '40P01'; END$$")
        return "done"

    assert database.write(work) == "done"
    assert len(tries) == 3
    with pytest.raises(Failure, match="does not answer"):
        database.write(lambda c: c.exec_driver_sql("DO $$BEGIN RAISE SQLSTATE '40001'; END$$"))
    database.close()


def test_one_process_holds_a_lease(database: Database) -> None:
    assert leases.take(database, "work", 60)
    assert not leases.take(database, "work", 60)
    assert leases.take(database, "other", 60)
    past = schema.leases.update().values(until=int(time.time()) - 1)
    database.write(lambda connection: connection.execute(past))
    assert leases.take(database, "work", 60)
    wrong_clock = schema.leases.update().values(until=int(time.time()) + 10**6)
    database.write(lambda connection: connection.execute(wrong_clock))
    assert leases.take(database, "work", 60)


# -- failures -----------------------------------------------------------------------------


def unavailable():
    return pytest.raises(
        Failure,
        match="The index does not answer",
        check=lambda failure: failure.status == 503 and "Retry-After" in failure.headers,
    )


def test_no_server_answers() -> None:
    database = open_database(f"postgresql://me:secret@127.0.0.1:{free_port()}/x", timeout=2)
    with unavailable():
        database.prepare()
    assert database.check() == "The index does not answer, retry later"
    database.close()


def test_a_server_that_comes_back(postgres: Postgres) -> None:
    database = open_database(postgres.database(), timeout=5)
    database.prepare()
    postgres.stop()
    try:
        with unavailable():
            database.prepare()
    finally:
        postgres.start()
    assert database.check() is None  # on a connection that the restart has closed
    database.close()


def test_all_connections_in_use(postgres: Postgres) -> None:
    database = open_database(postgres.database(), connections=1, timeout=0.3)
    database.prepare()
    with database._transaction(False), unavailable():
        database.prepare()
    assert database.check() is None
    database.close()


def test_a_folder_that_is_not_there(tmp_path: Path, caplog: Any) -> None:
    database = open_database(f"sqlite:///{tmp_path}/none/index.db")
    with unavailable():
        database.prepare()
    assert "No such file or directory" in caplog.text
    database.close()


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    file = tmp_path / "index.db"
    file.write_bytes(b"something else, and long enough" * 100)
    database = open_database(f"sqlite:///{file}")
    with pytest.raises(Failure, match="The index's database is damaged"):
        database.prepare()
    assert "is damaged" in (database.check() or "")
    database.close()


def test_the_log_holds_no_password(caplog: Any) -> None:
    url = f"postgresql://me:pass-word@127.0.0.1:{free_port()}/x"
    database = open_database(url, timeout=2)
    with unavailable():
        database.prepare()
    assert "The index's database fails" in caplog.text
    assert "pass-word" not in caplog.text + repr(database) + database.address
    database.close()


def test_only_the_owner_may_read_the_file(tmp_path: Path) -> None:
    """It holds password hashes and the signing key."""
    before = os.umask(0)
    try:
        database = open_database(f"sqlite:///{tmp_path}/index.db")
        database.prepare()
        for file in tmp_path.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    finally:
        os.umask(before)
    database.close()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # from Python 3.12 on
def test_after_a_fork(database: Database) -> None:
    """A child that used its parent's connection would mix up both."""
    database.prepare()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            database.write(lambda c: insert_new(c, schema.namespaces, {"name": "x", "created": 0}))
            code = 0
        finally:
            os._exit(code)
    found = database.read(lambda connection: connection.execute(sa.select(sa.literal(1))).scalar())
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert found == 1
    assert database.read(lambda c: c.execute(sa.select(schema.namespaces.c.name)).scalar()) == "x"


# -- which database ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("sqlite:////var/lib/x.db", "sqlite+pysqlite:////var/lib/x.db"),
        ("sqlite:///x.db", "sqlite+pysqlite:///x.db"),
        ("postgresql://u:p@h/d", "postgresql+psycopg://u:p@h/d"),
        (
            "postgres://u@h:5433/d?sslmode=require",
            "postgresql+psycopg://u@h:5433/d?sslmode=require",
        ),
        ("postgresql+psycopg2://h/d", "postgresql+psycopg://h/d"),
    ],
)
def test_urls(url: str, meant: str) -> None:
    assert parse(url).render_as_string(hide_password=False) == meant


@pytest.mark.parametrize(
    "url", ["", "x", "sqlite://", "sqlite:///:memory:", "mysql://u:pass@h/d", "sqlite://h/x.db"]
)
def test_unsupported_urls_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must be sqlite:////absolute") as caught:
        parse(url)
    assert "pass@" not in str(caught.value)


def test_a_database_opens_nothing_before_it_is_used(tmp_path: Path) -> None:
    Database(f"sqlite:///{tmp_path}/index.db", here, without_end)
    assert list(tmp_path.iterdir()) == []
