"""The list of a repository's images, `_index_images` (protocol-v1.md section 2.1).

0.x reads the list, merges, and writes it back: two pushes at once lose entries.
Here every new entry is first a small file of its own beside the list, which
nobody overwrites; readers join both, and the list that 0.x reads is rewritten
from the union, then looked at again, until it holds all.
"""

from __future__ import annotations

import json
from typing import Any

from v1registry.lib import documents, errors
from v1registry.lib.errors import Failure
from v1registry.lib.names import ImageId, RepositoryName
from v1registry.storage import Storage, keys
from v1registry.storage.errors import NotFound

Item = dict[str, Any]  # {"id": ..., "checksum"?: ..., "Tag"?: ...}

_ROUNDS = 20  # of rewriting the list while others write it too; the entries are safe anyway


class ImageLists:
    """Reads and merges image lists."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def get(self, repository: RepositoryName) -> list[Item]:
        """The list as stored, joined with entries that it lacks. Raise Failure 404 if none is."""
        stored = self._stored(repository)
        entries = self._entries(repository)
        if stored is None and not entries:
            raise Failure(*errors.IMAGES_NOT_FOUND)
        return _joined(stored or [], entries)

    def update(self, repository: RepositoryName, data: bytes) -> None:
        """Merge the list that a client sent. Raise Failure 400 for a list of odd shape.

        The first list is kept as it came; later all are folded by id to
        `{"id", "checksum"?}`, an entry with a checksum winning, as 0.x does.
        """
        new = _parse(data)
        stored = self._stored(repository)
        known = {item["id"]: item for item in _fold(stored or [])}
        entries = {}
        for item in _fold(new):
            before = known.get(item["id"])
            if before is None or ("checksum" in item and "checksum" not in before):
                entries[_entry_key(repository, item["id"])] = documents.dump(item)
        self._storage.put_all(entries)
        self._rewrite(repository, new, stored)

    def _rewrite(
        self, repository: RepositoryName, new: list[Item], stored: list[Item] | None
    ) -> None:
        for _ in range(_ROUNDS):
            entries = self._entries(repository)
            if stored is None:
                wanted = _joined(new, entries)
            else:
                wanted = _fold([*new, *stored, *entries])
            if wanted != stored:
                self._storage.put(f"{repository.folder}/_index_images", documents.dump(wanted))
            stored = self._stored(repository) or []
            present = {item["id"] for item in stored}
            if all(item["id"] in present for item in [*wanted, *self._entries(repository)]):
                return

    def _stored(self, repository: RepositoryName) -> list[Item] | None:
        for folder in repository.folders:
            try:
                data = self._storage.get(f"{folder}/_index_images")
            except NotFound:
                continue
            try:
                value = json.loads(data)
            except ValueError:
                return []  # a list broken by 0.x: the next push writes it anew
            items = value if isinstance(value, list) else []
            return [item for item in items if isinstance(item, dict) and "id" in item]
        return None

    def _entries(self, repository: RepositoryName) -> list[Item]:
        folder = f"{repository.folder}/_index_entries"
        found = []
        for entry in self._storage.list(folder):
            try:
                found.append(json.loads(self._storage.get(f"{folder}/{entry.name}")))
            except NotFound:
                continue  # the repository is being deleted
        return sorted(found, key=lambda item: str(item["id"]))


def _entry_key(repository: RepositoryName, image_id: str) -> str:
    return f"{repository.folder}/{keys.index_entry(image_id)}"


def _parse(data: bytes) -> list[Item]:
    value = documents.parse(data, errors.INDEX_JSON_INVALID)
    if not isinstance(value, list):
        raise Failure(*errors.DATA_INVALID)
    for item in value:
        if not isinstance(item, dict) or not ImageId.is_valid(item.get("id")):
            raise Failure(*errors.DATA_INVALID)
    return value


def _fold(items: list[Item]) -> list[Item]:
    folded: dict[str, Item] = {}
    for item in items:
        if "checksum" in folded.get(item["id"], {}):
            continue
        folded[item["id"]] = {key: item[key] for key in ("id", "checksum") if key in item}
    return list(folded.values())


def _joined(stored: list[Item], entries: list[Item]) -> list[Item]:
    """The list as it is, with the checksums and the items that only entries have."""
    sums = {item["id"]: item["checksum"] for item in entries if "checksum" in item}
    present = {item["id"] for item in stored}
    joined = [
        {**item, "checksum": sums[item["id"]]}
        if item["id"] in sums and "checksum" not in item
        else item
        for item in stored
    ]
    return [*joined, *(item for item in entries if item["id"] not in present)]
