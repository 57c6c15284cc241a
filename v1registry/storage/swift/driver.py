"""The driver for OpenStack Swift: one container, with the same object names as 0.x.

Layers are large objects, see large_objects.py. The store has no objects for folders: a folder exists
if an object's name begins with its name.
"""

from __future__ import annotations

import posixpath
import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from v1registry.storage import ListEntry, Stat, keys
from v1registry.storage.errors import Refused
from v1registry.storage.parts import PartBuffer
from v1registry.storage.remote import URL_SECONDS, tags_first
from v1registry.storage.remote_blob import RemoteBlob
from v1registry.storage.swift.client import SwiftAccount
from v1registry.storage.swift.large_objects import LargeObjectStorage
from v1registry.storage.swift.objects import Objects


class SwiftStorage(LargeObjectStorage):
    """Keeps objects in one container, below `storage_path`. Options: config/drivers/swift.py."""

    unless_atomic = "swift_conditional_writes: false"

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._account = SwiftAccount(options)
        self._prefix = prefix(options["storage_path"])
        buffer = PartBuffer(options["swift_upload_memory"], options["swift_segment_size"])
        super().__init__(Objects(self._account, self._prefix), buffer)
        self._url_key = options["swift_temp_url_key"]
        self._url_digest = options["swift_temp_url_digest"]
        self._is_public: bool | None = None  # unknown yet
        self.creates_atomically = options["swift_conditional_writes"]

    @property
    def place(self) -> str:
        return self._account.container

    # -- reading -----------------------------------------------------------

    def open(self, key: str) -> RemoteBlob:
        return self._objects.open(key)

    def stat(self, key: str) -> Stat:
        return self._objects.head(key).stat

    def list(self, folder: str) -> Iterator[ListEntry]:
        for item in self._objects.items(f"{folder}/", delimiter="/"):
            yield ListEntry(posixpath.basename(item.key), item.is_folder)

    def url(self, key: str) -> str | None:
        name = self._prefix + key
        if self._url_key:
            return self._account.temporary_url(name, self._url_key, self._url_digest, URL_SECONDS)
        if self._is_public is None:
            self._is_public = self._account.is_public()
        return self._account.public_url(name) if self._is_public else None

    # -- writing small values ----------------------------------------------

    def put(self, key: str, data: bytes, *, durable: bool = True) -> None:
        self._objects.put(key, data)

    def _create(self, key: str, data: bytes) -> bool:
        """Create an object; not atomic: of two calls at the same instant, both may write.

        The later write replaces the other. Its call returns True; the other call returns False if it
        reads the later write.
        """
        mine, first = secrets.token_hex(8), {"If-None-Match": "*"}
        answer = self._objects.put(key, data, upload=mine, headers=first, ok=(412,))
        if answer.ok and self.creates_atomically:
            return True
        # 412 may follow a first attempt that succeeded although its response was lost
        found = self._objects.find(key)
        return found is not None and found.upload == mine

    def delete(self, key: str, *, durable: bool = True) -> None:
        if posixpath.basename(key) == "layer":  # only staged objects have segments
            self._delete_large(key)
        else:
            self._objects.remove(key)

    def delete_folder(self, folder: str) -> None:
        for key in tags_first([item.key for item in self._objects.items(f"{folder}/")]):
            self.delete(key)

    # -- checking -----------------------------------------------------------

    def prepare(self) -> None:
        """Check that the container can be used and the store supports static large objects."""
        super().prepare()
        known = self._account.url_keys() if self._url_key else None
        if known is not None and self._url_key not in known:
            raise Refused(
                "swift_temp_url_key is none of the keys of the account and the container: set it"
                f" there, as by `swift post -m Temp-URL-Key:... {self.place}`"
            )
        key = f"{keys.OURS}/check-{secrets.token_hex(8)}/layer"
        self.commit(self.stage(key, [b"true"]))
        whole = self.get(key) == b"true"
        self.delete(key)
        if not whole:
            raise Refused(f"{self.place}: the store does not support static large objects (slo)")


def prefix(storage_path: str | None) -> str:
    """Return the prefix of all names: `/registry` -> `registry/`; `/` -> `/`, as in 0.x."""
    return f"{storage_path or '/'}/".removeprefix("/")


def make(options: Mapping[str, Any], _run_in_thread: Callable[..., Any]) -> SwiftStorage:
    """Return the driver for this part of the configuration."""
    return SwiftStorage(options)
