"""Makes the files of a store, makes them durable, and gives them their names."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from v1registry.storage import keys
from v1registry.storage.local import disk
from v1registry.storage.local.disk import FileErrors


class StoreFiles:
    """The files below `root`; `run_in_thread(function, *args)` runs calls that wait for the disk."""

    def __init__(self, root: str, run_in_thread: Callable[..., Any]) -> None:
        self.root = root
        self.uploads = os.path.join(root, keys.OURS, "uploads")
        self.run_in_thread = run_in_thread

    def path(self, key: str) -> str:
        return f"{self.root}/{key}"

    def create(self, prefix: str) -> tuple[str, int]:
        """Make a temporary file, open for writing; return its path and descriptor."""
        path = f"{self.uploads}/{prefix}{secrets.token_hex(8)}"
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
        try:
            return path, os.open(path, flags, 0o666)
        except FileNotFoundError:
            self.sync(prefix, (), disk.make_folders(self.uploads))
            return path, os.open(path, flags, 0o666)

    def write(
        self, values: Mapping[str, bytes], after: Iterable[str] = (), *, durable: bool = True
    ) -> dict[str, str]:
        """Write each value to a temporary file; return the paths.

        If `durable`, make them durable, and together with the directory entries of the keys `after`.
        """
        files: dict[str, str] = {}
        descriptors: list[int] = []
        try:
            for key, data in values.items():
                with FileErrors(key):
                    files[key], descriptor = self.create("put-")
                    descriptors.append(descriptor)
                    disk.write_all(descriptor, data)
            if durable:
                folders = {os.path.dirname(self.path(key)) for key in after}
                self.sync(next(iter(values), ""), descriptors, folders)
        except BaseException:
            for path in files.values():
                disk.discard(path)
            raise
        finally:
            for descriptor in descriptors:
                disk.close(descriptor)
        return files

    def sync(self, key: str, descriptors: Iterable[int], folders: Iterable[str] = ()) -> None:
        """Make files and the names in folders durable. Only this function waits for the disk.

        Only the fsyncs run in another thread. Running whole operations there costs more than it
        saves, because each of their short system calls releases and takes the interpreter's lock.
        """
        with FileErrors(key), contextlib.ExitStack() as opened:
            waiting = list(descriptors)
            for descriptor in disk.open_folders(folders):
                opened.callback(disk.close, descriptor)
                waiting.append(descriptor)
            if waiting:
                self.run_in_thread(disk.fsync, waiting)

    def place(self, source: str, key: str, place: Callable[[str, str], None]) -> list[str]:
        """Give a complete file its name, also on another file system; see `disk.into_place`."""
        try:
            return disk.into_place(source, self.path(key), place)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
        made: list[str] = self.run_in_thread(disk.copy_into_place, source, self.root, key, place)
        return made
