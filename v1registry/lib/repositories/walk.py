"""Walks over all repositories or images of a store, for commands. No request may walk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from v1registry.lib.names import ImageId, RepositoryName
from v1registry.storage import Storage, keys

UNREACHABLE = "no client can ask for a repository of this name: rename or delete its folder"

LeftOut = Callable[[str, str, str], object]  # called with a repository, a tag or "", the reason


def folders(storage: Storage) -> Iterator[tuple[str, RepositoryName | None]]:
    """Yield each folder of two levels below `repositories`, with the name it stands for, if any."""
    for namespace in storage.list(keys.REPOSITORIES):
        if namespace.is_folder:
            for entry in storage.list(f"{keys.REPOSITORIES}/{namespace.name}"):
                if entry.is_folder:
                    folder = f"{keys.REPOSITORIES}/{namespace.name}/{entry.name}"
                    yield folder, RepositoryName.of_folders(namespace.name, entry.name)


def repositories(storage: Storage, left_out: LeftOut | None = None) -> Iterator[RepositoryName]:
    """Yield every repository that clients can request, each once.

    `left_out` is called for every other repository.
    """
    seen: set[RepositoryName] = set()  # names that may have a second folder, in the form of 0.8.0
    for folder, name in folders(storage):
        if name in seen:
            continue
        is_legal = name is not None and name.is_legal
        if not is_legal and not is_repository(child.name for child in storage.list(folder)):
            continue
        if name is not None:
            if not is_legal or len(name.folders) > 1:
                seen.add(name)
            yield name
        elif left_out:
            left_out(ascii(folder.removeprefix(f"{keys.REPOSITORIES}/"))[1:-1], "", UNREACHABLE)


def is_repository(names: Iterable[str]) -> bool:
    """Return whether a folder with files of these names is a repository, not another program's."""
    return any(name.startswith((keys.TAG, "_index_", "_images_list")) for name in names)


def images(storage: Storage) -> Iterator[ImageId]:
    """Yield every image id, complete or not."""
    for entry in storage.list(keys.IMAGES):
        if entry.is_folder and ImageId.is_valid(entry.name):
            yield ImageId(entry.name)
