"""The list of a repository's images, `_index_images` (protocol-v1.md section 2.1).

0.x reads the list, merges, and writes it back: two pushes at once lose entries.
Here every new entry is first a small file of its own beside the list, which
nobody overwrites; readers join both, and the list that 0.x reads is rewritten
from the union, then looked at again, until it holds all.
"""

from __future__ import annotations

import contextlib
import json
from typing import Any

from v1registry.lib import documents, errors
from v1registry.lib.errors import Failure
from v1registry.lib.names import ImageId, RepositoryName
from v1registry.lib.running import Run, for_size, in_place
from v1registry.storage import Storage, keys
from v1registry.storage.errors import NotFound, Refused

Item = dict[str, Any]  # {"id": ..., "checksum"?: ..., "Tag"?: ...}

DAMAGED = "its image list is damaged, so pulls find no images: push the repository again"

_ROUNDS = 20  # of rewriting the list while others write it too; the entries are safe anyway


class ImageLists:
    """Reads and merges image lists; `compute` runs what is done with large ones."""

    def __init__(self, storage: Storage, compute: Run = in_place) -> None:
        self._storage = storage
        self._compute = compute

    def get(self, repository: RepositoryName) -> list[Item]:
        """The list as stored, joined with entries that it lacks. Raise Failure 404 if none is."""
        data = self._data(repository)
        items: list[Item] = for_size(self._compute, len(data or b""))(self._get, repository, data)
        return items

    def is_damaged(self, repository: RepositoryName) -> bool:
        """Whether a list is stored that is no JSON array: pulls find no images in it."""
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
            # whoever wrote these died before looking again: 0.x should find them, too
            with contextlib.suppress(Refused):
                self._rewrite(in_place, repository, [], stored, {})
        return [*(stored or []), *lost]

    def update(self, repository: RepositoryName, data: bytes, user: str | None = None) -> None:
        """Merge the list that a client sent. Raise Failure 400 for a list of odd shape.

        Who it was makes no difference: a list gives no rights here (see `lib.reach`).

        The first list is kept as it came; later all are folded by id to
        `{"id", "checksum"?}`, an entry with a checksum winning, as 0.x does.
        """
        stored = self._data(repository)
        run = for_size(self._compute, len(data) + len(stored or b""))
        self._rewrite(run, repository, *run(_planned, repository, data, stored))

    def note_members(self, repository: RepositoryName, ids: list[str]) -> None:
        """Keep the ids that an index lists, as 0.x does (`_images_list`); written when changed."""
        key = f"{repository.folder}/_images_list"
        data = json.dumps(ids).encode("ascii")
        with contextlib.suppress(Refused):  # a store that we may not write
            try:
                changed = self._storage.get(key) != data
            except NotFound:
                changed = True
            if changed:
                self._storage.put(key, data)

    def _rewrite(
        self,
        run: Run,
        repository: RepositoryName,
        new: list[Item],
        stored: list[Item] | None,
        entries: dict[str, bytes],
    ) -> None:
        """Write the `entries`, then the list, and look whether it has stayed.

        `run` computes; writing, which may take minutes, is not for it.
        """
        values = dict(entries)
        for _ in range(_ROUNDS):
            wanted = run(self._wanted, repository, new, stored)
            if wanted != stored:
                values[f"{repository.folder}/_index_images"] = run(documents.dump, wanted)
            if values:
                self._storage.put_all(values)
            values = {}
            stored = run(_items, self._data(repository)) or []
            if run(self._has_stayed, repository, wanted, stored):
                return

    def _wanted(
        self, repository: RepositoryName, new: list[Item], stored: list[Item] | None
    ) -> list[Item]:
        beside = self._entries_beside(repository, [*(stored or []), *new])
        return [*new, *beside] if stored is None else fold([*new, *stored, *beside])

    def _has_stayed(
        self, repository: RepositoryName, wanted: list[Item], stored: list[Item]
    ) -> bool:
        present = {item["id"]: item for item in fold(stored)}
        return all(_holds(present, item) for item in wanted) and not self._entries_beside(
            repository, stored
        )

    def _data(self, repository: RepositoryName) -> bytes | None:
        """The list as stored, None if there is none."""
        for folder in repository.folders:
            with contextlib.suppress(NotFound):
                return self._storage.get(f"{folder}/_index_images")
        return None

    def _entries_beside(self, repository: RepositoryName, items: list[Item] | None) -> list[Item]:
        """The entries of ids that are not among `items`; only those are read."""
        present = {item["id"] for item in items or []}
        folder = f"{repository.folder}/_index_entries"
        found = []
        for entry in self._storage.list(folder):
            if entry.name in present:
                continue
            try:
                item = documents.load(self._storage.get(f"{folder}/{entry.name}"))
            except (NotFound, ValueError):
                continue  # the repository is being deleted; or nothing that we wrote
            if isinstance(item, dict) and "id" in item:
                found.append(item)
        return sorted(found, key=lambda item: str(item["id"]))


def _planned(
    repository: RepositoryName, data: bytes, before: bytes | None
) -> tuple[list[Item], list[Item] | None, dict[str, bytes]]:
    """What a client sent, what is stored, and the files of the entries that are new, by key."""
    new, stored = parse(data), _items(before)
    known = {item["id"]: item for item in fold(stored or [])}
    entries = {
        f"{repository.folder}/{keys.index_entry(item['id'])}": documents.dump(item)
        for item in fold(new)
        if not _holds(known, item)
    }
    return new, stored, entries


def _items(data: bytes | None) -> list[Item] | None:
    """The items of a stored list."""
    if data is None:
        return None
    try:
        value = documents.load(data)
    except ValueError:
        return []  # a list broken by 0.x: the next push writes it anew
    items = value if isinstance(value, list) else []
    return [item for item in items if isinstance(item, dict) and "id" in item]


def parse(data: bytes) -> list[Item]:
    value = documents.parse_text(data, errors.INDEX_JSON_INVALID)
    if not isinstance(value, list):
        raise Failure(*errors.DATA_INVALID)
    for item in value:
        if not isinstance(item, dict) or not ImageId.is_valid(item.get("id")):
            raise Failure(*errors.DATA_INVALID)
    return value


def fold(items: list[Item]) -> list[Item]:
    folded: dict[str, Item] = {}
    for item in items:
        if "checksum" in folded.get(item["id"], {}):
            continue
        folded[item["id"]] = {key: item[key] for key in ("id", "checksum") if key in item}
    return list(folded.values())


def _holds(present: dict[str, Item], item: Item) -> bool:
    """Whether the id is there, with a checksum if `item` has one."""
    found = present.get(item["id"])
    return found is not None and ("checksum" in found or "checksum" not in item)
