"""Walks over a whole store, for commands; never within a request."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from v1registry.lib.errors import Failure
from v1registry.lib.names import ImageId, RepositoryName
from v1registry.storage import Storage, keys


def repositories(storage: Storage) -> Iterator[RepositoryName]:
    """Every repository whose name can be asked for, each once."""
    for namespace in storage.list(keys.REPOSITORIES):
        if not namespace.is_folder:
            continue
        seen: set[str] = set()  # a nested name may lie there in the form of 0.8.0, too
        for entry in storage.list(f"{keys.REPOSITORIES}/{namespace.name}"):
            name = f"{keys.decode(namespace.name)}/{keys.repository_name(entry.name)}"
            if entry.is_folder and name not in seen:
                seen.add(name)
                with contextlib.suppress(Failure):
                    yield RepositoryName.parse(name)


def images(storage: Storage) -> Iterator[ImageId]:
    """Every image, finished or not."""
    for entry in storage.list(keys.IMAGES):
        if entry.is_folder and ImageId.is_valid(entry.name):
            yield ImageId(entry.name)
