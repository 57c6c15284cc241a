"""Checks whether a store's folder can be used, and whether its file systems are mounted."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator

from v1registry.storage import Storage, exists, keys
from v1registry.storage.errors import NotMounted, Refused
from v1registry.storage.local.disk import FileErrors

_NOTE = f"{keys.OURS}/mounts"  # lists the folders that are on file systems of their own


class Mounts:
    """The folders of a store that are on file systems of their own, also of earlier starts."""

    def __init__(self, storage: Storage, root: str) -> None:
        self._storage = storage
        self._root = root
        self._folders: set[str] = set()

    def note(self) -> None:
        """Find the folders, and note them in the store for the next start."""
        found = self._storage.get(_NOTE).decode() if exists(self._storage, _NOTE) else ""
        noted = set(found.split())
        with FileErrors(self._root):
            self._folders = noted | on_other_file_systems(self._root)
        self.require()
        if self._folders != noted:
            self._storage.put(_NOTE, "\n".join(sorted(self._folders)).encode())

    def require(self) -> None:
        """Raise NotMounted if a folder that had a file system of its own is on the root's now."""
        with FileErrors(self._root):
            missing = self._folders and self._folders - on_other_file_systems(self._root)
        if missing:
            raise NotMounted(
                f"{self._root}/{min(missing)} was on a file system of its own and is not now. Mount it"
                f" again; if its content was moved, delete {self._root}/{_NOTE} and restart"
            )


def make_ready(root: str) -> None:
    """Make the root folder. Raise Refused if a sample of its content cannot be read and written."""
    with FileErrors(root):
        os.makedirs(root, exist_ok=True)
        read_only = os.statvfs(root).f_flag & os.ST_RDONLY
    if read_only:
        raise Refused(f"{root} is mounted read-only. To serve it so, set read_only")
    for path, access in sample(root):
        # another process may have deleted a temporary file since it was listed
        if not os.access(path, access) and os.path.lexists(path):
            user = f"{os.geteuid()}:{os.getegid()}"
            raise Refused(
                f"{path} cannot be read and written (the registry runs as {user})."
                f" To hand the store over, run: chown -R {user} {root}"
                " (if this is a container, run it on the host, for the folder mounted there)"
            )


def on_other_file_systems(root: str) -> set[str]:
    """Return the folders of the store that are on another file system than its root folder."""
    own = os.stat(root).st_dev
    found = set()
    for name in (keys.IMAGES, keys.REPOSITORIES):
        with contextlib.suppress(OSError):
            if os.stat(f"{root}/{name}").st_dev != own:
                found.add(name)
    return found


def sample(root: str, most: int = 50) -> Iterator[tuple[str, int]]:
    """Yield some paths of a store from the root down, each with the access that we need."""
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
