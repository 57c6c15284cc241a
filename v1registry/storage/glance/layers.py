"""Layers as images in Glance, and the small objects that say which image is which layer.

These objects are in the alternate store:

    images/ID/_glance               the id of the Glance image that is the layer of ID
    _v1registry/glance/stages/X     the Glance image X is a staged layer for the key in this object
    _v1registry/glance/replaced/X   the Glance image X was the layer of the v1 id in this object

The driver chooses the id of each Glance image and writes it down before it makes the image. So it
never loses an image, and never has to search among the images of other programs. A staged layer is
private and has no v1 id. The commit sets the v1 id and writes `_glance`, which makes it visible.
"""

from __future__ import annotations

import contextlib
import logging
import time
import uuid
from collections.abc import Iterable, Iterator

from v1registry.storage import Buffer, Stage, Stat, Storage, exists, keys
from v1registry.storage.errors import NotFound, Refused, StorageError
from v1registry.storage.glance.client import UUID, GlanceClient, acting_for, caller
from v1registry.storage.glance.images import OWN_ID, GlanceImage, GlanceImages
from v1registry.storage.glance.legacy import OldImages
from v1registry.storage.openstack import FAILURES
from v1registry.storage.remote_blob import RemoteBlob, StoreResponse

HANDLE = "glance:"  # begins the handles of layers
STAGES = f"{keys.OURS}/glance/stages"
REPLACED = f"{keys.OURS}/glance/replaced"

_POINTER = "_glance"
_CALLERS_IMAGE = "theirs"  # in a stage's note: the caller made the Glance image
_SETTLED = 3600.0  # seconds after which no process executes a commit record that was replaced
_TOUCH_INTERVAL = 600  # seconds between touches of the note of a running upload, for the cleaner
_log = logging.getLogger(__name__)


class Layers:
    """Keeps layers in Glance; `rest` is the alternate store, `visibility` that of committed layers."""

    def __init__(
        self,
        client: GlanceClient,
        images: GlanceImages,
        old: OldImages,
        rest: Storage,
        visibility: str,
    ) -> None:
        self._client = client
        self._images = images
        self._old = old
        self._rest = rest
        self._visibility = visibility
        self._warned = False  # that Glance refuses the visibility

    # -- reading ---------------------------------------------------------------

    def pointer(self, image_id: str) -> str | None:
        """Return the Glance image that `_glance` names, or None."""
        try:
            glance_id = self._rest.get(keys.image(image_id, _POINTER)).decode("ascii", "replace")
        except NotFound:
            return None
        return glance_id if UUID.fullmatch(glance_id) else None

    def find(self, image_id: str) -> str | None:
        """Return the Glance image of a layer, also one of 0.x; or None."""
        return self.pointer(image_id) or self._old.find(image_id)

    def open(self, key: str, image_id: str) -> RemoteBlob:
        """Open a layer. Raise NotFound if there is none."""
        return self._blob(key, self._found(key, image_id))

    def stat(self, key: str, image_id: str) -> Stat:
        """Return size and time of a layer. Raise NotFound if there is none."""
        record = self._record(self._found(key, image_id), key)
        if record is None or record.size is None:
            raise NotFound(key)
        return Stat(record.size, record.created)

    def _found(self, key: str, image_id: str) -> str:
        glance_id = self.find(image_id)
        if glance_id is None:
            raise NotFound(key)
        return glance_id

    def _record(self, glance_id: str, key: str) -> GlanceImage | None:
        """Return the image; None if it is gone. Raise Refused if the caller may not see it."""
        record = self._images.find(glance_id, key)
        if record is None and caller() is not None:
            with acting_for(None):
                hidden = self._images.find(glance_id, key) is not None
            if hidden:
                raise Refused(
                    f"{key}: the request's token may not see the image {glance_id} in Glance"
                )
        return record

    def _blob(self, key: str, glance_id: str) -> RemoteBlob:
        credentials = caller()  # the layer may be read in another thread

        def fetch(start: int, _version: str | None) -> StoreResponse:
            with acting_for(credentials):
                return self._images.open(glance_id, key, start)  # the data of an image never change

        return RemoteBlob(key, fetch, FAILURES, self._client.storage_error)

    # -- staging ---------------------------------------------------------------

    def stage(self, key: str, pieces: Iterable[Buffer]) -> str:
        waiting = self._waiting(key)
        glance_id = waiting or str(uuid.uuid4())
        note, said = f"{STAGES}/{glance_id}", f"{key} {_CALLERS_IMAGE}" if waiting else key
        handle = f"{HANDLE}{glance_id} {key}"
        self._rest.put(note, said.encode())
        try:
            if not waiting:
                self._images.create(glance_id, key)
            self._images.upload(glance_id, key, self._touching(note, said, pieces))
            # touch it: the stage's time is that of the last byte
            self._rest.put(note, said.encode())
        except BaseException:
            with contextlib.suppress(StorageError):
                if not waiting:
                    self._images.delete(glance_id, key)
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

    def _touching(self, note: str, said: str, pieces: Iterable[Buffer]) -> Iterator[Buffer]:
        """Yield the pieces; touch the note, so that the cleaner does not delete a running upload."""
        last = time.monotonic()
        for piece in pieces:
            yield piece
            if time.monotonic() > last + _TOUCH_INTERVAL:
                last = time.monotonic()
                self._rest.put(note, said.encode(), durable=False)

    def commit(self, handle: str) -> None:
        glance_id, key, image_id = _parsed(handle)
        record = self._record(glance_id, key)
        current = self.find(image_id)
        if record is None or record.size is None or not self._may_be(record, image_id, current):
            raise NotFound(f"{handle}: committed before, or abandoned")
        self._publish(glance_id, key, image_id)
        if current not in (None, glance_id):
            self._rest.put(f"{REPLACED}/{current}", image_id.encode())
        self._rest.put(keys.image(image_id, _POINTER), glance_id.encode())
        self._rest.delete(f"{STAGES}/{glance_id}")

    def _may_be(self, record: GlanceImage, image_id: str, current: str | None) -> bool:
        """Return whether the image is staged, or was committed and then replaced.

        It may be replaced if `create` of the alternate store is not atomic: then two commit records
        are executed in turn until the one that stayed is the last.
        """
        if exists(self._rest, f"{STAGES}/{record.id}"):
            return True
        return record.properties.get(OWN_ID) == image_id and current != record.id

    def _publish(self, glance_id: str, key: str, image_id: str) -> None:
        try:
            self._images.update(glance_id, key, {OWN_ID: image_id, "visibility": self._visibility})
        except Refused as error:
            self._images.update(glance_id, key, {OWN_ID: image_id})
            if not self._warned:
                self._warned = True
                _log.warning(
                    "layers stay private in Glance: glance_visibility: %s is refused: %s",
                    self._visibility,
                    error,
                )

    def abandon(self, handle: str) -> None:
        glance_id, key, image_id = _parsed(handle)
        note = f"{STAGES}/{glance_id}"
        try:
            theirs = self._rest.get(note).endswith(b" " + _CALLERS_IMAGE.encode())
        except NotFound:
            return
        # a commit may have stopped before it deleted the note
        if not theirs and self.pointer(image_id) != glance_id:
            self._discard(glance_id, key, image_id)
        self._rest.delete(note)

    def _discard(self, glance_id: str, key: str, image_id: str) -> None:
        """Delete a staged layer; later if another process may still commit it."""
        if self._rest.creates_atomically:
            self._images.delete(glance_id, key)
        else:
            self._rest.put(f"{REPLACED}/{glance_id}", image_id.encode())

    def open_staged(self, handle: str) -> RemoteBlob:
        glance_id, key, _ = _parsed(handle)
        if not exists(self._rest, f"{STAGES}/{glance_id}"):
            raise NotFound(handle)
        return self._blob(key, glance_id)

    def is_staged(self, handle: str) -> bool:
        glance_id, key, _ = _parsed(handle)
        if not exists(self._rest, f"{STAGES}/{glance_id}"):
            return False
        record = self._record(glance_id, key)
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
        """Delete the layer and its properties of 0.x."""
        for glance_id in {self.pointer(image_id), self._old.find(image_id)} - {None}:
            assert glance_id is not None
            note = f"{REPLACED}/{glance_id}"
            self._rest.put(note, image_id.encode())  # in case this process ends here
            self._rest.delete(keys.image(image_id, _POINTER))
            self._images.delete(glance_id, keys.image(image_id, "layer"))
            self._rest.delete(note)
        self._old.forget(image_id)

    def clean(self, before: float) -> int:
        """Delete images that were replaced before `before`; return how many."""
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

    def _remove(self, glance_id: str) -> int:
        try:
            self._images.delete(glance_id, glance_id)
        except Refused as error:
            _log.warning("a replaced image stays in Glance: %s", error)
            return 0
        return 1


def _parsed(handle: str) -> tuple[str, str, str]:
    """Return the Glance image, the key and the v1 id of a handle. Raise NotFound for others."""
    glance_id, _, key = handle.removeprefix(HANDLE).partition(" ")
    parts = key.split("/")
    if not UUID.fullmatch(glance_id) or len(parts) != 3:
        raise NotFound(f"{handle}: not a handle")
    return glance_id, key, parts[1]
