"""The file operations of the driver for local files: blocking calls that raise OSError.

`storage_error` turns such an error into a storage error. A file is durable if the file itself and the
folder that holds its name were both fsynced.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import os
import posix
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator

from v1registry.storage import Buffer, errors
from v1registry.storage.errors import NotFound, Refused, StorageError, StoreFull, Unavailable

# Under gevent, os.close also looks for waiters on a socket with this descriptor. That costs two system
# calls for a file, and work in the event loop for a folder.
close = posix.close

_SMALL = 64 * 1024  # bytes; nearly every JSON is smaller

#: temporary folder on another file system, for files that are copied there; keys contain no `~`
TEMPORARY = "~v1registry"
_ATTEMPTS = 100  # of operations that another process can disturb at each attempt

_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS}  # exFAT, CIFS, some FUSE file systems
_NO_FSYNC = {errno.EINVAL, errno.EOPNOTSUPP, errno.EBADF}  # of a folder: CIFS, shared folders
_NOT_FOUND = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMLINK}


def storage_error(error: OSError, key: str) -> StorageError:
    """Return the storage error for an error of the operating system."""
    text = f"{key}: {error.strerror or error}"
    if error.errno in _NOT_FOUND:
        return NotFound(text)
    if error.errno in _FULL:
        return StoreFull(text)
    if error.errno in _REFUSED:
        return Refused(text)
    return Unavailable(text)


class FileErrors(errors.MappedErrors):
    """Turns OSErrors in a `with` block into storage errors."""

    __slots__ = ()

    failures = (OSError,)
    error_of = staticmethod(storage_error)


def read_all(path: str) -> bytes:
    """Return a small file's bytes with as few system calls as possible."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.read(descriptor, _SMALL)
        if len(data) < _SMALL:
            return data
        pieces = [data]
        while pieces[-1]:
            pieces.append(os.read(descriptor, _SMALL))
        return b"".join(pieces)
    finally:
        close(descriptor)


def write_all(descriptor: int, data: Buffer) -> None:
    written = os.write(descriptor, data)
    # the disk is nearly full, or a limit was reached: the next write raises the reason
    if written < len(data):
        rest = memoryview(data)
        while written < len(data):
            written += os.write(descriptor, rest[written:])


def discard(path: str) -> None:
    """Delete a file that is not needed any more; if that fails, the cleaner deletes it later."""
    with contextlib.suppress(OSError):
        os.unlink(path)


def discard_folder(folder: str) -> None:
    """Delete a folder if it is empty and is a temporary folder on another file system."""
    if os.path.basename(folder) == TEMPORARY:
        with contextlib.suppress(OSError):
            os.rmdir(folder)


def into_place(source: str, target: str, place: Callable[[str, str], None]) -> list[str]:
    """Give a complete file its name and make missing folders; the name is not durable yet.

    Return the parents of the folders that were made: the names of those are not durable either.
    """
    made: list[str] = []
    for attempt in range(_ATTEMPTS):
        try:
            place(source, target)
            break
        except FileNotFoundError:
            # the folder does not exist yet, or another process deleted it when it was empty
            if attempt == _ATTEMPTS - 1 or not os.path.lexists(source):
                raise
            made += make_folders(os.path.dirname(target))
    return made


def link(source: str, target: str) -> None:
    """Give a file a second name, or move it where the file system has no hard links.

    Raise FileExistsError if the name exists. Without hard links, this is atomic only among the
    processes of one machine.
    """
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        with locked(os.path.dirname(target)):
            if os.path.lexists(target):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target) from None
            os.rename(source, target)


def copy_into_place(
    source: str, root: str, key: str, place: Callable[[str, str], None]
) -> list[str]:
    """Do the same as `into_place` for a key on another file system: copy the file there first.

    A folder of the store may be a mount point or a symbolic link.
    """
    for folder in _temporary_folders_for(root, key):
        copy = f"{folder}/put-{secrets.token_hex(8)}"  # another process may commit the same file
        try:
            _copy(source, copy)
            made = into_place(copy, f"{root}/{key}", place)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
        else:
            discard(source)
            return made
        finally:
            discard(copy)
            discard_folder(folder)
    raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), key)


def _temporary_folders_for(root: str, key: str) -> Iterator[str]:
    """Yield temporary folders next to each folder above `key`; one is on the key's file system."""
    parts = key.split("/")
    for depth in range(1, len(parts)):
        yield "/".join([root, *parts[:depth], TEMPORARY])


def temporary_folders(root: str) -> Iterator[str]:
    """Yield temporary folders of `copy_into_place` that a killed process may have left; not all."""
    for pattern in ("*", "repositories/*"):
        yield from glob.iglob(f"{glob.escape(root)}/{pattern}/{TEMPORARY}")


def remove_old(folder: str, before: float) -> int:
    """Delete files from before a time in one of the `temporary_folders`; return how many."""
    removed = 0
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(folder):
            path = f"{folder}/{name}"
            if os.lstat(path).st_mtime < before:
                remove(path)
                removed += 1
        discard_folder(folder)
    return removed


def _copy(source: str, target: str) -> None:
    for attempt in range(_ATTEMPTS):
        make_folders(os.path.dirname(target))
        try:
            with open(source, "rb") as old, open(target, "xb") as new:
                shutil.copyfileobj(old, new, 1024 * 1024)
                new.flush()
                os.fsync(new.fileno())
            return
        except FileNotFoundError:  # another process has just deleted the empty folder
            if attempt == _ATTEMPTS - 1 or not os.path.lexists(source):
                raise


def set_aside(root: str, folder: str, uploads: str) -> str:
    """Move a folder out of the store's keys in one step; return its new path."""
    name = f"trash-{secrets.token_hex(8)}"
    for place in (uploads, *_temporary_folders_for(root, folder)):
        try:
            into_place(f"{root}/{folder}", f"{place}/{name}", os.rename)
        except OSError as error:
            discard_folder(place)
            if error.errno != errno.EXDEV:
                raise
        else:
            return f"{place}/{name}"
    raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), folder)


def make_folders(folder: str) -> list[str]:
    """Make a folder and its parents; return the parents of the folders that were made."""
    made: list[str] = []
    for attempt in range(_ATTEMPTS):
        missing = []
        path = folder
        while not os.path.isdir(path):
            missing.append(path)
            path = os.path.dirname(path)
        try:
            for path in reversed(missing):
                with contextlib.suppress(FileExistsError):
                    os.mkdir(path)
                made.append(os.path.dirname(path))
            break
        except FileNotFoundError:  # another process has just deleted an empty parent
            if attempt == _ATTEMPTS - 1:
                raise
    return made


@contextlib.contextmanager
def locked(folder: str) -> Iterator[None]:
    """Hold a lock on a folder among all processes of this machine. Hold it briefly: others block.

    On a file system without locks, nothing is locked.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        close(descriptor)


def open_folders(folders: Iterable[str]) -> Iterator[int]:
    """Open the folders that still exist, for `fsync`, and yield their descriptors."""
    for folder in folders:
        with contextlib.suppress(FileNotFoundError):
            yield os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def fsync(descriptors: Iterable[int]) -> None:
    """Make files, or the names in folders, durable; block until the disk has them."""
    for descriptor in descriptors:
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in _NO_FSYNC or not stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise


def remove(path: str) -> None:
    """Delete a file or a tree, also while other processes delete it or write into it.

    A write that opened its folder before the folder was moved may still add files to it.
    """
    for attempt in range(_ATTEMPTS):
        if not os.path.lexists(path):
            return
        try:
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            else:
                os.unlink(path)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTEMPTY) or attempt == _ATTEMPTS - 1:
                raise
