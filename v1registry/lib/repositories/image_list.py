"""The image list of a repository, `_index_images` (protocol-v1.md section 2.1).

docker-registry 0.x reads the list, merges, and writes it back. So concurrent pushes lose entries.
Here, each new entry is first written to a file of its own beside the list, which no other process
overwrites. Readers join both. The list that 0.x reads is rewritten from the union, and read again
until it contains all entries.
"""

from __future__ import annotations

import contextlib
from typing import Any, Protocol

from v1registry.lib import documents, errors
from v1registry.lib.errors import Failure
from v1registry.lib.names import ImageId, RepositoryName
from v1registry.lib.running import Run, for_size, in_place
from v1registry.storage import Storage, get_or_none, keys
from v1registry.storage.errors import NotFound, Refused

Item = dict[str, Any]  # {"id": ..., "checksum"?: ..., "Tag"?: ...}

DAMAGED = "its image list is damaged, so pulls find no images: push the repository again"

_ROUNDS = 20  # attempts to rewrite the list under concurrent writes; entries are never lost


class ImageListStore(Protocol):
    """Image lists, in a store or in an index's database."""

    def get(self, repository: RepositoryName) -> list[Item]:
        """Return the image list. Raise Failure 404 if there is none."""

    def update(self, repository: RepositoryName, data: bytes, user: str | None = None) -> None:
        """Merge the list that `user` sent. Raise Failure 400 for a list of another shape."""


class ImageLists:
    """Reads and merges image lists; `compute` runs the work on large ones."""

    def __init__(self, storage: Storage, compute: Run = in_place) -> None:
        self._storage = storage
        self._compute = compute

    def get(self, repository: RepositoryName) -> list[Item]:
        """Return the stored list and the entries it lacks. Raise Failure 404 if there is neither."""
        data = self._data(repository)
        items: list[Item] = for_size(self._compute, len(data or b""))(self._get, repository, data)
        return items

    def is_damaged(self, repository: RepositoryName) -> bool:
        """Return whether the stored list is not a JSON array: then pulls find no images in it."""
        data = self._data(repository)
        try:
            return data is not None and not isinstance(documents.load(data), list)
        except ValueError:
            return True

    def _get(self, repository: RepositoryName, data: bytes | None) -> list[Item]:
        stored = _items(data)
        lost = self._entries_beside(repository, stored)
        if stored is None and not lost:
            raise Failure(*errors.IMAGES_NOT_FOUND)
        if lost:
            # A process wrote these entries and died before the list: add them for 0.x.
            with contextlib.suppress(Refused):
                self._rewrite(in_place, repository, [], stored, {})
        return [*(stored or []), *lost]

    def update(self, repository: RepositoryName, data: bytes, user: str | None = None) -> None:
        """Merge the list that a client sent. Raise Failure 400 for a list of odd shape.

        `user` is ignored: a list grants no access here (see `RepositoryReferences`).

        The first list is stored as it was sent. Later lists are folded by id to
        `{"id", "checksum"?}`; an entry with a checksum wins, as in 0.x.
        """
        stored = self._data(repository)
        run = for_size(self._compute, len(data) + len(stored or b""))
        self._rewrite(run, repository, *run(_plan, repository, data, stored))

    def note_members(self, repository: RepositoryName, ids: list[str]) -> None:
        """Store the ids that an index lists, as 0.x does (`_images_list`), if they have changed."""
        key = f"{repository.folder}/_images_list"
        data = for_size(self._compute, 64 * len(ids))(documents.dump, ids)
        with contextlib.suppress(Refused):  # a read-only store
            if get_or_none(self._storage, key) != data:
                self._storage.put(key, data)

    def _rewrite(
        self,
        run: Run,
        repository: RepositoryName,
        new: list[Item],
        stored: list[Item] | None,
        entries: dict[str, bytes],
    ) -> None:
        """Write the `entries` and the list; repeat while concurrent writes undo the list.

        `run` is only for computing, not for writing, which may take minutes.
        """
        values = dict(entries)
        for _ in range(_ROUNDS):
            merged = run(self._merge, repository, new, stored)
            if merged != stored:
                values[f"{repository.folder}/_index_images"] = run(documents.dump, merged)
            if values:
                self._storage.put_all(values)
            values = {}
            stored = run(_items, self._data(repository)) or []
            if run(self._is_complete, repository, merged, stored):
                return

    def _merge(
        self, repository: RepositoryName, new: list[Item], stored: list[Item] | None
    ) -> list[Item]:
        """Return the list to store: the new items, the stored ones, and the entries beside it."""
        beside = self._entries_beside(repository, [*(stored or []), *new])
        return [*new, *beside] if stored is None else fold([*new, *stored, *beside])

    def _is_complete(
        self, repository: RepositoryName, merged: list[Item], stored: list[Item]
    ) -> bool:
        """Return whether the stored list contains all of `merged` and all entries beside it."""
        present = {item["id"]: item for item in fold(stored)}
        return all(_contains(present, item) for item in merged) and not self._entries_beside(
            repository, stored
        )

    def _data(self, repository: RepositoryName) -> bytes | None:
        """Return the bytes of the stored list, None if there is none."""
        for folder in repository.folders:
            data = get_or_none(self._storage, f"{folder}/_index_images")
            if data is not None:
                return data
        return None

    def _entries_beside(self, repository: RepositoryName, items: list[Item] | None) -> list[Item]:
        """Read the entries of ids that are not among `items`."""
        present = {item["id"] for item in items or []}
        folder = f"{repository.folder}/_index_entries"
        found = []
        for entry in self._storage.list(folder):
            if entry.name in present:
                continue
            try:
                item = documents.load(self._storage.get(f"{folder}/{entry.name}"))
            except (NotFound, ValueError):
                continue  # the repository is being deleted, or the file is not an entry
            if isinstance(item, dict) and "id" in item:
                found.append(item)
        return sorted(found, key=lambda item: str(item["id"]))


def _plan(
    repository: RepositoryName, data: bytes, before: bytes | None
) -> tuple[list[Item], list[Item] | None, dict[str, bytes]]:
    """Return the sent items, the stored items, and the files of the new entries by key."""
    new, stored = parse(data), _items(before)
    known = {item["id"]: item for item in fold(stored or [])}
    entries = {
        f"{repository.folder}/{keys.index_entry(item['id'])}": documents.dump(item)
        for item in fold(new)
        if not _contains(known, item)
    }
    return new, stored, entries


def _items(data: bytes | None) -> list[Item] | None:
    """Return the items of a stored list; None if there is no list."""
    if data is None:
        return None
    try:
        value = documents.load(data)
    except ValueError:
        return []  # damaged by 0.x: the next push rewrites it
    items = value if isinstance(value, list) else []
    return [item for item in items if isinstance(item, dict) and "id" in item]


def parse(data: bytes) -> list[Item]:
    """Return the items that a client sent. Raise Failure 400 for a list of another shape."""
    value = documents.parse_text(data, errors.INDEX_JSON_INVALID)
    if not isinstance(value, list):
        raise Failure(*errors.DATA_INVALID)
    for item in value:
        if not isinstance(item, dict) or not ImageId.is_valid(item.get("id")):
            raise Failure(*errors.DATA_INVALID)
    return value


def tags_in(data: bytes) -> dict[str, set[str]]:
    """Return the ids for each tag in a list that a client sent. Raise as `parse`."""
    found: dict[str, set[str]] = {}
    for item in parse(data):
        if isinstance(tag := item.get("Tag"), str):
            found.setdefault(tag, set()).add(item["id"])
    return found


def fold(items: list[Item]) -> list[Item]:
    """Return one item for each id, one with a checksum if there is such an item."""
    folded: dict[str, Item] = {}
    for item in items:
        if "checksum" in folded.get(item["id"], {}):
            continue
        folded[item["id"]] = {key: item[key] for key in ("id", "checksum") if key in item}
    return list(folded.values())


def _contains(present: dict[str, Item], item: Item) -> bool:
    """Return whether the id is present, with a checksum if `item` has one."""
    found = present.get(item["id"])
    return found is not None and ("checksum" in found or "checksum" not in item)
