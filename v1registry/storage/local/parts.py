"""The objects that the driver for local files returns: open files and staged writes."""

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

PIECE = 1024 * 1024  # bytes read at once if sendfile cannot be used


class FileBlob:
    """An open file. It stays readable after its name is replaced or deleted."""

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
    """Staged values, each in a temporary file; `changed` are the folders that got a new name."""

    def __init__(self, root: str, files: dict[str, str], run_in_thread: Callable[..., Any]) -> None:
        self._root = root
        self._files = files
        self._run_in_thread = run_in_thread
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
        self.changed.update(
            place_file(self._files[key], self._root, key, place, self._run_in_thread)
        )
        self.changed.add(os.path.dirname(f"{self._root}/{key}"))

    def __exit__(self, *_: object) -> None:
        for path in self._files.values():
            disk.discard(path)


def place_file(
    source: str,
    root: str,
    key: str,
    place: Callable[[str, str], None],
    run_in_thread: Callable[..., Any],
) -> list[str]:
    """Give a complete file its name, also on another file system; see `disk.into_place`."""
    try:
        return disk.into_place(source, f"{root}/{key}", place)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    made: list[str] = run_in_thread(disk.copy_into_place, source, root, key, place)
    return made


def make_ready(root: str) -> None:
    """Make the root folder. Raise Refused if a sample of its content cannot be read and written."""
    with FileErrors(root):
        os.makedirs(root, exist_ok=True)
        read_only = os.statvfs(root).f_flag & os.ST_RDONLY
    if read_only:
        raise Refused(f"{root} is mounted read-only. To serve it so, set read_only")
    for path, access in disk.sample(root):
        # another process may have deleted a temporary file since it was listed
        if not os.access(path, access) and os.path.lexists(path):
            user = f"{os.geteuid()}:{os.getegid()}"
            raise Refused(
                f"{path} cannot be read and written (the registry runs as {user})."
                f" To hand the store over, run: chown -R {user} {root}"
                " (if this is a container, run it on the host, for the folder mounted there)"
            )
