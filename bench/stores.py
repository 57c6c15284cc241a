"""The stores of the servers, and the deletion of a run's data."""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from bench.material import Layer
from tests.backends.ceph import Ceph
from tests.backends.swift import Swift
from v1registry.storage import Storage


class Store(ABC):
    """A store of one or several servers. `seeded` is set when it has the layers for pulls."""

    seeded = False

    @abstractmethod
    def remove(self, name: str, layers: Sequence[Layer]) -> None:
        """Delete a repository and its layers."""

    def settle(self) -> None:  # noqa: B027
        """Do the pending work of the store, which would disturb the next run."""


class Files(Store):
    """A folder in the layout of v1.

    Deleted files are truncated and moved away, and deleted at the end with the whole folder. An ext4
    without a journal does not reuse the inodes of files deleted in the last minutes, and checks each
    of them for every new file. So deletions after one run would slow down the next runs.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._removed = root.with_name(f"{root.name}-removed")

    def remove(self, name: str, layers: Sequence[Layer]) -> None:
        self._remove(f"repositories/{name}", *(f"images/{layer.id}" for layer in layers))

    def _remove(self, *folders: str) -> None:
        for folder in folders:
            aside = self._removed / folder
            aside.parent.mkdir(parents=True, exist_ok=True)
            (self.root / folder).rename(aside)
            for path in aside.rglob("*"):
                if path.is_file():
                    os.truncate(path, 0)


class GoFiles(Files):
    """A folder of the Go registry."""

    def remove(self, name: str, layers: Sequence[Layer]) -> None:
        self._remove(*go_folders(name, layers))


class Objects(Store):
    """Objects in the layout of v1, deleted with our driver."""

    def __init__(self, storage: Storage, ceph: Ceph | None = None) -> None:
        self._storage = storage
        self._ceph = ceph

    def remove(self, name: str, layers: Sequence[Layer]) -> None:
        self._storage.delete_folder(f"repositories/{name}")
        for layer in layers:
            for folder in ("images", "_v1registry/pushes", "_v1registry/segments/images"):
                self._storage.delete_folder(f"{folder}/{layer.id}")

    def settle(self) -> None:
        if self._ceph:
            self._ceph.admin(
                "gc", "process", "--include-all"
            )  # otherwise the store is full within a row


class GoObjects(Store):
    """Objects of the Go registry in a bucket."""

    def __init__(self, ceph: Ceph, root: str) -> None:
        self._ceph = ceph
        self._root = root

    def remove(self, name: str, layers: Sequence[Layer]) -> None:
        client = self._ceph.client()
        for folder in go_folders(name, layers):
            found = client.list_objects_v2(Bucket="registry", Prefix=f"{self._root}/{folder}/")
            doomed = [{"Key": item["Key"]} for item in found.get("Contents", ())]
            with contextlib.suppress(client.exceptions.NoSuchKey):
                client.delete_objects(Bucket="registry", Delete={"Objects": doomed})

    def settle(self) -> None:
        self._ceph.admin("gc", "process", "--include-all")


class GoSwift(Store):
    """Objects of the Go registry in a container: files and their segments."""

    container = "go"

    def __init__(self, swift: Swift) -> None:
        self._client = swift.client()
        self._client.put_container(self.container)

    def remove(self, name: str, layers: Sequence[Layer]) -> None:
        for folder in go_folders(name, layers):
            for file in self._names(f"files/{folder}/"):
                made_of = self._client.head_object(self.container, file).get("x-object-manifest")
                if made_of:
                    for segment in self._names(made_of.removeprefix(f"{self.container}/")):
                        self._client.delete_object(self.container, segment)
                self._client.delete_object(self.container, file)

    def _names(self, prefix: str) -> list[str]:
        _, found = self._client.get_container(self.container, prefix=prefix, full_listing=True)
        return [item["name"] for item in found]


def go_folders(name: str, layers: Sequence[Layer]) -> list[str]:
    """Return the keys of the layers in the Go registry; config and manifest are small and stay."""
    root = "docker/registry/v2"
    digests = [layer.digest.removeprefix("sha256:") for layer in layers]
    blobs = [f"{root}/blobs/sha256/{digest[:2]}/{digest}" for digest in digests]
    return [f"{root}/repositories/{name}", *blobs]
