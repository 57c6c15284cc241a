"""Walks over a whole store, for commands; never within a request."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from v1registry.lib.names import ImageId, RepositoryName
from v1registry.storage import Storage, keys

UNREACHABLE = "no client can ask for a repository of this name: rename or delete its folder"

LeftOut = Callable[[str, str, str], object]  # called with a repository, a tag or "", the reason


def repositories(storage: Storage, left_out: LeftOut | None = None) -> Iterator[RepositoryName]:
    """Every repository whose name can be asked for, each once.

    `left_out` is called for every other one.
    """
    seen: set[RepositoryName] = set()  # whose name may lie there in the form of 0.8.0, too
    for namespace in storage.list(keys.REPOSITORIES):
        if not namespace.is_folder:
            continue
        for entry in storage.list(f"{keys.REPOSITORIES}/{namespace.name}"):
            name = RepositoryName.of_folders(namespace.name, entry.name)
            if not entry.is_folder or name in seen:
                continue
            if name is None or not name.is_legal:
                folder = f"{keys.REPOSITORIES}/{namespace.name}/{entry.name}"
                if not is_repository(child.name for child in storage.list(folder)):
                    continue
            if name is not None:
                if not name.is_legal or len(name.folders) > 1:
                    seen.add(name)
                yield name
            elif left_out:
                left_out(ascii(f"{namespace.name}/{entry.name}")[1:-1], "", UNREACHABLE)


def is_repository(names: Iterable[str]) -> bool:
    """Whether files of these names make a folder a repository, and not one of another program."""
    return any(name.startswith((keys.TAG, "_index_", "_images_list")) for name in names)


def images(storage: Storage) -> Iterator[ImageId]:
    """Every image, finished or not."""
    for entry in storage.list(keys.IMAGES):
        if entry.is_folder and ImageId.is_valid(entry.name):
            yield ImageId(entry.name)
