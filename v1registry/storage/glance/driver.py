"""The driver for OpenStack Glance: layers are Glance images, all other objects are in an alternate store.

Another driver keeps the alternate store; its options are in the same flavor. It does what Glance
cannot: atomic creation, listings, and objects that belong to no image.

As in 0.x, an image in Glance has the name `[namespace/]repository:tag`. Its properties have the v1
image's JSON, ancestry and checksums, for other programs that read Glance. The driver itself reads
properties only if 0.x wrote them. It writes all values to the alternate store first, because a
property cannot hold long texts or all characters.
"""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Self

from v1registry.storage import (
    Blob,
    Buffer,
    ListEntry,
    Stage,
    StagedWrites,
    Stat,
    Storage,
    exists,
    keys,
)
from v1registry.storage.errors import NotFound, Refused
from v1registry.storage.glance.client import GlanceClient
from v1registry.storage.glance.images import GlanceImage, GlanceImages
from v1registry.storage.glance.layers import HANDLE, Layers
from v1registry.storage.glance.legacy import OldImages
from v1registry.storage.glance.names import ImageNames, name_of, tags_below
from v1registry.storage.glance.properties import DESCRIBED, LAYER, META, described, image_of, split
from v1registry.storage.loading import load
from v1registry.storage.memory import MemoryBlob

_log = logging.getLogger(__name__)


class GlanceStorage(Storage):
    """Keeps layers in Glance, all other objects in `rest`. Options: config/drivers/glance.py."""

    def __init__(self, options: Mapping[str, Any], rest: Storage) -> None:
        client = GlanceClient(options)
        self._rest = rest
        self._images = GlanceImages(client)
        self._old = OldImages(self._images, client)
        visibility = options["glance_visibility"]
        self._layers = Layers(client, self._images, self._old, rest, visibility)
        self._names = ImageNames(self._images)
        self.creates_atomically = rest.creates_atomically

    # -- reading ---------------------------------------------------------------

    def get(self, key: str) -> bytes:
        with self.open(key) as blob:
            return blob.read()

    def open(self, key: str) -> Blob:
        image_id, part = split(key)
        if part == LAYER:
            return self._layers.open(key, image_id)
        try:
            return self._rest.open(key)
        except NotFound:
            return MemoryBlob(self._property_of_0x(key)[0])

    def stat(self, key: str) -> Stat:
        image_id, part = split(key)
        if part == LAYER:
            return self._layers.stat(key, image_id)
        try:
            return self._rest.stat(key)
        except NotFound:
            data, record = self._property_of_0x(key)
            return Stat(len(data), record.created)

    def list(self, folder: str) -> Iterator[ListEntry]:
        seen = set()
        for entry in self._rest.list(folder):
            seen.add(entry.name)
            yield entry
        if folder == keys.IMAGES:
            yield from (ListEntry(name, True) for name in self._old.ids() if name not in seen)
        elif image_id := image_of(folder):
            inside = self._inside(folder, image_id)
            yield from (ListEntry(name, False) for name in inside if name not in seen)

    def _inside(self, folder: str, image_id: str) -> Iterator[str]:
        """Yield the files of a v1 image that are in Glance."""
        glance_id = self._layers.find(image_id)
        record = self._images.find(glance_id, folder) if glance_id else None
        if record is None:
            return
        if record.size is not None:
            yield LAYER
        if glance_id == self._old.find(image_id):
            yield from (name[len(META) :] for name in record.properties if name.startswith(META))

    def _property_of_0x(self, key: str) -> tuple[bytes, GlanceImage]:
        """Return a value that 0.x wrote to a property, if the image was not pushed again since.

        Raise NotFound if there is none.
        """
        image_id, part = split(key)
        glance_id = self._old.find(image_id) if part else None
        if glance_id is not None and self._layers.pointer(image_id) is None:
            record = self._images.find(glance_id, key)
            value = record.properties.get(f"{META}{part}") if record else None
            if record is not None and isinstance(value, str):
                return value.encode("utf-8", "surrogatepass"), record
        raise NotFound(key)

    # -- writing small values ----------------------------------------------------

    def put(self, key: str, data: bytes, *, durable: bool = True) -> None:
        if split(key)[1] == LAYER:
            self.commit(self.stage(key, [data]))
            return
        self.describe({key: data})
        self._rest.put(key, data, durable=durable)
        self.name({key: data})

    def put_all(self, values: Mapping[str, bytes]) -> None:
        if any(split(key)[1] == LAYER for key in values):
            super().put_all(values)
            return
        self.describe(values)
        self._rest.put_all(values)
        self.name(values)

    def create(self, key: str, data: bytes) -> bool:
        if split(key)[1] != LAYER:
            return not self.has_property_of_0x(key) and self._rest.create(key, data)
        if exists(self, key):
            return False
        self.put(key, data)
        return True

    def has_property_of_0x(self, key: str) -> bool:
        """Return whether 0.x wrote this small value to a property."""
        try:
            self._property_of_0x(key)
        except NotFound:
            return False
        return True

    def stage_values(self, values: Mapping[str, bytes], after: Iterable[str] = ()) -> StagedWrites:
        if any(split(key)[1] == LAYER for key in values):
            return super().stage_values(values, after)
        return _GlanceStagedWrites(self, values, self._rest.stage_values(values, after))

    def flush(self, keys: Iterable[str]) -> None:
        self._rest.flush(keys)  # a layer's pointer is in the same folder of the alternate store

    def describe(self, values: Mapping[str, bytes]) -> None:
        """Write image JSON, ancestry and checksums to the properties of images in Glance.

        Call it before writing the values: if Glance fails, the caller repeats the whole write.
        """
        for image_id, fitting in described(values):
            glance_id = self._layers.pointer(image_id)
            if glance_id is None:
                continue
            try:
                self._images.update(glance_id, f"{keys.IMAGES}/{image_id}", fitting)
            except (NotFound, Refused) as error:
                _log.warning("Glance refuses the properties of an image: %s", error)

    def name(self, values: Mapping[str, bytes]) -> None:
        """Name the images in Glance after the tags among these values."""
        for key, data in values.items():
            name = name_of(key)
            if name is not None:
                self._names.give(name, self._layers.find(data.decode("ascii", "replace").strip()))

    # -- deleting ------------------------------------------------------------------

    def delete(self, key: str, *, durable: bool = True) -> None:
        image_id, part = split(key)
        if part == LAYER:
            self._keep_properties(image_id)
            self._layers.delete(image_id)
            return
        self._rest.delete(key, durable=durable)
        with contextlib.suppress(NotFound):
            self._images.drop(self._property_of_0x(key)[1].id, key, f"{META}{part}")
        name = name_of(key)
        if name is not None:
            self._names.give(name, None)

    def _keep_properties(self, image_id: str) -> None:
        """Copy the properties of an image of 0.x to the alternate store before its layer is deleted."""
        folder = f"{keys.IMAGES}/{image_id}"
        if self._layers.find(image_id) != self._old.find(image_id):
            return
        for name in list(self._inside(folder, image_id)):
            key = f"{folder}/{name}"
            if name != LAYER and not exists(self._rest, key):
                self._rest.put(key, self._property_of_0x(key)[0])

    def delete_folder(self, folder: str) -> None:
        if folder == keys.IMAGES:
            for entry in list(self.list(folder)):
                self.delete_folder(f"{folder}/{entry.name}")
        elif image_id := image_of(folder):
            # first: without it the image does not exist
            self._rest.delete(keys.image(image_id, "json"))
            self._layers.delete(image_id)
        tags = list(tags_below(self._rest, folder)) if folder.startswith(keys.REPOSITORIES) else []
        self._rest.delete_folder(folder)
        for name in filter(None, map(name_of, tags)):
            self._names.give(name, None)

    # -- writing large objects -------------------------------------------------------

    def stage(self, key: str, pieces: Iterable[Buffer]) -> str:
        if split(key)[1] == LAYER:
            return self._layers.stage(key, pieces)
        return self._rest.stage(key, pieces)

    def commit(self, handle: str) -> None:
        self._owner(handle).commit(handle)

    def abandon(self, handle: str) -> None:
        self._owner(handle).abandon(handle)

    def open_staged(self, handle: str) -> Blob:
        return self._owner(handle).open_staged(handle)

    def is_staged(self, handle: str) -> bool:
        return self._owner(handle).is_staged(handle)

    def _owner(self, handle: str) -> Layers | Storage:
        return self._layers if handle.startswith(HANDLE) else self._rest

    def stages(self) -> Iterator[Stage]:
        yield from self._layers.stages()
        yield from self._rest.stages()

    # -- checking and cleaning -------------------------------------------------------------------

    def prepare(self) -> None:
        """Check that both stores can be used."""
        self._rest.prepare()
        trial = str(uuid.uuid4())
        self._images.create(trial, "storage")
        self._images.delete(trial, "storage")

    def check(self) -> None:
        """Check both stores; only read Glance, because each write leaves a row in its database."""
        self._rest.check()
        next(self._images.list("storage"), None)

    def clean(self, before: float) -> int:
        return self._rest.clean(before) + self._layers.clean(before)


class _GlanceStagedWrites(StagedWrites):
    """Values staged in the alternate store; images get properties and names when they get visible."""

    def __init__(
        self, store: GlanceStorage, values: Mapping[str, bytes], rest: StagedWrites
    ) -> None:
        super().__init__(store, values)
        self._store = store
        self._rest = rest
        self._described = False

    def put(self, key: str) -> None:
        if not self._described and split(key)[1] in DESCRIBED:
            self._described = True  # all at once: the files of an image become visible together
            self._store.describe(self._values)
        self._rest.put(key)
        self._store.name({key: self._values[key]})

    def create(self, key: str) -> bool:
        return not self._store.has_property_of_0x(key) and self._rest.create(key)

    def __enter__(self) -> Self:
        self._rest.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._rest.__exit__(*error)


def make(options: Mapping[str, Any], run_in_thread: Callable[..., Any]) -> GlanceStorage:
    """Return the driver for this part of the configuration."""
    return GlanceStorage(
        options, load({**options, "storage": options["storage_alternate"]}, run_in_thread)
    )
