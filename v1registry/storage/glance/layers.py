"""Layers as images in Glance, and the small files that tell which image is which layer.

Those lie in the alternate store:

    images/ID/_glance               the image in Glance that is the layer of ID
    _v1registry/glance/stages/X     the image X is an upload, for the key that the file holds
    _v1registry/glance/replaced/X   the image X was the layer of the id that the file holds

Glance lets us choose an image's id, so each is noted before it is made: nothing is ever lost in
Glance, or looked for among what others keep there. An upload is private and has no v1 id; to commit
it is to give it the id, and to write `_glance`, which shows it.
"""

from __future__ import annotations

import contextlib
import logging
import time
import uuid
from collections.abc import Iterable, Iterator

from v1registry.storage import Buffer, Stage, Stat, Storage, exists, keys
from v1registry.storage.errors import NotFound, Refused, StorageError
from v1registry.storage.glance.client import FAILURES, UUID, acting_for, caller, storage_error
from v1registry.storage.glance.images import OWN_ID, GlanceImage, GlanceImages
from v1registry.storage.glance.legacy import OldImages
from v1registry.storage.remote import RemoteBlob, StoreResponse

HANDLE = "glance:"  # begins those of layers
STAGES = f"{keys.OURS}/glance/stages"
REPLACED = f"{keys.OURS}/glance/replaced"

_POINTER = "_glance"
_THEIRS = "theirs"  # in a stage's note: the image was not made by us
_SETTLED = 3600.0  # seconds after which nobody carries out a record that another one replaced
_SIGN_OF_LIFE = 600  # seconds after which an upload that goes on says so to the cleaner
_log = logging.getLogger(__name__)


class Layers:
    """`rest` is the alternate store; `visibility` is that of committed layers in Glance."""

    def __init__(
        self,
        images: GlanceImages,
        old: OldImages,
        rest: Storage,
        visibility: str,
    ) -> None:
        self._images = images
        self._old = old
        self._rest = rest
        self._visibility = visibility
        self._told = False  # that publishing is refused

    # -- reading ---------------------------------------------------------------

    def pointer(self, image_id: str) -> str | None:
        """The image in Glance that `_glance` names, or None."""
        try:
            where = self._rest.get(keys.image(image_id, _POINTER)).decode("ascii", "replace")
        except NotFound:
            return None
        return where if UUID.fullmatch(where) else None

    def find(self, image_id: str) -> str | None:
        """The image in Glance that is a layer, one of 0.x included; or None."""
        return self.pointer(image_id) or self._old.find(image_id)

    def open(self, key: str, image_id: str) -> RemoteBlob:
        """Raise NotFound if there is no such layer."""
        return self._blob(key, self._found(key, image_id))

    def stat(self, key: str, image_id: str) -> Stat:
        """Raise NotFound if there is no such layer."""
        record = self._record(self._found(key, image_id), key)
        if record is None or record.size is None:
            raise NotFound(key)
        return Stat(record.size, record.created)

    def _found(self, key: str, image_id: str) -> str:
        where = self.find(image_id)
        if where is None:
            raise NotFound(key)
        return where

    def _record(self, where: str, key: str) -> GlanceImage | None:
        """Return the image; None if it is gone. Raise Refused if the caller may not see it."""
        record = self._images.find(where, key)
        if record is None and caller() is not None:
            with acting_for(None):
                hidden = self._images.find(where, key) is not None
            if hidden:
                raise Refused(f"{key}: the request's token may not see the image {where} in Glance")
        return record

    def _blob(self, key: str, where: str) -> RemoteBlob:
        credentials = caller()  # the layer may be read in another thread

        def fetch(start: int, _version: str | None) -> StoreResponse:
            with acting_for(credentials):
                return self._images.open(where, key, start)  # the data of an image never changes

        return RemoteBlob(key, fetch, FAILURES, storage_error)

    # -- staging ---------------------------------------------------------------

    def stage(self, key: str, pieces: Iterable[Buffer]) -> str:
        waiting = self._waiting(key)
        where = waiting or str(uuid.uuid4())
        note, said = f"{STAGES}/{where}", f"{key} {_THEIRS}" if waiting else key
        handle = f"{HANDLE}{where} {key}"
        self._rest.put(note, said.encode())
        try:
            if not waiting:
                self._images.create(where, key)
            self._images.upload(where, key, self._alive(note, said, pieces))
            self._rest.put(note, said.encode())  # its time is that of the last byte
        except BaseException:
            with contextlib.suppress(StorageError):
                if not waiting:
                    self._images.delete(where, key)
                self._rest.delete(note)
            raise
        return handle

    def _waiting(self, key: str) -> str | None:
        """Return the image that the caller made for this layer, if it still waits for data."""
        credentials = caller()
        if credentials is None or credentials.image is None:
            return None
        record = self._images.find(credentials.image, key)
        return record.id if record is not None and record.waits else None

    def _alive(self, note: str, said: str, pieces: Iterable[Buffer]) -> Iterator[Buffer]:
        """Pass the pieces on, and touch the note, lest the cleaner takes it for abandoned."""
        last = time.monotonic()
        for piece in pieces:
            yield piece
            if time.monotonic() > last + _SIGN_OF_LIFE:
                last = time.monotonic()
                self._rest.put(note, said.encode(), durable=False)

    def commit(self, handle: str) -> None:
        where, key, image_id = _parsed(handle)
        record = self._record(where, key)
        current = self.find(image_id)
        if record is None or record.size is None or not self._may_be(record, image_id, current):
            raise NotFound(f"{handle}: committed before, or abandoned")
        self._publish(where, key, image_id)
        if current not in (None, where):
            self._rest.put(f"{REPLACED}/{current}", image_id.encode())
        self._rest.put(keys.image(image_id, _POINTER), where.encode())
        self._rest.delete(f"{STAGES}/{where}")

    def _may_be(self, record: GlanceImage, image_id: str, current: str | None) -> bool:
        """Whether the image is staged; or was committed, and another one came over it.

        That happens where the alternate store lets two records be written at once: they are
        carried out in turns, until the one that stayed is the last.
        """
        if exists(self._rest, f"{STAGES}/{record.id}"):
            return True
        return record.properties.get(OWN_ID) == image_id and current != record.id

    def _publish(self, where: str, key: str, image_id: str) -> None:
        try:
            self._images.update(where, key, {OWN_ID: image_id, "visibility": self._visibility})
        except Refused as error:
            self._images.update(where, key, {OWN_ID: image_id})
            if not self._told:
                self._told = True
                _log.warning(
                    "layers stay private in Glance: glance_visibility: %s is refused: %s",
                    self._visibility,
                    error,
                )

    def abandon(self, handle: str) -> None:
        where, key, image_id = _parsed(handle)
        note = f"{STAGES}/{where}"
        try:
            theirs = self._rest.get(note).endswith(b" " + _THEIRS.encode())
        except NotFound:
            return
        # the commit may have ended before it removed the note
        if not theirs and self.pointer(image_id) != where:
            self._discard(where, key, image_id)
        self._rest.delete(note)

    def _discard(self, where: str, key: str, image_id: str) -> None:
        """Delete an upload; later, if a record that we did not see may just be naming it."""
        if self._rest.creates_atomically:
            self._images.delete(where, key)
        else:
            self._rest.put(f"{REPLACED}/{where}", image_id.encode())

    def open_staged(self, handle: str) -> RemoteBlob:
        where, key, _ = _parsed(handle)
        if not exists(self._rest, f"{STAGES}/{where}"):
            raise NotFound(handle)
        return self._blob(key, where)

    def is_staged(self, handle: str) -> bool:
        where, key, _ = _parsed(handle)
        if not exists(self._rest, f"{STAGES}/{where}"):
            return False
        record = self._record(where, key)
        return record is not None and record.size is not None

    def stages(self) -> Iterator[Stage]:
        for entry in self._rest.list(STAGES):
            note = f"{STAGES}/{entry.name}"
            with contextlib.suppress(NotFound):
                key = self._rest.get(note).decode().partition(" ")[0]
                modified = self._rest.stat(note).modified
                yield Stage(f"{HANDLE}{entry.name} {key}", key, modified)

    # -- deleting --------------------------------------------------------------

    def delete(self, image_id: str) -> None:
        """Delete the layer, and what 0.x kept with it."""
        for where in {self.pointer(image_id), self._old.find(image_id)} - {None}:
            assert where is not None
            note = f"{REPLACED}/{where}"
            self._rest.put(note, image_id.encode())  # should we end in the middle
            self._rest.delete(keys.image(image_id, _POINTER))
            self._images.delete(where, keys.image(image_id, "layer"))
            self._rest.delete(note)
        self._old.forget(image_id)

    def clean(self, before: float) -> int:
        """Delete images that were replaced before, return how many."""
        if not self._rest.creates_atomically:
            before = min(before, time.time() - _SETTLED)
        removed = 0
        for entry in self._rest.list(REPLACED):
            note = f"{REPLACED}/{entry.name}"
            with contextlib.suppress(NotFound):
                if self._rest.stat(note).modified >= before:
                    continue
                if self.pointer(self._rest.get(note).decode()) != entry.name:
                    removed += self._remove(entry.name)
                self._rest.delete(note)
        return removed

    def _remove(self, where: str) -> int:
        try:
            self._images.delete(where, where)
        except Refused as error:
            _log.warning("an image that was replaced stays in Glance: %s", error)
            return 0
        return 1


def _parsed(handle: str) -> tuple[str, str, str]:
    """The image in Glance, the key, and the v1 id."""
    where, _, key = handle.removeprefix(HANDLE).partition(" ")
    parts = key.split("/")
    if not UUID.fullmatch(where) or len(parts) != 3:
        raise NotFound(f"{handle}: not a handle")
    return where, key, parts[1]
