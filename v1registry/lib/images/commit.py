"""The decision which copy of an image stays, and carrying it out.

Source: docs/architecture.md#rule-4-writes-are-atomic.

An upload ends with one small record, `images/ID/_commit`, that `create` lets
only one push write: which JSON, which staged layer, its size and checksums, the
ancestry. From then on the image *is* that, whatever else happens. Whoever meets
the record while the image is not yet whole carries it out: layer, JSON,
ancestry and checksums to their names, last the mark away. Every step may be
done twice, by several at once, or after a crash in the middle.

A power cut may undo all of it until it is flushed, but not so that a part is
there and the mark is not: that would look like a finished image. So the mark
is on the disk before any part gets its name, and goes when all of them are.

A record is given up only when its layer is nowhere, so that nobody can have
begun to carry it out: it has the image's JSON in it, and the rest follows.

The record stays when all is done. A push that looked before the image was
finished, and comes to its own `create` much later, must lose then too.

Where the store does not create atomically, two pushes in the same instant may
both write a record. The later one counts: whoever has carried one out reads it
back, and goes on until what is in place is what is written there. So nothing
that a record names may be gone as long as others may have to do it once more:
such a store's `commit` puts a staged layer in place again and again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import asdict, dataclass

from v1registry.lib import documents, errors
from v1registry.lib.errors import Failure
from v1registry.lib.names import ImageId
from v1registry.storage import StagedWrites, Storage, exists, keys
from v1registry.storage.errors import NotFound


@dataclass(frozen=True, slots=True)
class CommitRecord:
    """What an image is: `json` is the hex SHA-256 of its JSON, `handle` the staged layer.

    `document` is the JSON itself, as Latin-1. Records of before 2026-12 have none.
    """

    json: str
    handle: str
    size: int
    checksums: list[str]
    ancestry: list[str]
    document: str = ""


# In this order: should the cleaner take the mark off an old push that goes on just now, the image
# looks finished only when its JSON comes, and then all the rest is there.
_PARTS = ("ancestry", "_checksum", "json")


def _parts(image_id: ImageId, record: CommitRecord, data: bytes) -> dict[str, bytes]:
    """The small files of an image whose JSON is `data`, by key."""
    values = (documents.dump(record.ancestry), documents.dump(record.checksums), data)
    return {keys.image(image_id, part): value for part, value in zip(_PARTS, values, strict=True)}


class CommitDataLost(Exception):
    """The record names data that is nowhere any more: it cannot be carried out."""


class Commits:
    """Writes and carries out the records of a store."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def find(self, image_id: ImageId) -> CommitRecord | None:
        """The image's record, or None: open, unknown, or written by 0.x."""
        found = self._find(image_id)
        return found[0] if found else None

    def _find(self, image_id: ImageId) -> tuple[CommitRecord, bytes] | None:
        data = self._get(keys.image(image_id, "_commit"))
        return (CommitRecord(**json.loads(data)), data) if data is not None else None

    def decide(self, image_id: ImageId, record: CommitRecord, data: bytes) -> None:
        """Make `record`, with the JSON `data`, the image unless another came first.

        On return the record that did is carried out. Raise Failure 500 if its data is lost.
        """
        mark, name = keys.image(image_id, "_inprogress"), keys.image(image_id, "_commit")
        if not exists(self._storage, mark):
            # a record is noticed by its mark, should we end before carrying it out
            self._storage.put(mark, b"true", durable=False)
        values = {name: documents.dump(asdict(record)), **_parts(image_id, record, data)}
        with self._storage.aside(values, after=[mark]) as aside:
            if aside.create(name):
                with contextlib.suppress(CommitDataLost):
                    is_ours = self._carry_out(image_id, record, aside)
                    if is_ours and self._storage.creates_atomically:
                        return
                    if self.find(image_id) == record:
                        return
        if not self.settle(image_id):
            raise Failure(*errors.IMAGE_LOST)

    def settle(self, image_id: ImageId) -> bool:
        """Carry out the image's record if there is one; tell whether the image is whole now."""
        while (found := self._find(image_id)) is not None:
            record, data = found
            try:
                self._carry_out(image_id, record)
            except CommitDataLost:
                # Nobody can finish this one (the staged data was wiped): the
                # image is open again, and the next push of it can succeed.
                if self._storage.delete_if(keys.image(image_id, "_commit"), data):
                    return False
                continue
            # What was in place may have been another's, of the same size.
            if self.find(image_id) == record:
                return True
        return False

    def _carry_out(
        self, image_id: ImageId, record: CommitRecord, aside: StagedWrites | None = None
    ) -> bool:
        """`aside` has the parts, if they are written already. Tell whether this placed the layer."""
        placed = self._place_layer(image_id, record)
        if aside is None:
            self._place_missing(image_id, record)
        else:
            for part in _PARTS:
                aside.put(keys.image(image_id, part))
        # Whoever put all this in place, if not we, may not be sure of it yet, or dead.
        self._storage.flush(keys.image(image_id, part) for part in ("layer", "_commit", *_PARTS))
        # Should a power cut bring these back, the next reader does this once more.
        self._storage.delete(keys.image(image_id, "_inprogress"), durable=False)
        if self._storage.creates_atomically:
            # else another record may have gone before, and whoever still carries that one out must
            # find this JSON when it comes to this record, should that have none; the cleaner removes
            # it later
            self._storage.delete(keys.pushed_json(image_id, record.json), durable=False)
        return placed

    def _place_layer(self, image_id: ImageId, record: CommitRecord) -> bool:
        """Whether this placed it; else it was there."""
        try:
            self._storage.commit(record.handle)
        except NotFound:
            if not self._is_in_place(keys.image(image_id, "layer"), record.size):
                raise CommitDataLost(image_id) from None
            return False
        return True

    def _place_missing(self, image_id: ImageId, record: CommitRecord) -> None:
        document = record.document.encode("latin-1") or self._json(image_id, record)
        parts = _parts(image_id, record, document)
        missing = {key: value for key, value in parts.items() if self._get(key) != value}
        with self._storage.aside(missing) as aside:  # the mark was there before the record
            for key in missing:
                aside.put(key)

    def _json(self, image_id: ImageId, record: CommitRecord) -> bytes:
        """The JSON of a record that has none: where it was staged, or already in place."""
        for key in (keys.pushed_json(image_id, record.json), keys.image(image_id, "json")):
            data = self._get(key)
            if data is not None and hashlib.sha256(data).hexdigest() == record.json:
                return data
        raise CommitDataLost(image_id)

    def _get(self, key: str) -> bytes | None:
        try:
            return self._storage.get(key)
        except NotFound:
            return None

    def _is_in_place(self, layer: str, size: int) -> bool:
        try:
            return self._storage.stat(layer).size == size
        except NotFound:
            return False
