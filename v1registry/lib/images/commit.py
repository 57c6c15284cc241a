"""Commits: which staged upload becomes the image, and putting it in place.

Source: docs/architecture.md#rule-4-writes-are-atomic.

An upload ends with a small commit record, `images/ID/_commit`. `create` lets only one push write it.
It names the image JSON, the staged layer, its size and checksums, and the ancestry. From then on the
image has these contents, whatever else happens. Any process that finds the record and an incomplete
image completes the commit: it puts layer, JSON, ancestry and checksums in place and then deletes the
`_inprogress` mark. Every step may run twice, in several processes at once, or after a crash.

Until the files are flushed, a power loss may undo any of these steps. It must never undo the mark
alone and leave a part: that would look like a complete image. So the mark is durable before any part
gets its name, and is deleted only when all parts are durable.

A commit is given up only if its layer is missing, so that no process can have begun to put it in
place. Everything else is in the record, including the image JSON.

The record stays after the commit is complete. A push that looked before the image was complete, and
reaches its own `create` much later, must lose as well.

Some stores do not create atomically. There, two pushes at the same instant may both write a record,
and the later one counts: a process that has put one in place reads the record again, and repeats
until both agree. So nothing that a record names may be deleted while another process may have to
repeat the commit: `commit` of such a store can put a staged layer in place again and again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import asdict, dataclass

from v1registry.lib import documents, errors
from v1registry.lib.errors import Failure
from v1registry.lib.names import ImageId
from v1registry.storage import StagedWrites, Storage, exists, get_or_none, keys
from v1registry.storage.errors import NotFound


@dataclass(frozen=True, slots=True)
class CommitRecord:
    """The contents of an image. `json` is the hex SHA-256 of its JSON, `handle` the staged layer.

    `document` is the image JSON itself, decoded as Latin-1. Records older than 2026-12 lack it.
    """

    json: str
    handle: str
    size: int
    checksums: list[str]
    ancestry: list[str]
    document: str = ""


# The JSON comes last: if the cleaner deletes the mark of an old push that continues just now, the
# image looks complete only when its JSON is in place, and all other parts are there by then.
_PARTS = ("ancestry", "_checksum", "json")


def _parts(image_id: ImageId, record: CommitRecord, data: bytes) -> dict[str, bytes]:
    """Return the small files of an image whose JSON is `data`, by key."""
    values = (documents.dump(record.ancestry), documents.dump(record.checksums), data)
    return {keys.image(image_id, part): value for part, value in zip(_PARTS, values, strict=True)}


class CommitDataLost(Exception):
    """The record names data that is missing from the store: the commit cannot be completed."""


class Commits:
    """Writes commit records and completes commits."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def find(self, image_id: ImageId) -> CommitRecord | None:
        """Return the image's record; None if the image is open, unknown, or written by 0.x."""
        found = self._find(image_id)
        return found[0] if found else None

    def _find(self, image_id: ImageId) -> tuple[CommitRecord, bytes] | None:
        data = get_or_none(self._storage, keys.image(image_id, "_commit"))
        return (CommitRecord(**json.loads(data)), data) if data is not None else None

    def commit(self, image_id: ImageId, record: CommitRecord, data: bytes) -> None:
        """Make `record`, with the image JSON `data`, the image unless another record came first.

        On return, the commit of the winning record is complete. Raise Failure 500 if its data is lost.
        """
        mark, name = keys.image(image_id, "_inprogress"), keys.image(image_id, "_commit")
        if not exists(self._storage, mark):
            # The mark makes other processes notice the record if this one crashes.
            self._storage.put(mark, b"true", durable=False)
        values = {name: documents.dump(asdict(record)), **_parts(image_id, record, data)}
        with self._storage.stage_values(values, after=[mark]) as staged:
            if staged.create(name):
                with contextlib.suppress(CommitDataLost):
                    is_ours = self._complete(image_id, record, staged)
                    if is_ours and self._storage.creates_atomically:
                        return
                    if self.find(image_id) == record:
                        return
        if not self.complete(image_id):
            raise Failure(*errors.IMAGE_LOST)

    def complete(self, image_id: ImageId) -> bool:
        """Complete the image's commit if there is a record; return whether the image is complete."""
        while (found := self._find(image_id)) is not None:
            record, data = found
            try:
                self._complete(image_id, record)
            except CommitDataLost:
                # The staged layer was deleted, so no process can complete this commit. Without the
                # record the image is open again, and the next push of it can succeed.
                if self._storage.delete_if(keys.image(image_id, "_commit"), data):
                    return False
                continue
            # The layer in place may have been another record's, of the same size.
            if self.find(image_id) == record:
                return True
        return False

    def _complete(
        self, image_id: ImageId, record: CommitRecord, staged: StagedWrites | None = None
    ) -> bool:
        """Put all of a record in place; return whether this call placed the layer.

        `staged` holds the small files if they are written already.
        """
        placed_layer = self._place_layer(image_id, record)
        if staged is None:
            self._place_missing(image_id, record)
        else:
            for part in _PARTS:
                staged.put(keys.image(image_id, part))
        self._flush(image_id)
        # If a power loss brings the mark back, the next reader completes the commit once more.
        self._storage.delete(keys.image(image_id, "_inprogress"), durable=False)
        self._delete_staged_json(image_id, record)
        return placed_layer

    def _place_layer(self, image_id: ImageId, record: CommitRecord) -> bool:
        """Put the layer in place; return whether it was not there yet. Raise CommitDataLost."""
        try:
            self._storage.commit(record.handle)
        except NotFound:
            if not self._is_in_place(keys.image(image_id, "layer"), record.size):
                raise CommitDataLost(image_id) from None
            return False
        return True

    def _place_missing(self, image_id: ImageId, record: CommitRecord) -> None:
        """Write the small files that are missing or differ from the record."""
        document = record.document.encode("latin-1") or self._json(image_id, record)
        parts = _parts(image_id, record, document)
        missing = {
            key: value for key, value in parts.items() if get_or_none(self._storage, key) != value
        }
        with self._storage.stage_values(missing) as staged:  # the mark is older than the record
            for key in missing:
                staged.put(key)

    def _flush(self, image_id: ImageId) -> None:
        """Make all files durable, also those that another process wrote and may not have flushed."""
        self._storage.flush(keys.image(image_id, part) for part in ("layer", "_commit", *_PARTS))

    def _delete_staged_json(self, image_id: ImageId, record: CommitRecord) -> None:
        # Where creates are not atomic, a process that still completes an earlier record may have to
        # complete this one next, and finds the JSON here if the record lacks it. There, the cleaner
        # deletes it later.
        if self._storage.creates_atomically:
            self._storage.delete(keys.pushed_json(image_id, record.json), durable=False)

    def _json(self, image_id: ImageId, record: CommitRecord) -> bytes:
        """Return the JSON of a record without `document`: staged, or already in place."""
        for key in (keys.pushed_json(image_id, record.json), keys.image(image_id, "json")):
            data = get_or_none(self._storage, key)
            if data is not None and hashlib.sha256(data).hexdigest() == record.json:
                return data
        raise CommitDataLost(image_id)

    def _is_in_place(self, layer: str, size: int) -> bool:
        try:
            return self._storage.stat(layer).size == size
        except NotFound:
            return False
