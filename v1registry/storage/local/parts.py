"""What the driver for local files hands out: an open object, and values written aside."""

from __future__ import annotations

import errno
import os
import stat as modes
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from v1registry.storage import StagedWrites
from v1registry.storage.errors import NotFound, Refused, Unavailable
from v1registry.storage.local import disk
from v1registry.storage.local.disk import FileErrors

PIECE = 1024 * 1024  # bytes read at once where the kernel cannot send the file itself


class FileBlob:
    """An open file. It stays readable when its name is replaced or removed meanwhile."""

    __slots__ = ("file", "key", "size")

    def __init__(self, key: str, path: str) -> None:
        self.key = key
        with FileErrors(key):
            self.file: BinaryIO = open(path, "rb", buffering=0)  # noqa: SIM115 - owner closes
            status = os.fstat(self.file.fileno())
        if not modes.S_ISREG(status.st_mode):
            self.file.close()
            raise NotFound(f"{key}: not a regular file")
        self.size = status.st_size

    def pieces(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        position, end = start, self.size if stop is None else stop
        while position < end:
            with FileErrors(self.key):
                piece = os.pread(self.file.fileno(), min(PIECE, end - position), position)
            if not piece:
                raise Unavailable(f"{self.key}: cut short at byte {position}")
            position += len(piece)
            yield piece

    def read(self, size: int = -1) -> bytes:
        with FileErrors(self.key):
            return self.file.read(size)

    def close(self) -> None:
        self.file.close()

    def __enter__(self) -> FileBlob:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class FileStagedWrites(StagedWrites):
    """Values in files of their own; `changed` are the folders that got a name."""

    def __init__(self, root: str, files: dict[str, str], offload: Callable[..., Any]) -> None:
        self._root = root
        self._files = files
        self._offload = offload
        self.changed: set[str] = set()

    def put(self, key: str) -> None:
        with FileErrors(key):
            self._place(key, os.replace)
        del self._files[key]

    def create(self, key: str) -> bool:
        with FileErrors(key):
            try:
                self._place(key, disk.link)
            except FileExistsError:
                return False
        return True

    def _place(self, key: str, place: Callable[[str, str], None]) -> None:
        self.changed.update(placed(self._files[key], self._root, key, place, self._offload))
        self.changed.add(os.path.dirname(f"{self._root}/{key}"))

    def __exit__(self, *_: object) -> None:
        for path in self._files.values():
            disk.forget(path)


def placed(
    source: str,
    root: str,
    key: str,
    place: Callable[[str, str], None],
    offload: Callable[..., Any],
) -> list[str]:
    """Give a complete file its name, see `disk.into_place`, also on another file system."""
    try:
        return disk.into_place(source, f"{root}/{key}", place)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    made: list[str] = offload(disk.across, source, root, key, place)
    return made


def make_ready(root: str) -> None:
    """Make the root folder of a store. Raise Refused if a sample of what is in it is not ours."""
    with FileErrors(root):
        os.makedirs(root, exist_ok=True)
        read_only = os.statvfs(root).f_flag & os.ST_RDONLY
    if read_only:
        raise Refused(f"{root} is mounted read-only. To serve it so, set read_only")
    for path, access in disk.sample(root):
        # what another process wrote aside may be gone since it was listed
        if not os.access(path, access) and os.path.lexists(path):
            who = f"{os.geteuid()}:{os.getegid()}"
            raise Refused(
                f"{path} is not ours to read and write (we run as {who})."
                f" To hand the store over, run: chown -R {who} {root}"
                " (if this is a container, run it on the host, for the folder mounted there)"
            )
