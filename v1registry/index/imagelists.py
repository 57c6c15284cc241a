"""Image lists of an index without a store (protocol-v1.md section 2.1).

A client may list any image id. So an image that another repository listed before is granted to a
repository only if the user who sent the list may pull a repository to which it is granted.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from v1registry.index.database import Database
from v1registry.index.repositories import visible
from v1registry.index.rows import insert, reads
from v1registry.index.schema import images, repositories
from v1registry.lib import errors
from v1registry.lib.errors import Failure
from v1registry.lib.names import ImageId, RepositoryName
from v1registry.lib.repositories import image_list
from v1registry.lib.running import Run, for_size, in_place

_AT_ONCE = 500  # ids in one statement
_CHECKSUM = 255  # characters of a checksum, which the index only stores


class SqlImageLists:
    """The image lists in the database. It must have rows for the repositories.

    `compute` runs the parsing of large lists.
    """

    def __init__(self, database: Database, compute: Run = in_place) -> None:
        self._database = database
        self._compute = compute

    @reads
    def get(self, connection: sa.Connection, repository: RepositoryName) -> list[image_list.Item]:
        """Return the list, sorted by image id. Raise Failure 404 if there is none."""
        repository_id = _id(connection, repository)
        query = sa.select(images).where(images.c.repository_id == repository_id)
        return [_item(row) for row in connection.execute(query.order_by(images.c.image))]

    def update(self, repository: RepositoryName, data: bytes, user: str | None = None) -> None:
        """Merge the list that `user` sent. Raise Failure 400 for a malformed list, or 404."""
        items: list[image_list.Item] = for_size(self._compute, len(data))(_parse, data)

        def work(connection: sa.Connection) -> None:
            repository_id = _id(connection, repository)
            for start in range(0, len(items), _AT_ONCE):
                _merge(connection, repository_id, items[start : start + _AT_ONCE], user)

        self._database.write(work)

    @reads
    def may_read(
        self,
        connection: sa.Connection,
        image_id: ImageId,
        repository: RepositoryName,
        user: str | None,
    ) -> bool:
        """Return whether the image is granted to this repository, or one that `user` may pull."""
        query = (
            sa.select(images.c.image)
            .join(repositories)
            .where(
                images.c.image == image_id,
                images.c.is_granted == sa.true(),
                sa.or_(repositories.c.name == str(repository), visible(connection, user)),
            )
        )
        return connection.execute(query.limit(1)).first() is not None


def _parse(data: bytes) -> list[image_list.Item]:
    return image_list.fold(image_list.parse(data))


def _merge(
    connection: sa.Connection,
    repository_id: int,
    items: list[image_list.Item],
    user: str | None,
) -> None:
    elsewhere, readable = _listed(connection, [item["id"] for item in items], repository_id, user)
    rows = [
        {
            "repository_id": repository_id,
            "image": item["id"],
            "checksum": _checksum(item),
            "is_granted": item["id"] in readable or item["id"] not in elsewhere,
        }
        for item in items
    ]
    if not rows:
        return
    statement = insert(connection, images).values(rows)
    new = statement.excluded
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=list(images.primary_key),
            set_={
                "checksum": sa.func.coalesce(new.checksum, images.c.checksum),
                # an image that is granted stays granted
                "is_granted": sa.or_(images.c.is_granted, new.is_granted),
            },
        )
    )


def _listed(
    connection: sa.Connection, ids: Iterable[str], repository_id: int, user: str | None
) -> tuple[set[str], set[str]]:
    """Return the ids that other repositories list, and those granted to one that `user` may pull."""
    query = (
        sa.select(images.c.image)
        .join(repositories)
        .where(images.c.image.in_(ids), images.c.repository_id != repository_id)
    )
    granted = query.where(images.c.is_granted == sa.true(), visible(connection, user))
    return set(connection.scalars(query)), set(connection.scalars(granted))


def _id(connection: sa.Connection, repository: RepositoryName) -> int:
    query = sa.select(repositories.c.id).where(repositories.c.name == str(repository))
    found = connection.execute(query).scalar_one_or_none()
    if found is None:
        raise Failure(*errors.IMAGES_NOT_FOUND)
    return int(found)


def _checksum(item: image_list.Item) -> str | None:
    value = item.get("checksum")
    fits = isinstance(value, str) and value.isprintable() and 0 < len(value) <= _CHECKSUM
    return value if fits else None


def _item(row: Any) -> image_list.Item:
    return {"id": row.image} | ({"checksum": row.checksum} if row.checksum else {})
