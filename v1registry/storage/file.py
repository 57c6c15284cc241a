"""The driver for local files: one file a key below a root folder.

Whatever is written goes to a temporary name in `_v1registry/uploads` first, on
the same file system, is forced to disk, and is then renamed (or hard-linked,
which fails if the name is taken) to its place; the folder is forced to disk
after it. So a name never shows a part, and what was answered survives a power
cut. 0.x finds nothing new below `images` and `repositories`.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat as modes
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from v1registry.storage import Buffer, Entry, Stage, Stat, Storage, disk, keys
from v1registry.storage.disk import Mapped
from v1registry.storage.errors import NotFound, Refused, StorageError, Unavailable

PIECE = 1024 * 1024  # bytes read at once where the kernel cannot send the file itself

T = TypeVar("T")


class FileBlob:
    """An open file. It stays readable when its name is replaced or removed meanwhile."""

    __slots__ = ("file", "key", "size")

    def __init__(self, key: str, path: str) -> None:
        self.key = key
        with Mapped(key):
            self.file: BinaryIO = open(path, "rb", buffering=0)  # noqa: SIM115 - owner closes
            status = os.fstat(self.file.fileno())
        if not modes.S_ISREG(status.st_mode):
            self.file.close()
            raise NotFound(f"{key}: not a regular file")
        self.size = status.st_size

    def pieces(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        position, end = start, self.size if stop is None else stop
        while position < end:
            with Mapped(self.key):
                piece = os.pread(self.file.fileno(), min(PIECE, end - position), position)
            if not piece:
                raise Unavailable(f"{self.key}: cut short at byte {position}")
            position += len(piece)
            yield piece

    def read(self, size: int = -1) -> bytes:
        with Mapped(self.key):
            return self.file.read(size)

    def close(self) -> None:
        self.file.close()

    def __enter__(self) -> FileBlob:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def call(function: Callable[..., T], *args: Any) -> T:
    """Run a blocking function in place: the default for `offload`."""
    return function(*args)


class FileStorage(Storage):
    """Keeps objects as files below `root`.

    `offload(function, *args)` runs what waits for the disk (fsync, removing a
    tree) where it does not stop the other clients; `accel` is the location that nginx maps
    to `root`, for X-Accel-Redirect.
    """

    def __init__(
        self, root: str | Path, *, accel: str | None = None, offload: Callable[..., Any] = call
    ) -> None:
        self.root = os.path.abspath(root)
        self._accel = accel.rstrip("/") if accel else None
        self._offload = offload
        self._uploads = os.path.join(self.root, keys.OURS, "uploads")

    def _fsync(self, descriptor: int) -> None:
        """The one call that waits for the disk; only it goes to another thread.

        Handing over whole operations costs more than it frees: each of their
        short calls gives the interpreter's lock up and fights to have it back.
        """
        self._offload(os.fsync, descriptor)

    # -- reading -----------------------------------------------------------

    def get(self, key: str) -> bytes:
        with Mapped(key):
            return disk.read_all(self._path(key))

    def open(self, key: str) -> FileBlob:
        return FileBlob(key, self._path(key))

    def stat(self, key: str) -> Stat:
        with Mapped(key):
            status = os.stat(self._path(key))
        if not modes.S_ISREG(status.st_mode):
            raise NotFound(f"{key}: not a regular file")
        return Stat(status.st_size, status.st_mtime)

    def list(self, folder: str) -> Iterator[Entry]:
        try:
            with Mapped(folder), os.scandir(self._path(folder)) as children:
                yield from [Entry(child.name, child.is_dir()) for child in children]
        except NotFound:
            return

    def accel_path(self, key: str) -> str | None:
        return f"{self._accel}/{key}" if self._accel else None

    # -- writing small values ----------------------------------------------

    def put(self, key: str, data: bytes, *, durable: bool = True) -> None:
        self._write_all({key: data}, durable)

    def put_all(self, values: Mapping[str, bytes]) -> None:
        self._write_all(values, True)

    def create(self, key: str, data: bytes) -> bool:
        return self._create(key, data)

    def delete(self, key: str, *, durable: bool = True) -> None:
        self._delete(key, durable)

    def delete_folder(self, folder: str) -> None:
        self._offload(self._delete_folder, folder)

    # -- writing large objects ---------------------------------------------

    def stage(self, key: str, pieces: Iterable[Buffer]) -> str:
        handle = f"stage-{keys.encode(key)}.{secrets.token_hex(8)}"
        path = self._staged(handle)
        with Mapped(key):
            descriptor = self._create_file(path)
        try:
            for piece in pieces:
                with Mapped(key):
                    disk.write_all(descriptor, piece)
            with Mapped(key):
                self._fsync(descriptor)
                disk.sync_folder(self._uploads, self._fsync)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(path)
            raise
        finally:
            os.close(descriptor)
        return handle

    def commit(self, handle: str) -> None:
        self._commit(handle)

    def abandon(self, handle: str) -> None:
        with Mapped(handle), contextlib.suppress(FileNotFoundError):
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
                    self._offload(disk.remove, os.path.join(self._uploads, name))
                    removed += 1
        return removed

    def prepare(self) -> None:
        """Make the root folder; look whether what is in it is ours to write.

        A store that ran as root in 0.x's container is found here, not in the
        middle of the first push. A sample of the folders is looked at.
        """
        with Mapped(self.root):
            os.makedirs(self.root, exist_ok=True)
            read_only = os.statvfs(self.root).f_flag & os.ST_RDONLY
        if read_only:
            raise Refused(f"{self.root} is mounted read-only. To serve it so, set read_only")
        for path, access in disk.sample(self.root):
            if not os.access(path, access):
                who = f"{os.geteuid()}:{os.getegid()}"
                raise Refused(
                    f"{path} is not ours to read and write (we run as {who})."
                    f" To hand the store over, run: chown -R {who} {self.root}"
                )
        self.check()

    def check(self) -> None:
        """Write, link, read back and remove a small file, as every push does."""
        key = f"{keys.OURS}/check-{secrets.token_hex(8)}"
        try:
            if not self.create(key, b"true") or self.get(key) != b"true":
                raise Unavailable(f"{self.root}: what was written does not read back")
        finally:
            with contextlib.suppress(StorageError):
                self.delete(key)

    # -- below: plain blocking calls ------------------------------------------

    def _path(self, key: str) -> str:
        return f"{self.root}/{key}"

    def _staged(self, handle: str) -> str:
        if "/" in handle or not handle.startswith("stage-"):
            raise NotFound(f"{handle}: not a handle")
        return os.path.join(self._uploads, handle)

    def _create_file(self, path: str) -> int:
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
        try:
            return os.open(path, flags, 0o666)
        except FileNotFoundError:
            disk.make_folders(os.path.dirname(path), self._fsync)
            return os.open(path, flags, 0o666)

    def _write_all(self, values: Mapping[str, bytes], durable: bool) -> None:
        folders = {}
        for key, data in values.items():
            with Mapped(key):
                path = self._path(key)
                self._write(path, data, os.replace)
                folders[os.path.dirname(path)] = key
        if durable:
            for folder, key in folders.items():
                with Mapped(key):
                    disk.sync_folder(folder, self._fsync)

    def _create(self, key: str, data: bytes) -> bool:
        path = self._path(key)
        with Mapped(key):
            try:
                self._write(path, data, os.link)
            except FileExistsError:
                return False
            disk.sync_folder(os.path.dirname(path), self._fsync)
        return True

    def _write(self, path: str, data: bytes, place: Callable[[str, str], None]) -> None:
        """Write aside, then `place` (os.replace or os.link) under the final name."""
        temporary = os.path.join(self._uploads, f"put-{secrets.token_hex(8)}")
        try:
            descriptor = self._create_file(temporary)
            try:
                disk.write_all(descriptor, data)
                self._fsync(descriptor)
            finally:
                os.close(descriptor)
            disk.into_place(temporary, path, place, self._fsync)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(temporary)

    def _commit(self, handle: str) -> None:
        key = _key_of(handle)
        with Mapped(key):
            source = self._staged(handle)
            os.stat(source)  # a missing source must not create the target's folder
            disk.into_place(source, self._path(key), os.replace, self._fsync)
            disk.sync_folder(os.path.dirname(self._path(key)), self._fsync)

    def _delete(self, key: str, durable: bool) -> None:
        path = self._path(key)
        with Mapped(key):
            try:
                os.unlink(path)
            except (NotADirectoryError, IsADirectoryError):
                return  # no such object; a folder is none
            except FileNotFoundError:
                pass  # another may have deleted it just now: ours has to last as well
            folder = self._prune(os.path.dirname(path))
            if durable:
                disk.sync_folder(folder, self._fsync)

    def _delete_folder(self, folder: str) -> None:
        """Move the folder aside, so that it goes at once as a whole; then empty it."""
        path = self._path(folder)
        trash = os.path.join(self._uploads, f"trash-{secrets.token_hex(8)}")
        with Mapped(folder):
            try:
                disk.into_place(path, trash, os.rename, self._fsync)
            except FileNotFoundError:
                return
            disk.sync_folder(self._prune(os.path.dirname(path)), self._fsync)
            disk.remove(trash)

    def _prune(self, folder: str) -> str:
        """Remove emptied folders, as no object store has any; return the first that stays."""
        while os.path.dirname(folder) != self.root and len(folder) > len(self.root):
            try:
                os.rmdir(folder)
            except FileNotFoundError:
                pass
            except OSError:
                break  # something lies in it
            folder = os.path.dirname(folder)
        return folder

    def _leftovers(self, prefix: str) -> Iterator[tuple[str, float]]:
        for entry in self.list(f"{keys.OURS}/uploads"):
            if entry.name.startswith(prefix):
                with contextlib.suppress(FileNotFoundError):
                    yield entry.name, os.lstat(os.path.join(self._uploads, entry.name)).st_mtime


def _key_of(handle: str) -> str:
    return keys.decode(handle.removeprefix("stage-").rpartition(".")[0])


def make(options: Mapping[str, Any], offload: Callable[..., Any]) -> FileStorage:
    """The driver, from its part of the configuration."""
    accel = options.get("nginx_x_accel_redirect")
    return FileStorage(options["storage_path"], accel=accel, offload=offload)
