"""Where servers keep what is pushed to them: how a run's data is removed again."""

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
    """What some servers share. `seeded` is set when there is something in it to be pulled."""

    seeded = False

    @abstractmethod
    def remove(self, name: str, layers: Sequence[Layer]) -> None:
        """Forget a repository and its layers."""

    def settle(self) -> None:  # noqa: B027
        """Do now what the store would do in somebody else's time."""


class Files(Store):
    """A folder in the layout of v1.

    What is removed is emptied and moved aside; its files go with the whole folder, when all is
    done. An ext4 without a journal does not use inodes of files that were deleted in the last
    minutes, and looks at each of them for every file that is made: every run would be slowed down
    by what we have removed after the ones before.
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
    """Objects in the layout of v1, removed by our own driver."""

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
            self._ceph.admin("gc", "process", "--include-all")  # or it fills up within a row


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
    """Objects of the Go registry in a container: files, and the segments that they consist of."""

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
    """What the Go registry keeps of them, config and manifest aside, which are small."""
    root = "docker/registry/v2"
    digests = [layer.digest.removeprefix("sha256:") for layer in layers]
    blobs = [f"{root}/blobs/sha256/{digest[:2]}/{digest}" for digest in digests]
    return [f"{root}/repositories/{name}", *blobs]
