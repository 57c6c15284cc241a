"""The driver for local files: one file per key below a root folder.

Each write goes to a temporary name in `_v1registry/uploads` first and is fsynced. It is then renamed
to its key, or hard-linked, which fails if the key exists; the folder is fsynced after it. So a key
never shows a part of a value, and every write that was confirmed survives power loss. If the key is
on another file system, the file is copied there, see `disk.copy_into_place`. Temporary
files are in `_v1registry`, where 0.x never looks.

The fsyncs of a request are gathered, so that it waits for the disk only once or twice: each wait
switches threads twice.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import stat as modes
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from v1registry.storage import Buffer, ListEntry, Space, Stage, Stat, Storage, keys
from v1registry.storage.errors import NotFound, StorageError, Unavailable
from v1registry.storage.local import disk
from v1registry.storage.local.disk import FileErrors
from v1registry.storage.local.files import StoreFiles
from v1registry.storage.local.parts import FileBlob, FileStagedWrites
from v1registry.storage.local.readiness import Mounts, make_ready

T = TypeVar("T")

_AT_ONCE = 64  # values written between two fsyncs; each takes a file descriptor
_LISTED_IN_PLACE = 1000  # entries of a folder that are listed on the event loop


def call(function: Callable[..., T], *args: Any) -> T:
    """Run a blocking function in the same thread: the default for `run_in_thread`."""
    return function(*args)


class FileStorage(Storage):
    """Keeps objects as files below `root`.

    `run_in_thread(function, *args)` runs calls that wait for the disk (fsync, deleting a tree) without
    stopping other clients. `accel` is the location that nginx maps to `root`, for X-Accel-Redirect.
    """

    marker_seconds = 0.0

    def __init__(
        self,
        root: str | Path,
        *,
        accel: str | None = None,
        run_in_thread: Callable[..., Any] = call,
    ) -> None:
        self.root = os.path.abspath(root)
        self._accel = accel.rstrip("/") if accel else None
        self._mounts = Mounts(self, self.root)
        self._files = StoreFiles(self.root, run_in_thread)

    # -- reading -----------------------------------------------------------

    def get(self, key: str) -> bytes:
        with FileErrors(key):
            return disk.read_all(self._files.path(key))

    def open(self, key: str) -> FileBlob:
        return FileBlob(key, self._files.path(key))

    def stat(self, key: str) -> Stat:
        with FileErrors(key):
            status = os.stat(self._files.path(key))
        if not modes.S_ISREG(status.st_mode):
            raise NotFound(f"{key}: not a regular file")
        return Stat(status.st_size, status.st_mtime)

    def list(self, folder: str) -> Iterator[ListEntry]:
        try:
            with FileErrors(folder), os.scandir(self._files.path(folder)) as children:
                found = list(itertools.islice(children, _LISTED_IN_PLACE))
                if len(found) == _LISTED_IN_PLACE:
                    found += self._files.run_in_thread(list, children)
        except NotFound:
            return
        for child in found:
            with FileErrors(folder):
                is_folder = child.is_dir()
            if child.name != disk.TEMPORARY:
                yield ListEntry(child.name, is_folder)

    def accel_path(self, key: str) -> str | None:
        return f"{self._accel}/{key}" if self._accel else None

    # -- writing small values ----------------------------------------------

    def put(self, key: str, data: bytes, *, durable: bool = True) -> None:
        if durable:
            self.put_all({key: data})
            return
        files = self._files.write({key: data}, durable=False)
        with FileStagedWrites(self._files, files) as staged:
            staged.put(key)
            # only for a store's first object: `flush` stops below the root
            if self.root in staged.changed:
                self._files.sync(key, (), [self.root])

    def put_all(self, values: Mapping[str, bytes]) -> None:
        waiting = iter(values.items())
        # thousands of values at once must not use up the file descriptors or block the event loop
        while batch := dict(itertools.islice(waiting, _AT_ONCE)):
            with self.stage_values(batch) as staged:
                for key in batch:
                    staged.put(key)
            self._files.sync(next(iter(batch)), (), staged.changed)

    def create(self, key: str, data: bytes) -> bool:
        with self.stage_values({key: data}) as staged:
            if not staged.create(key):
                return False
        self._files.sync(key, (), staged.changed)
        return True

    def stage_values(
        self, values: Mapping[str, bytes], after: Iterable[str] = ()
    ) -> FileStagedWrites:
        return FileStagedWrites(self._files, self._files.write(values, after))

    def flush(self, keys: Iterable[str]) -> None:
        folders: dict[str, str] = {}
        for key in keys:
            folder = os.path.dirname(self._files.path(key))
            while folder != self.root:
                folders[folder] = key
                folder = os.path.dirname(folder)
        self._files.sync(next(iter(folders.values()), ""), (), folders)

    def delete(self, key: str, *, durable: bool = True) -> None:
        path = self._files.path(key)
        with FileErrors(key):
            try:
                os.unlink(path)
            except (NotADirectoryError, IsADirectoryError):
                return  # no such object: a folder is not an object
            except FileNotFoundError:
                pass  # another process may have deleted it just now; that must be durable as well
            folder = self._prune(os.path.dirname(path))
            if durable:
                self._files.sync(key, (), [folder])

    def delete_if(self, key: str, data: bytes) -> bool:
        path = self._files.path(key)
        folder = os.path.dirname(path)
        try:
            # Only one process at a time deletes here. A value of `create` is never replaced, and one of
            # `put` only within the microseconds up to `unlink`.
            with FileErrors(key), disk.locked(folder):
                if disk.read_all(path) != data:
                    return False
                os.unlink(path)
        except NotFound:
            return False
        with FileErrors(key):
            self._files.sync(key, (), [self._prune(folder)])
        return True

    def delete_folder(self, folder: str) -> None:
        self._files.run_in_thread(self._delete_folder, folder)

    # -- writing large objects ---------------------------------------------

    def stage(self, key: str, pieces: Iterable[Buffer]) -> str:
        with FileErrors(key):
            path, descriptor = self._files.create(f"stage-{keys.encode(key)}.")
        try:
            for piece in pieces:
                with FileErrors(key):
                    disk.write_all(descriptor, piece)
            self._files.sync(key, [descriptor])
        except BaseException:
            disk.discard(path)
            raise
        finally:
            disk.close(descriptor)
        return os.path.basename(path)

    def commit(self, handle: str) -> None:
        source, key = self._staged(handle), _key_of(handle)
        with FileErrors(key):
            self._files.place(source, key, os.replace)

    def abandon(self, handle: str) -> None:
        with FileErrors(handle), contextlib.suppress(FileNotFoundError):
            os.unlink(self._staged(handle))

    def open_staged(self, handle: str) -> FileBlob:
        return FileBlob(handle, self._staged(handle))

    def stages(self) -> Iterator[Stage]:
        for name, modified in self._leftovers("stage-"):
            yield Stage(name, _key_of(name), modified)

    def clean(self, before: float) -> int:
        removed = 0
        for prefix in ("put-", "trash-"):
            for name, modified in self._leftovers(prefix):
                if modified < before:
                    self._files.run_in_thread(disk.remove, os.path.join(self._files.uploads, name))
                    removed += 1
        for folder in disk.temporary_folders(self.root):
            removed += self._files.run_in_thread(disk.remove_old, folder, before)
        return removed

    def prepare(self) -> None:
        """Make the root folder; check that a sample of its folders can be read and written.

        A store that 0.x wrote as root in a container is refused here, not in the middle of the first
        push.
        """
        make_ready(self.root)
        self.check()
        self._mounts.note()

    def require_marker(self, within: float = 0.0) -> None:
        """Raise NotMounted if a folder that had a file system of its own is on the root's now."""
        self._mounts.require()

    def check(self) -> None:
        """Write, link, read and delete a small file, as every push does."""
        key = f"{keys.OURS}/check-{secrets.token_hex(8)}"
        try:
            if not self.create(key, b"true") or self.get(key) != b"true":
                raise Unavailable(f"{self.root}: the store does not return what was written")
        finally:
            with contextlib.suppress(StorageError):
                self.delete(key)

    def space(self) -> Space:
        """Return the space that users other than root have."""
        with FileErrors(self.root):
            found = self._files.run_in_thread(os.statvfs, self.root)
        return Space(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)

    # -- helpers ----------------------------------------------------------------

    def _staged(self, handle: str) -> str:
        if "/" in handle or not handle.startswith("stage-"):
            raise NotFound(f"{handle}: not a handle")
        return os.path.join(self._files.uploads, handle)

    def _delete_folder(self, folder: str) -> None:
        """Move the folder away, so that all of it is gone at once; then delete its content."""
        with FileErrors(folder):
            try:
                trash = disk.set_aside(self.root, folder, self._files.uploads)
            except FileNotFoundError:
                return
            self._files.sync(folder, (), [self._prune(os.path.dirname(self._files.path(folder)))])
            disk.remove(trash)
            disk.discard_folder(os.path.dirname(trash))

    def _prune(self, folder: str) -> str:
        """Delete empty folders, as object stores have none; return the first folder that stays."""
        while os.path.dirname(folder) != self.root and len(folder) > len(self.root):
            try:
                os.rmdir(folder)
            except FileNotFoundError:
                pass
            except OSError:
                break  # it is not empty
            folder = os.path.dirname(folder)
        return folder

    def _leftovers(self, prefix: str) -> Iterator[tuple[str, float]]:
        for entry in self.list(f"{keys.OURS}/uploads"):
            if entry.name.startswith(prefix):
                with contextlib.suppress(FileNotFoundError):
                    yield (
                        entry.name,
                        os.lstat(os.path.join(self._files.uploads, entry.name)).st_mtime,
                    )


def _key_of(handle: str) -> str:
    return keys.decode(handle.removeprefix("stage-").rpartition(".")[0])


def make(options: Mapping[str, Any], run_in_thread: Callable[..., Any]) -> FileStorage:
    """Return the driver for this part of the configuration."""
    accel = options.get("nginx_x_accel_redirect")
    return FileStorage(options["storage_path"], accel=accel, run_in_thread=run_in_thread)
