"""What the driver for local files does to the disk: plain blocking calls that raise OSError.

Durable means: forced to disk (fsync) together with the folder that holds the name.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from collections.abc import Callable, Iterator

from v1registry.storage import Buffer


def write_all(descriptor: int, data: Buffer) -> None:
    written = os.write(descriptor, data)
    if written < len(data):  # the disk is nearly full, or a limit was met: ask again to learn why
        rest = memoryview(data)
        while written < len(data):
            written += os.write(descriptor, rest[written:])


def into_place(source: str, target: str, place: Callable[[str, str], None]) -> None:
    """Give a complete file its name, making folders as needed; the name is not durable yet."""
    folder = os.path.dirname(target)
    for attempt in range(5):
        try:
            place(source, target)
            break
        except FileNotFoundError:
            # no such folder yet, or an emptied one was removed just now
            if attempt == 4 or not os.path.lexists(source):
                raise
            make_folders(folder)


def make_folders(folder: str) -> None:
    """Create a folder and its parents, each made durable in its own parent."""
    if os.path.isdir(folder):
        return
    parent = os.path.dirname(folder)
    make_folders(parent)
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder)
    sync_folder(parent)


def sync_folder(folder: str) -> None:
    """Make the names in a folder durable."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # removed meanwhile, with all that was in it
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=False)
    else:
        with contextlib.suppress(FileNotFoundError):
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
