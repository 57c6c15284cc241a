"""Renaming a repository in the index: what people decided about it moves along."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from tests.index.conftest import PASSWORD
from v1registry.index import deletions
from v1registry.index.accounts import AccountStore
from v1registry.index.database import Database
from v1registry.index.namespaces import Namespaces
from v1registry.index.repositories import RepositoryRecords
from v1registry.index.schema import repositories as rows
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName

OLD, NEW = RepositoryName("team", "app"), RepositoryName("other", "tool")


@pytest.fixture
def records(database: Database, accounts: AccountStore) -> RepositoryRecords:
    """Return the records of a private repository, in which one account has a role."""
    found = RepositoryRecords(database, private=True)
    found.create(OLD)
    found.describe(OLD, "An application", "# Long")
    accounts.add("reader", PASSWORD)
    Namespaces(database).grant("reader", "pull", str(OLD))
    return found


def roles(database: Database) -> list[tuple[str, str, str]]:
    members = [*Namespaces(database).members("team"), *Namespaces(database).members("other")]
    return [(member.namespace, member.repository, member.role) for member in members]


def test_texts_visibility_and_roles_move(records: RepositoryRecords, database: Database) -> None:
    records.rename(OLD, NEW)
    found = records.get(NEW, "reader")
    assert (found.description, found.is_private) == ("An application", True)
    assert records.full_description(NEW) == "# Long"
    assert roles(database) == [("other", "tool", "pull")]
    assert not records.knows(OLD)
    with pytest.raises(Failure, match="deleted during this push"):
        records.admit(OLD, None)  # a push that began under the old name
    assert database.read(lambda connection: deletions.find(connection, NEW)) is None


def test_a_row_that_a_walk_made_for_the_copy_gives_way(
    records: RepositoryRecords, database: Database
) -> None:
    earlier = rows.update().where(rows.c.name == str(OLD)).values(created=1)
    database.write(lambda connection: connection.execute(earlier))
    records.create(NEW)
    records.rename(OLD, NEW)
    assert records.get(NEW, "reader").description == "An application"
    count = sa.select(sa.func.count()).select_from(rows)
    assert database.read(lambda connection: connection.execute(count).scalar_one()) == 1


def test_it_can_be_repeated(records: RepositoryRecords, database: Database) -> None:
    records.rename(OLD, NEW)
    records.rename(OLD, NEW)
    assert records.get(NEW, "reader").description == "An application"
    assert roles(database) == [("other", "tool", "pull")]
