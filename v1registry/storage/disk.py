"""What the driver for local files does to the disk: plain blocking calls that raise OSError,
and the one place where such an error becomes one of ours.

Durable means: forced to disk (fsync) together with the folder that holds the name.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import posix
import shutil
from collections.abc import Callable, Iterable, Iterator

from v1registry.storage import Buffer, errors
from v1registry.storage.errors import Full, NotFound, Refused, StorageError, Unavailable

# Under gevent, os.close looks for who waits for a socket of that number: two more system calls for
# a file, and work in the event loop for a folder.
close = posix.close

_SMALL = 64 * 1024  # bytes; nearly every JSON is smaller

_NOT_FOUND = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMLINK}


def storage_error(error: OSError, key: str) -> StorageError:
    """The one place where an operating system's error becomes one of ours."""
    text = f"{key}: {error.strerror or error}"
    if error.errno in _NOT_FOUND:
        return NotFound(text)
    if error.errno in _FULL:
        return Full(text)
    if error.errno in _REFUSED:
        return Refused(text)
    return Unavailable(text)


class Mapped(errors.Mapped):
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


def into_place(source: str, target: str, place: Callable[[str, str], None]) -> list[str]:
    """Give a complete file its name, making folders as needed; the name is not durable yet.

    Return the folders in which others were made: their names are not durable either.
    """
    made: list[str] = []
    for attempt in range(5):
        try:
            place(source, target)
            break
        except FileNotFoundError:
            # no such folder yet, or an emptied one was removed just now
            if attempt == 4 or not os.path.lexists(source):
                raise
            made += make_folders(os.path.dirname(target))
    return made


def make_folders(folder: str) -> list[str]:
    """Create a folder and its parents; return the folders in which one was made."""
    missing = []
    while not os.path.isdir(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    for path in reversed(missing):
        with contextlib.suppress(FileExistsError):
            os.mkdir(path)
    return [os.path.dirname(path) for path in missing]


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
        os.fsync(descriptor)


def remove(path: str) -> None:
    """Remove a file or a tree, also while another process is at it."""
    while os.path.lexists(path):
        with contextlib.suppress(FileNotFoundError):
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            else:
                os.unlink(path)


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
