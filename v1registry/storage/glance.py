"""The driver for OpenStack Glance: layers are its images, all else lies in an alternate store.

The alternate store is another driver's, in the same configuration. It gives what Glance cannot:
records that are created once, listings, a place for what belongs to no image.

As in 0.x, an image in Glance has the name `[namespace/]repository:tag`, and in its properties the
v1 image's JSON, ancestry and checksums: for other readers of Glance. Here they are read only where
0.x wrote them; what this version writes is in the alternate store first of all, for a property
holds neither every text nor a long one.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from v1registry.storage import Blob, Buffer, Entry, Stage, Stat, Storage, exists, keys
from v1registry.storage.errors import NotFound, Refused
from v1registry.storage.glanceasker import ENDPOINT, IMAGE, TOKEN, Askers
from v1registry.storage.glanceclient import Clients
from v1registry.storage.glanceimages import GlanceImages, Record
from v1registry.storage.glancelayers import HANDLE, Layers
from v1registry.storage.glancenames import Names, name_of, tags_below
from v1registry.storage.glanceold import OldImages
from v1registry.storage.loading import load
from v1registry.storage.memory import MemoryBlob

_LAYER = "layer"
_META = "meta_"  # begins the properties that 0.x made of the files of an image
_DESCRIBED = ("json", "ancestry", "_checksum")  # files that become properties still
_LARGEST = 60_000  # bytes of one; the column in Glance takes 65535

_log = logging.getLogger(__name__)


class GlanceStorage(Storage):
    """Keeps layers in Glance, all else in `rest`. Options: config/drivers/glance.py."""

    def __init__(self, options: Mapping[str, Any], rest: Storage) -> None:
        clients = Clients(options)
        self._rest = rest
        self._clients = clients
        self._askers = Askers(options, clients)
        self._images = GlanceImages(clients)
        self._old = OldImages(self._images, clients)
        visibility = options["glance_visibility"]
        self._layers = Layers(clients, self._images, self._old, rest, visibility)
        self._names = Names(self._images)
        self.creates_atomically = rest.creates_atomically
        if options["glance_request_headers"]:
            self.heeds = (TOKEN, ENDPOINT, IMAGE)

    def hear(self, headers: Mapping[str, str]) -> None:
        self._clients.asked_by(self._askers.of(headers))

    # -- reading ---------------------------------------------------------------

    def get(self, key: str) -> bytes:
        with self.open(key) as blob:
            return blob.read()

    def open(self, key: str) -> Blob:
        image_id, part = _split(key)
        if part == _LAYER:
            return self._layers.open(key, image_id)
        try:
            return self._rest.open(key)
        except NotFound:
            return MemoryBlob(self._left(key)[0])

    def stat(self, key: str) -> Stat:
        image_id, part = _split(key)
        if part == _LAYER:
            return self._layers.stat(key, image_id)
        try:
            return self._rest.stat(key)
        except NotFound:
            data, record = self._left(key)
            return Stat(len(data), record.created)

    def list(self, folder: str) -> Iterator[Entry]:
        seen = set()
        for entry in self._rest.list(folder):
            seen.add(entry.name)
            yield entry
        if folder == keys.IMAGES:
            yield from (Entry(name, True) for name in self._old.ids() if name not in seen)
        elif image_id := _image_of(folder):
            inside = self._inside(folder, image_id)
            yield from (Entry(name, False) for name in inside if name not in seen)

    def _inside(self, folder: str, image_id: str) -> Iterator[str]:
        """What Glance has of an image."""
        where = self._layers.find(image_id)
        record = self._images.find(where, folder) if where else None
        if record is None:
            return
        if record.size is not None:
            yield _LAYER
        if where == self._old.find(image_id):
            yield from (name[len(_META) :] for name in record.properties if name.startswith(_META))

    def _left(self, key: str) -> tuple[bytes, Record]:
        """What 0.x left in a property of an image that was not pushed again. Raise NotFound."""
        image_id, part = _split(key)
        where = self._old.find(image_id) if part else None
        if where is not None and self._layers.pointer(image_id) is None:
            record = self._images.find(where, key)
            value = record.properties.get(f"{_META}{part}") if record else None
            if record is not None and isinstance(value, str):
                return value.encode("utf-8", "surrogatepass"), record
        raise NotFound(key)

    # -- writing small values ----------------------------------------------------

    def put(self, key: str, data: bytes, *, durable: bool = True) -> None:
        if _split(key)[1] == _LAYER:
            self.commit(self.stage(key, [data]))
            return
        self._describe({key: data})
        self._rest.put(key, data, durable=durable)
        self._name({key: data})

    def put_all(self, values: Mapping[str, bytes]) -> None:
        if any(_split(key)[1] == _LAYER for key in values):
            super().put_all(values)
            return
        self._describe(values)
        self._rest.put_all(values)
        self._name(values)

    def create(self, key: str, data: bytes) -> bool:
        image_id, part = _split(key)
        if (part == _LAYER or (part and self._old.find(image_id))) and exists(self, key):
            return False
        if part == _LAYER:
            self.put(key, data)
            return True
        return self._rest.create(key, data)

    def _describe(self, values: Mapping[str, bytes]) -> None:
        """Write what belongs there to the properties of the image in Glance.

        Before the values themselves: if Glance fails now, the whole is done again.
        """
        for image_id, of_image in itertools.groupby(values, lambda key: _split(key)[0]):
            described = {key: _split(key)[1] for key in of_image if _split(key)[1] in _DESCRIBED}
            fitting = {
                f"{_META}{part}": text
                for key, part in described.items()
                if (text := _as_property(values[key])) is not None
            }
            where = self._layers.pointer(image_id) if fitting else None
            if where is None:
                continue
            try:
                self._images.update(where, f"{keys.IMAGES}/{image_id}", fitting)
            except (NotFound, Refused) as error:
                _log.warning("Glance does not take the description of an image: %s", error)

    def _name(self, values: Mapping[str, bytes]) -> None:
        """Name the images in Glance that tags point to now."""
        for key, data in values.items():
            name = name_of(key)
            if name is not None:
                self._names.give(name, self._layers.find(data.decode("ascii", "replace").strip()))

    # -- deleting ------------------------------------------------------------------

    def delete(self, key: str, *, durable: bool = True) -> None:
        image_id, part = _split(key)
        if part == _LAYER:
            self._keep_the_rest(image_id)
            self._layers.delete(image_id)
            return
        self._rest.delete(key, durable=durable)
        with contextlib.suppress(NotFound):
            self._images.drop(self._left(key)[1].id, key, f"{_META}{part}")
        name = name_of(key)
        if name is not None:
            self._names.give(name, None)

    def _keep_the_rest(self, image_id: str) -> None:
        """Save what 0.x kept with a layer, and what would go with it."""
        folder = f"{keys.IMAGES}/{image_id}"
        if self._layers.find(image_id) != self._old.find(image_id):
            return
        for name in list(self._inside(folder, image_id)):
            key = f"{folder}/{name}"
            if name != _LAYER and not exists(self._rest, key):
                self._rest.put(key, self._left(key)[0])

    def delete_folder(self, folder: str) -> None:
        if folder == keys.IMAGES:
            for entry in list(self.list(folder)):
                self.delete_folder(f"{folder}/{entry.name}")
        elif image_id := _image_of(folder):
            self._rest.delete(keys.image(image_id, "json"))  # first: without it there is no image
            self._layers.delete(image_id)
        tags = list(tags_below(self._rest, folder)) if folder.startswith(keys.REPOSITORIES) else []
        self._rest.delete_folder(folder)
        for name in filter(None, map(name_of, tags)):
            self._names.give(name, None)

    # -- writing large objects -------------------------------------------------------

    def stage(self, key: str, pieces: Iterable[Buffer]) -> str:
        if _split(key)[1] == _LAYER:
            return self._layers.stage(key, pieces)
        return self._rest.stage(key, pieces)

    def commit(self, handle: str) -> None:
        self._keeper(handle).commit(handle)

    def abandon(self, handle: str) -> None:
        self._keeper(handle).abandon(handle)

    def open_staged(self, handle: str) -> Blob:
        return self._keeper(handle).open_staged(handle)

    def is_staged(self, handle: str) -> bool:
        return self._keeper(handle).is_staged(handle)

    def _keeper(self, handle: str) -> Layers | Storage:
        return self._layers if handle.startswith(HANDLE) else self._rest

    def stages(self) -> Iterator[Stage]:
        yield from self._layers.stages()
        yield from self._rest.stages()

    # -- is it well -------------------------------------------------------------------

    def prepare(self) -> None:
        """Look whether both stores are ours to use."""
        self._rest.prepare()
        trial = str(uuid.uuid4())
        self._images.create(trial, "storage")
        self._images.delete(trial, "storage")

    def check(self) -> None:
        """Glance is only read: a trial would leave a row in its database each time."""
        self._rest.check()
        next(self._images.list("storage"), None)

    def clean(self, before: float) -> int:
        return self._rest.clean(before) + self._layers.clean(before)


def _split(key: str) -> tuple[str, str]:
    """The id and the file of `images/ID/FILE`; nothing of other keys."""
    parts = key.split("/")
    return (parts[1], parts[2]) if len(parts) == 3 and parts[0] == keys.IMAGES else ("", "")


def _image_of(folder: str) -> str:
    """The id of the folder of one image; nothing of other folders."""
    return _split(f"{folder}/{_LAYER}")[0]


def _as_property(data: bytes) -> str | None:
    """The value as a property, or None: Glance takes no long ones, and not every character."""
    if len(data) > _LARGEST:
        return None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return None if any(sign == "\0" or sign > "\uffff" for sign in text) else text


def make(options: Mapping[str, Any], offload: Callable[..., Any]) -> GlanceStorage:
    """The driver, from its part of the configuration."""
    return GlanceStorage(
        options, load({**options, "storage": options["storage_alternate"]}, offload)
    )
