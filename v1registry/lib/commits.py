"""The decision which copy of an image stays, and carrying it out (design rule 4).

An upload ends with one small record, `images/ID/_commit`, that `create` lets
only one push write: which JSON, which staged layer, its size and checksums, the
ancestry. From then on the image *is* that, whatever else happens. Whoever meets
the record while the image is not yet whole carries it out: layer, JSON,
ancestry and checksums to their names, last the mark away. Every step may be
done twice, by several at once, or after a crash in the middle.

The record stays when all is done. A push that looked before the image was
finished, and comes to its own `create` much later, must lose then too.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from v1registry.lib import documents, errors
from v1registry.lib.errors import Failure
from v1registry.lib.names import ImageId
from v1registry.storage import Storage, exists, keys
from v1registry.storage.errors import NotFound


@dataclass(frozen=True, slots=True)
class Record:
    """What an image is: `json` is the hex SHA-256 of its JSON, `handle` the staged layer."""

    json: str
    handle: str
    size: int
    checksums: list[str]
    ancestry: list[str]


class Lost(Exception):
    """The record names data that is nowhere any more: it cannot be carried out."""


class Commits:
    """Writes and carries out the records of a store."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def find(self, image_id: ImageId) -> Record | None:
        """The image's record, or None: open, unknown, or written by 0.x."""
        data = self._get(image_id, "_commit")
        if data is None:
            return None
        return Record(**json.loads(data))

    def decide(self, image_id: ImageId, record: Record) -> Record:
        """Make `record` the image unless another came first; return the one that is it now.

        On return it is carried out. Raise Failure 500 if its data is lost.
        """
        mark = keys.image(image_id, "_inprogress")
        if not exists(self._storage, mark):
            # a record is noticed by its mark, should we end before carrying it out
            self._storage.put(mark, b"true", durable=False)
        self._storage.create(keys.image(image_id, "_commit"), documents.dump(asdict(record)))
        if not self.settle(image_id):
            raise Failure(*errors.IMAGE_LOST)
        return self.find(image_id) or record

    def settle(self, image_id: ImageId) -> bool:
        """Carry out the image's record if there is one; tell whether the image is whole now."""
        while (record := self.find(image_id)) is not None:
            try:
                self._carry_out(image_id, record)
            except Lost:
                # Nobody can finish this one (the staged data was wiped): the
                # image is open again, and the next push of it can succeed.
                if self.find(image_id) == record:
                    self._storage.delete(keys.image(image_id, "_commit"))
                    return False
                continue
            if self._storage.creates_atomically or self.find(image_id) == record:
                return True
        return False

    def _carry_out(self, image_id: ImageId, record: Record) -> None:
        layer = keys.image(image_id, "layer")
        try:
            self._storage.commit(record.handle)
        except NotFound:
            if not self._is_in_place(layer, record.size):
                raise Lost(image_id) from None
        parts = {
            "json": self._json(image_id, record),
            "ancestry": documents.dump(record.ancestry),
            "_checksum": documents.dump(record.checksums),
        }
        self._storage.put_all(
            {
                keys.image(image_id, part): data
                for part, data in parts.items()
                if self._get(image_id, part) != data
            }
        )
        # Should a power cut bring these back, the next reader does this once more.
        self._storage.delete(keys.image(image_id, "_inprogress"), durable=False)
        self._storage.delete(keys.pushed_json(image_id, record.json), durable=False)

    def _json(self, image_id: ImageId, record: Record) -> bytes:
        """The record's JSON: where it was staged, or already in place."""
        try:
            return self._storage.get(keys.pushed_json(image_id, record.json))
        except NotFound:
            data = self._get(image_id, "json")
            if data is None or hashlib.sha256(data).hexdigest() != record.json:
                raise Lost(image_id) from None
            return data

    def _get(self, image_id: ImageId, part: str) -> bytes | None:
        try:
            return self._storage.get(keys.image(image_id, part))
        except NotFound:
            return None

    def _is_in_place(self, layer: str, size: int) -> bool:
        try:
            return self._storage.stat(layer).size == size
        except NotFound:
            return False
