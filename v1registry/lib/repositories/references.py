"""Which repositories reach an image: through a tag that points to it or to a descendant.

Images carry no repository, and an engine that asks for one often names none. So beside each image
lies a small file a repository, `images/ID/_repositories/NAME`, its *claim*. It is written when a
tag is set, base first, before the tag itself, and it names the tag. It grants nothing by itself:
whoever reads one looks whether the tag still leads to the image, so deleting tags or repositories
needs no second look at images. What lacks, since 0.x wrote the store, is written by `ReachFacts`.
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

_READ = 8  # claims are files: reading one takes as long as parsing its id so many times
_TURN = 50  # tags that are looked at before others get their turn
LIFE = 5.0  # seconds for which a "yes" is believed after a tag or a repository was deleted


@dataclass(frozen=True, slots=True)
class Claim:
    """`tag` led to the image when it was written; `whole`: its ancestors' claims lie there, too."""

    repository: str
    tag: str
    whole: bool


class RepositoryReferences:
    """Writes claims and checks them; `compute` runs what is done with very many."""

    def __init__(
        self, storage: Storage, images: Images, tags: Tags, compute: Run = in_place
    ) -> None:
        self._storage = storage
        self._compute = compute
        self._images = images
        self._tags = tags
        self._held: SingleFlightCache[bool] = SingleFlightCache(LIFE)

    def claims(self, repository: RepositoryName, tag: str, image: Image) -> dict[str, bytes]:
        """What lacks of the claims of an image and its ancestors: theirs are written here, its own
        is to be written with the tag and before it."""
        run = for_size(self._compute, _READ * len(image.ancestry))
        missing: list[str] = run(self._missing, repository, image)
        older = [id for id in missing[::-1] if id != image.id]
        # After a crash, an ancestor's may be lost and its child's not: only the last one, written
        # when all the others are safe, says that there is nothing more to look for.
        self._storage.put_all(run(_claims, repository, tag, older, False))
        own = [id for id in missing if id == image.id]
        return _claims(repository, tag, own, True)

    def _missing(self, repository: RepositoryName, image: Image) -> list[str]:
        """The ids of the image and its ancestors whose claims are to be written."""
        missing: list[str] = []
        for id in image.ancestors:
            claim = self._read(keys.claim(id, str(repository)))
            if claim is not None and claim.whole:
                break
            if claim is None or id == image.id:
                missing.append(id)
        return missing

    def holds(self, repository: RepositoryName, image_id: ImageId) -> bool:
        """Whether the repository reaches the image; a "yes" may be some seconds old."""
        key = f"{repository} {image_id}"
        return self._held.get(key, lambda: self._holds(repository, image_id))

    def claiming(self, image_id: ImageId) -> Iterator[RepositoryName]:
        """The repositories that may reach the image, to be checked by `holds`."""
        folder = keys.claims(image_id)
        for entry in self._storage.list(folder):
            name = keys.claiming(entry.name)
            if name is None:
                claim = self._read(f"{folder}/{entry.name}")
                name = claim.repository if claim else ""
            with contextlib.suppress(Failure):  # not written by us
                yield RepositoryName.parse_stored(name)

    # -- for a whole store (see `lib.facts`) ---------------------------------------

    def mend(self, repository: RepositoryName, tops: dict[str, str]) -> int:
        """Write every claim that lacks for these tags, whatever others say; return how many."""
        written = 0
        done: set[str] = set()
        for tag, top in tops.items():
            image = self._images.find(top)
            if image is None or top in done:
                continue
            missing = [
                id
                for id in image.ancestors
                if id not in done and self._read(keys.claim(id, str(repository))) is None
            ]
            self._write(repository, tag, missing[::-1], whole=False)
            if top in missing or not self._is_whole(repository, top):
                self._write(repository, tag, [top], whole=True)
            written += len(missing)
            done.update(image.ancestors)
        return written

    def drop_stale(self, image_id: ImageId) -> int:
        """Remove the image's claims that hold no more; return how many."""
        dropped = 0
        for repository in list(self.claiming(image_id)):
            if not self._holds(repository, image_id):
                self._storage.delete(keys.claim(image_id, str(repository)))
                dropped += 1
                self._holds(repository, image_id)  # a tag was set just now: written again
        return dropped

    def _is_whole(self, repository: RepositoryName, image_id: str) -> bool:
        claim = self._read(keys.claim(image_id, str(repository)))
        return claim is not None and claim.whole

    def _write(self, repository: RepositoryName, tag: str, ids: list[str], *, whole: bool) -> None:
        self._storage.put_all(_claims(repository, tag, ids, whole))

    def _holds(self, repository: RepositoryName, image_id: ImageId) -> bool:
        claim = self._read(keys.claim(image_id, str(repository)))
        if claim is not None:
            top = self._tags.get(repository, claim.tag)
            if top is not None and self._leads(top, image_id):
                return True
        # The tag is gone or points elsewhere, or 0.x set one: look at all tags of this repository.
        for number, (tag, top) in enumerate(self._tags.each(repository)):
            if number % _TURN == _TURN - 1:
                self._compute(int)  # waits for a thread, and lets other clients run meanwhile
            if self._leads(top, image_id):
                whole = claim is not None and claim.whole
                with contextlib.suppress(Refused):  # a store that we may not write
                    self._write(repository, tag, [image_id], whole=whole)
                return True
        return False

    def _leads(self, top: str, image_id: str) -> bool:
        if top == image_id:
            return True
        image = self._images.find(top)
        return image is not None and image_id in image.ancestors

    def _read(self, key: str) -> Claim | None:
        try:
            value: Any = json.loads(self._storage.get(key))
            return Claim(str(value["repository"]), str(value["tag"]), value["whole"] is True)
        except (NotFound, ValueError, KeyError, TypeError):
            return None


def _claims(repository: RepositoryName, tag: str, ids: list[str], whole: bool) -> dict[str, bytes]:
    data = documents.dump({"repository": str(repository), "tag": tag, "whole": whole})
    return {keys.claim(id, str(repository)): data for id in ids}
