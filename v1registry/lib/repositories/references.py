"""Repository references: which repositories contain an image, through a tag of it or of a descendant.

Images name no repository, and an engine that requests an image often names none. So a small file for
each repository is beside each image: `images/ID/_repositories/NAME`, a *repository reference*. It
names a tag. It is written when a tag is set, the base image's first and before the tag itself.

A reference grants nothing by itself: the reader checks whether the tag still leads to the image. So
deleting a tag or a repository need not touch images. References that are missing because 0.x wrote
the store are written by `ReferenceBackfill`.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from v1registry.lib import documents
from v1registry.lib.errors import Failure
from v1registry.lib.images.images import Image, Images
from v1registry.lib.names import ImageId, RepositoryName
from v1registry.lib.repositories.tags import Tags
from v1registry.lib.running import Run, for_size, in_place
from v1registry.lib.support.single_flight import SingleFlightCache
from v1registry.storage import Storage, keys
from v1registry.storage.errors import NotFound, Refused

_READ_COST = 8  # reading one reference takes as long as parsing this many of its image's ids
_PAUSE_AFTER = 50  # tags that are checked before other requests may run
LIFE = 5.0  # seconds for which a positive result is cached after a tag or a repository was deleted


@dataclass(frozen=True, slots=True)
class Reference:
    """`tag` led to the image when this was written. `whole`: all ancestors have references, too."""

    repository: str
    tag: str
    whole: bool


@dataclass(eq=False)
class RepositoryReferences:
    """Writes references and checks them. `compute` runs the work on long ancestries."""

    storage: Storage
    images: Images
    tags: Tags
    compute: Run = in_place

    def __post_init__(self) -> None:
        self._results: SingleFlightCache[bool] = SingleFlightCache(LIFE)

    def prepare(self, repository: RepositoryName, tag: str, image: Image) -> dict[str, bytes]:
        """Write the missing references of the image's ancestors; return its own, by key.

        The caller writes the returned files together with the tag, before the tag.
        """
        run = for_size(self.compute, _READ_COST * len(image.ancestry))
        missing: list[str] = run(self._missing, repository, image)
        ancestors = [id for id in missing[::-1] if id != image.id]
        # A crash may lose an ancestor's reference and keep its child's. So only the image's own
        # reference, written when all others are durable, says `whole`.
        self.storage.put_all(run(_references, repository, tag, ancestors, False))
        own = [id for id in missing if id == image.id]
        return _references(repository, tag, own, True)

    def _missing(self, repository: RepositoryName, image: Image) -> list[str]:
        """Return the ids of the image and its ancestors whose references must be written."""
        missing: list[str] = []
        for id in image.ancestors:
            reference = self._read(keys.reference(id, str(repository)))
            if reference is not None and reference.whole:
                break
            if reference is None or id == image.id:
                missing.append(id)
        return missing

    def contains(self, repository: RepositoryName, image_id: ImageId) -> bool:
        """Return whether the repository contains the image. A positive result may be 5 seconds old."""
        key = f"{repository} {image_id}"
        return self._results.get(key, lambda: self.find_tag(repository, image_id) is not None)

    def find_tag(self, repository: RepositoryName, image_id: ImageId) -> str | None:
        """Return a tag of the repository that leads to the image, or None; repair a wrong reference."""
        reference = self._read(keys.reference(image_id, str(repository)))
        if reference is not None:
            top = self.tags.get(repository, reference.tag)
            if top is not None and self._leads(top, image_id):
                return reference.tag
        # The tag is gone or points to another image, or 0.x set another tag.
        tag = self._search_tags(repository, image_id)
        if tag is not None:
            whole = reference is not None and reference.whole
            with contextlib.suppress(Refused):  # a read-only store
                self._write(repository, tag, [image_id], whole=whole)
        return tag

    def candidates(self, image_id: ImageId) -> Iterator[RepositoryName]:
        """Yield the repositories that may contain the image; check each with `contains`."""
        folder = keys.references(image_id)
        for entry in self.storage.list(folder):
            name = keys.referenced_repository(entry.name)
            if name is None:
                reference = self._read(f"{folder}/{entry.name}")
                name = reference.repository if reference else ""
            with contextlib.suppress(Failure):  # a file that the registry did not write
                yield RepositoryName.parse_stored(name)

    # -- for a whole store (see `ReferenceBackfill`) --------------------------------

    def repair(self, repository: RepositoryName, tops: dict[str, str]) -> int:
        """Write every missing reference for these tags, ignoring `whole`; return their number."""
        written = 0
        done: set[str] = set()
        for tag, top in tops.items():
            image = self.images.find(top)
            if image is None or top in done:
                continue
            missing = [
                id
                for id in image.ancestors
                if id not in done and self._read(keys.reference(id, str(repository))) is None
            ]
            self._write(repository, tag, missing[::-1], whole=False)
            if top in missing or not self._is_whole(repository, top):
                self._write(repository, tag, [top], whole=True)
            written += len(missing)
            done.update(image.ancestors)
        return written

    def write(self, repository: RepositoryName, tag: str, image_id: ImageId) -> None:
        """Write one missing reference; `tag` leads to the image."""
        self._write(repository, tag, [image_id], whole=False)

    def delete_stale(self, image_id: ImageId) -> int:
        """Delete the image's references that are no longer valid; return their number."""
        dropped = 0
        for repository in list(self.candidates(image_id)):
            if self.find_tag(repository, image_id) is None:
                self.storage.delete(keys.reference(image_id, str(repository)))
                dropped += 1
                self.find_tag(repository, image_id)  # writes it again if a tag was set meanwhile
        return dropped

    def _is_whole(self, repository: RepositoryName, image_id: str) -> bool:
        reference = self._read(keys.reference(image_id, str(repository)))
        return reference is not None and reference.whole

    def _write(self, repository: RepositoryName, tag: str, ids: list[str], *, whole: bool) -> None:
        self.storage.put_all(_references(repository, tag, ids, whole))

    def _search_tags(self, repository: RepositoryName, image_id: ImageId) -> str | None:
        """Return a tag of the repository that leads to the image, or None."""
        for number, (tag, top) in enumerate(self.tags.each(repository)):
            if number % _PAUSE_AFTER == _PAUSE_AFTER - 1:
                self.compute(int)  # waits for a thread: other requests run meanwhile
            if self._leads(top, image_id):
                return tag
        return None

    def _leads(self, top: str, image_id: str) -> bool:
        if top == image_id:
            return True
        image = self.images.find(top)
        return image is not None and image_id in image.ancestors

    def _read(self, key: str) -> Reference | None:
        try:
            value: Any = json.loads(self.storage.get(key))
            return Reference(str(value["repository"]), str(value["tag"]), value["whole"] is True)
        except (NotFound, ValueError, KeyError, TypeError):
            return None


def _references(
    repository: RepositoryName, tag: str, ids: list[str], whole: bool
) -> dict[str, bytes]:
    data = documents.dump({"repository": str(repository), "tag": tag, "whole": whole})
    return {keys.reference(id, str(repository)): data for id in ids}
