"""The catalog: the repositories of a store in order, in pages, as v2 clients list them.

It lists only names that v2 clients can ask for: v1 allows more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from v1registry.lib.names import RESERVED, RepositoryName, is_v2_repository
from v1registry.storage import Storage, keys


def is_listable(name: str) -> bool:
    """Return whether v2 clients can ask for this name. It must not end in a word of v1's paths."""
    return is_v2_repository(name) and name.rpartition("/")[2] not in RESERVED


class RepositoryCatalog:
    """Lists repositories. `run_in_thread` runs the listings in the thread pool."""

    def __init__(self, storage: Storage, run_in_thread: Callable[..., Any]) -> None:
        self._storage = storage
        self._run_in_thread = run_in_thread

    def names(self, after: str = "") -> Iterator[RepositoryName]:
        """Yield the names, `namespace/name`, after `after`, and read the store lazily."""
        namespaces = self._run_in_thread(self._children, keys.REPOSITORIES, keys.decode)
        for namespace in sorted(namespaces, key=lambda name: f"{name}/"):
            prefix = f"{namespace}/"
            if prefix < after and not after.startswith(prefix):
                continue
            folder = f"{keys.REPOSITORIES}/{keys.encode(namespace)}"
            children = self._run_in_thread(self._children, folder, keys.repository_name)
            for name in sorted(children):
                if prefix + name > after and is_listable(prefix + name):
                    parsed = RepositoryName.parse(prefix + name)
                    if f"{folder}/{children[name]}" in parsed.folders:
                        yield parsed

    def _children(self, folder: str, decode: Callable[[str], str]) -> dict[str, str]:
        """Return the folders below a folder, by the names that they stand for."""
        entries = self._storage.list(folder)
        return {decode(entry.name): entry.name for entry in entries if entry.is_folder}
