"""What the driver for local files does to the disk: plain blocking calls that raise OSError,
and the one place where such an error becomes one of ours.

Durable means: forced to disk (fsync) together with the folder that holds the name.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import itertools
import os
import posix
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator

from v1registry.storage import Buffer, errors, keys
from v1registry.storage.errors import NotFound, Refused, StorageError, StoreFull, Unavailable

# Under gevent, os.close looks for who waits for a socket of that number: two more system calls for
# a file, and work in the event loop for a folder.
close = posix.close

_SMALL = 64 * 1024  # bytes; nearly every JSON is smaller

#: a folder for files that are copied to another file system; no key has a `~`, which is encoded
BESIDE = "~v1registry"
_ATTEMPTS = 100  # of what other processes may disturb, each time by something new

_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS}  # exFAT; CIFS; some by FUSE
_NO_FSYNC = {errno.EINVAL, errno.EOPNOTSUPP, errno.EBADF}  # of a folder: CIFS, shared folders
_NOT_FOUND = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMLINK}


def storage_error(error: OSError, key: str) -> StorageError:
    """The one place where an operating system's error becomes one of ours."""
    text = f"{key}: {error.strerror or error}"
    if error.errno in _NOT_FOUND:
        return NotFound(text)
    if error.errno in _FULL:
        return StoreFull(text)
    if error.errno in _REFUSED:
        return Refused(text)
    return Unavailable(text)


class FileErrors(errors.MappedErrors):
    """For OSErrors."""

    __slots__ = ()

    failures = (OSError,)
    error_of = staticmethod(storage_error)


def read_all(path: str) -> bytes:
    """A small file's bytes, in as few system calls as it takes."""
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
    if written < len(data):  # the disk is nearly full, or a limit was met: ask again to learn why
        rest = memoryview(data)
        while written < len(data):
            written += os.write(descriptor, rest[written:])


def forget(path: str) -> None:
    """Remove a file of ours that nobody needs; if that fails, the cleaner finds it."""
    with contextlib.suppress(OSError):
        os.unlink(path)


def forget_folder(folder: str) -> None:
    """Remove a folder of ours if it is empty and lies beside others."""
    if os.path.basename(folder) == BESIDE:
        with contextlib.suppress(OSError):
            os.rmdir(folder)


def into_place(source: str, target: str, place: Callable[[str, str], None]) -> list[str]:
    """Give a complete file its name, making folders as needed; the name is not durable yet.

    Return the folders in which others were made: their names are not durable either.
    """
    made: list[str] = []
    for attempt in range(_ATTEMPTS):
        try:
            place(source, target)
            break
        except FileNotFoundError:
            # no such folder yet, or an emptied one was removed just now, perhaps its parent, too
            if attempt == _ATTEMPTS - 1 or not os.path.lexists(source):
                raise
            made += make_folders(os.path.dirname(target))
    return made


def link(source: str, target: str) -> None:
    """Give a file a second name, or move it where the file system has no hard links.

    Raise FileExistsError if the name is taken. Without hard links that is certain among the
    processes of one machine only.
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


def across(source: str, root: str, key: str, place: Callable[[str, str], None]) -> list[str]:
    """Do what `into_place` does where `key` lies on another file system: copy the file there first.

    A folder of the store may be a mount point or a symbolic link.
    """
    for folder in _besides(root, key):
        copy = f"{folder}/put-{secrets.token_hex(8)}"  # others may commit the same file
        try:
            _copy(source, copy)
            made = into_place(copy, f"{root}/{key}", place)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
        else:
            forget(source)
            return made
        finally:
            forget(copy)
            forget_folder(folder)
    raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), key)


def _besides(root: str, key: str) -> Iterator[str]:
    """Folders beside the folders on the way to `key`, one of them on its file system."""
    parts = key.split("/")
    for depth in range(1, len(parts)):
        yield "/".join([root, *parts[:depth], BESIDE])


def besides(root: str) -> Iterator[str]:
    """The folders that `across` uses and a process that was killed may have left; not all."""
    for pattern in ("*", "repositories/*"):
        yield from glob.iglob(f"{glob.escape(root)}/{pattern}/{BESIDE}")


def remove_old(folder: str, before: float) -> int:
    """Remove what was left in one of the `besides` before a time; return how many."""
    removed = 0
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(folder):
            path = f"{folder}/{name}"
            if os.lstat(path).st_mtime < before:
                remove(path)
                removed += 1
        forget_folder(folder)
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
        except FileNotFoundError:  # another process has just removed the folder, which was empty
            if attempt == _ATTEMPTS - 1 or not os.path.lexists(source):
                raise


def set_aside(root: str, folder: str, uploads: str) -> str:
    """Move a folder of the store out of sight, in one step, and return where it is."""
    name = f"trash-{secrets.token_hex(8)}"
    for place in (uploads, *_besides(root, folder)):
        try:
            into_place(f"{root}/{folder}", f"{place}/{name}", os.rename)
        except OSError as error:
            forget_folder(place)
            if error.errno != errno.EXDEV:
                raise
        else:
            return f"{place}/{name}"
    raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), folder)


def make_folders(folder: str) -> list[str]:
    """Create a folder and its parents; return the folders in which one was made."""
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
        except FileNotFoundError:  # another process has just removed a parent, which was empty
            if attempt == _ATTEMPTS - 1:
                raise
    return made


@contextlib.contextmanager
def locked(folder: str) -> Iterator[None]:
    """Alone among all processes of this machine that ask for it; briefly, since others stand still.

    On a file system without locks, not alone.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        close(descriptor)


def open_folders(folders: Iterable[str]) -> Iterator[int]:
    """Descriptors of those that are still there, for `fsync`; the others' names are gone anyway."""
    for folder in folders:
        with contextlib.suppress(FileNotFoundError):
            yield os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def fsync(descriptors: Iterable[int]) -> None:
    """Force files, or the names in folders, to the disk. Waits for it."""
    for descriptor in descriptors:
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in _NO_FSYNC or not stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise


def remove(path: str) -> None:
    """Remove a file or a tree, also while other processes remove it or write into it.

    A write that found its folder before it was moved aside ends in it.
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


def elsewhere(root: str) -> set[str]:
    """Return which folders of the store lie on another file system than the store's own folder."""
    own = os.stat(root).st_dev
    found = set()
    for name in (keys.IMAGES, keys.REPOSITORIES):
        with contextlib.suppress(OSError):
            if os.stat(f"{root}/{name}").st_dev != own:
                found.add(name)
    return found


def sample(root: str, most: int = 50) -> Iterator[tuple[str, int]]:
    """Some paths of a store from the top down, each with the access that we need to it."""
    waiting = [root]
    for _ in range(most):
        if not waiting:
            return
        path = waiting.pop(0)
        if os.path.isdir(path):
            yield path, os.R_OK | os.W_OK | os.X_OK
            with contextlib.suppress(OSError), os.scandir(path) as children:
                waiting += [child.path for child in itertools.islice(children, 8)]
        else:
            yield path, os.R_OK
