"""Checks of what belongs to no image: the digest index, and what pushes have staged."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from v1registry.lib.maintenance.findings import Finding
from v1registry.lib.maintenance.parents import Parents
from v1registry.lib.names import Digest, ImageId
from v1registry.lib.oci.digest_index import is_kind
from v1registry.storage import Storage, keys
from v1registry.storage.errors import NotFound

STAGED = "staged layers"  # stands for all staged layers without a folder of pushes


class DigestChecks:
    """Checks the digest index. `images` are the ids in the store, sorted."""

    def __init__(self, storage: Storage, parents: Parents, images: Sequence[str]) -> None:
        self._storage = storage
        self._parents = parents
        self._images = images

    def folders(self) -> Iterator[str]:
        """Yield the folders of the index."""
        for algorithm in self._storage.list(keys.DIGESTS):
            for part in self._storage.list(f"{keys.DIGESTS}/{algorithm.name}"):
                yield f"{keys.DIGESTS}/{algorithm.name}/{part.name}"

    def check(self, folder: str) -> list[Finding]:
        """Return the findings about the entries in a folder. Raise StorageError."""
        algorithm = folder.split("/")[-2]
        return [
            finding
            for entry in self._storage.list(folder)
            if (finding := self._check(folder, algorithm, entry.name)) is not None
        ]

    def _check(self, folder: str, algorithm: str, name: str) -> Finding | None:
        value, _, rest = name.partition(".")
        kind, _, image_id = rest.partition("-")
        is_valid = Digest.is_valid(f"{algorithm}:{value}") and is_kind(kind)
        if not is_valid or not ImageId.is_valid(image_id):
            return Finding("digest-invalid", f"{folder}/{name}")
        at = bisect_left(self._images, image_id)
        is_listed = at < len(self._images) and self._images[at] == image_id
        if is_listed or self._parents.exists(image_id):
            return None
        return Finding("digest-orphaned", f"{folder}/{name}", fixable=True)


class PushChecks:
    """Checks what pushes have staged. What is older than `before` (epoch seconds) is abandoned."""

    def __init__(self, storage: Storage, parents: Parents, before: float) -> None:
        self._storage = storage
        self._parents = parents
        self._before = before

    def items(self) -> Iterator[str]:
        """Yield the names of the folders of pushes, and STAGED."""
        for entry in self._storage.list(keys.PUSHES):
            if ImageId.is_valid(entry.name):
                yield entry.name
        yield STAGED

    def check(self, item: str) -> list[Finding]:
        """Return the findings about an item. Raise StorageError."""
        return self._staged() if item == STAGED else self._push(f"{keys.PUSHES}/{item}")

    def _push(self, folder: str) -> list[Finding]:
        latest, count = 0.0, 0
        for entry in self._storage.list(folder):
            try:
                latest = max(latest, self._storage.stat(f"{folder}/{entry.name}").modified)
            except NotFound:
                continue
            count += 1
        if not count or latest >= self._before:
            return []
        is_over = self._parents.is_complete(folder.rpartition("/")[2])
        return [Finding("push-remains" if is_over else "push-abandoned", folder, fixable=True)]

    def _staged(self) -> list[Finding]:
        known = {keys.image(entry.name, "layer") for entry in self._storage.list(keys.PUSHES)}
        return [
            Finding("push-abandoned", stage.key, stage.handle, True)
            for stage in self._storage.stages()
            if stage.modified < self._before and stage.key not in known
        ]
