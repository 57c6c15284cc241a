"""The repositories of a store in order, page by page, as v2 clients list them.

Only names that such clients can ask for are listed: v1 allowed more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from v1registry.lib.names import RESERVED, RepositoryName
from v1registry.storage import Storage, keys

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")


def is_sayable(name: str) -> bool:
    """Whether v2 clients can ask for a repository of this name. Words of v1's paths end none."""
    return _NAME.fullmatch(name) is not None and name.rpartition("/")[2] not in RESERVED


class RepositoryCatalog:
    """Lists repositories. `offload` runs the listings, which grow with the store."""

    def __init__(self, storage: Storage, offload: Callable[..., Any]) -> None:
        self._storage = storage
        self._offload = offload

    def names(self, after: str = "") -> Iterator[RepositoryName]:
        """The names, `namespace/name`, that sort behind `after`; read as far as they are taken."""
        namespaces = self._offload(self._children, keys.REPOSITORIES, keys.decode)
        for namespace in sorted(namespaces, key=lambda name: f"{name}/"):
            prefix = f"{namespace}/"
            if prefix < after and not after.startswith(prefix):
                continue
            folder = f"{keys.REPOSITORIES}/{keys.encode(namespace)}"
            children = self._offload(self._children, folder, keys.repository_name)
            for name in sorted(children):
                if prefix + name > after and is_sayable(prefix + name):
                    parsed = RepositoryName.parse(prefix + name)
                    if f"{folder}/{children[name]}" in parsed.folders:
                        yield parsed

    def _children(self, folder: str, decode: Callable[[str], str]) -> dict[str, str]:
        """The folders below one, by the names that they stand for."""
        entries = self._storage.list(folder)
        return {decode(entry.name): entry.name for entry in entries if entry.is_folder}
