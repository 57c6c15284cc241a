"""Readers for everything that can be imported: OCI layouts and archives of any `docker save`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from v1registry.lib.images.images import parent_of
from v1registry.lib.names import ImageId
from v1registry.lib.oci.convert import Unconvertible, complete, image_config
from v1registry.transfer import platforms
from v1registry.transfer.archive import ArchiveReader
from v1registry.transfer.errors import TransferError
from v1registry.transfer.layout import Folder, Layout, NamedImage
from v1registry.transfer.oci_to_v1 import LayerFile, V1Layer, diff_ids_of, v1_chain
from v1registry.transfer.platforms import Platform

_MOST_ANCESTORS = 10_000
_MOST_JSON = 64 * 1024 * 1024  # bytes of the JSON of an image and its ancestors


class Bundle(Protocol):
    """Images in a file or folder."""

    def images(self) -> list[NamedImage]: ...

    def chain(self, key: str) -> list[V1Layer]:
        """Return the image as v1 images, the base image first. Raise TransferError."""


@contextlib.contextmanager
def opened(path: Path, platform: str, max_bytes: int) -> Iterator[Bundle]:
    """Yield the bundle at `path`. `platform` (`linux/arm/v7`) chooses among images for several.

    `max_bytes`: see ArchiveReader. Raise TransferError if the path holds no bundle.
    """
    wanted = platforms.parse(platform)
    if path.is_dir():
        yield Layout(Folder(path), wanted)
        return
    try:
        if not path.is_file():  # opening a named pipe would wait for its other end
            raise TransferError(f"{path} is neither a file nor a folder")
        file = path.open("rb")
    except OSError as error:
        raise TransferError(f"{path}: {error.strerror}") from None
    with file:
        reader = ArchiveReader(file, max_bytes)
        yield _archive(reader, path, wanted)


def _archive(reader: ArchiveReader, path: Path, platform: Platform) -> Bundle:
    """Return the bundle in an archive.

    Use the old format (`repositories`) only if its ids and JSON are the original ones. Docker 1.10
    and later, and other tools, derive them from the configuration. Then use `manifest.json`, so that
    an image gets the same ids in every format.
    """
    old = OldArchive(reader) if "repositories" in reader else None
    new = DockerArchive(reader) if "manifest.json" in reader else None
    if old is not None and old.is_complete() and (new is None or old.is_origin_of(new)):
        return old
    if new is not None:
        return new
    if "index.json" in reader:
        return Layout(reader, platform)
    raise TransferError(f"{path} is neither an archive of `docker save` nor an OCI layout")


class OldArchive:
    """An archive with `repositories` and a folder for each v1 image. Ids and JSON stay unchanged."""

    def __init__(self, reader: ArchiveReader) -> None:
        self._reader = reader
        self._repositories = _names(reader.json("repositories"))
        self._parents: dict[str, str | None] = {}

    def is_complete(self) -> bool:
        """Return whether all tagged images and their ancestors are complete in this format.

        They are not in archives of Docker 25 and later, which keep layers elsewhere.
        """
        complete_ids: set[str] = set()
        for _, name in self._repositories:
            for id in self._ids(name):
                if id in complete_ids:
                    break  # its ancestors are complete too
                if not self._has(id):
                    return False
                complete_ids.add(id)
        return bool(complete_ids)

    def is_origin_of(self, new: DockerArchive) -> bool:
        """Return whether Docker computed the configurations of `new` from the v1 images here."""
        ids = dict(self._repositories)
        if not all(image.name in ids for image in new.images()):
            return False
        pairs = {
            (ids[str(image.name)], new.config_name(image.key)): image for image in new.images()
        }
        try:
            return all(
                self._config(id, config) == config
                for (id, _), image in pairs.items()
                for config in [new.config(image.key)]
            )
        except (Unconvertible, TransferError):
            return False

    def images(self) -> list[NamedImage]:
        return [NamedImage(id, name) for name, id in self._repositories]

    def chain(self, key: str) -> list[V1Layer]:
        return [
            V1Layer(id, data, LayerFile(self._reader, f"{id}/layer.tar"), None)
            for id, data in reversed(self._jsons(key))
        ]

    def _config(self, id: str, other: bytes) -> bytes:
        """Return the configuration of the image, with the diff_ids of the configuration `other`."""
        jsons = [data for _, data in reversed(self._jsons(id))]
        return complete(image_config(jsons, diff_ids_of(other)))

    def _has(self, id: str) -> bool:
        return f"{id}/json" in self._reader and f"{id}/layer.tar" in self._reader

    def _ids(self, id: str) -> Iterator[str]:
        """Yield the id of the image and of its ancestors, up to the first that is missing."""
        seen: set[str] = set()
        wanted: str | None = id
        while wanted is not None:
            if wanted in seen:
                raise TransferError(f"the ancestors of {id} form a circle")
            seen.add(wanted)
            if len(seen) > _MOST_ANCESTORS:
                raise TransferError(f"{id} has more than {_MOST_ANCESTORS} ancestors")
            yield wanted
            wanted = self._parent(wanted)

    def _parent(self, id: str) -> str | None:
        """Return the parent of an image; None if the image is missing. Each JSON is read once."""
        if id not in self._parents:
            is_there = f"{id}/json" in self._reader
            self._parents[id] = parent_of(self._json(id)) if is_there else None
        return self._parents[id]

    def _jsons(self, id: str) -> list[tuple[str, bytes]]:
        """Return the JSON of the image and its ancestors. Raise TransferError if they are too large."""
        found, total = [], 0
        for one in self._ids(id):
            found.append((one, self._json(one)))
            total += len(found[-1][1])
            if total > _MOST_JSON:
                raise TransferError(
                    f"{id} and its ancestors have more than {_MOST_JSON} bytes of JSON"
                )
        return found

    def _json(self, id: str) -> bytes:
        return self._reader.read(f"{id}/json")


class DockerArchive:
    """An archive with `manifest.json`, which names a configuration and layers for each image."""

    def __init__(self, reader: ArchiveReader) -> None:
        self._reader = reader
        self._entries = reader.json("manifest.json")
        if not isinstance(self._entries, list) or not all(map(_is_entry, self._entries)):
            raise TransferError("manifest.json in the archive was not written by `docker save`")

    def images(self) -> list[NamedImage]:
        return [
            NamedImage(str(index), name)
            for index, entry in enumerate(self._entries)
            for name in entry.get("RepoTags") or [None]
        ]

    def config_name(self, key: str) -> str:
        return str(self._entries[int(key)]["Config"])

    def config(self, key: str) -> bytes:
        return self._reader.read(self.config_name(key))

    def chain(self, key: str) -> list[V1Layer]:
        names = self._entries[int(key)]["Layers"] or []
        return v1_chain(self.config(key), [LayerFile(self._reader, name) for name in names])


def _names(document: Any) -> list[tuple[str, str]]:
    """Return `repository:tag` and image id of each tag in `repositories`. Raise TransferError."""
    try:
        pairs = [
            (f"{name}:{tag}", id) for name, tags in document.items() for tag, id in tags.items()
        ]
    except AttributeError:
        raise TransferError(
            "the file `repositories` in the archive was not written by `docker save`"
        ) from None
    if not all(ImageId.is_valid(id) for _, id in pairs):
        raise TransferError("the file `repositories` in the archive holds an invalid image id")
    return pairs


def _is_entry(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("Config"), str)
        and isinstance(entry.get("Layers") or [], list)
        and all(isinstance(name, str) for name in entry.get("Layers") or [])
        and isinstance(entry.get("RepoTags") or [], list)
        and all(isinstance(name, str) for name in entry.get("RepoTags") or [])
    )
