"""One page of a repository's tags, with what a person wants to know about each image.

Facts about an image are a pure function of it, and are cached. No layer is read for them: a digest is
missing until the image was scanned, and a request stops reading images after a limited time.
"""

from __future__ import annotations

import math
import time
from dataclasses import KW_ONLY, dataclass

from v1registry.lib.errors import Failure
from v1registry.lib.images.description import describe
from v1registry.lib.images.images import Image, Images
from v1registry.lib.layers.scan import LayerDescriptor
from v1registry.lib.names import ImageId, RepositoryName, Tag
from v1registry.lib.oci.convert import SCHEMA2
from v1registry.lib.oci.images import UnservableImage, V2Images
from v1registry.lib.oci.layer_metadata import LayerMetadataStore
from v1registry.lib.repositories.repositories import Repositories
from v1registry.lib.repositories.tags import Tags
from v1registry.lib.running import Run, for_size, in_place
from v1registry.lib.support.cache import Cache

_LARGEST = 512 * 1024  # bytes of image JSON that are parsed or converted for one row
_CACHED = 2000  # facts about images, about 1 MB


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """Facts about one image. None: not known.

    `size` is the sum of its stored layers in bytes, `created` in seconds since the epoch, and
    `digest` that of the manifest that today's clients pull.
    """

    created: float | None
    platform: str
    size: int | None
    layers: int
    digest: str | None


@dataclass(frozen=True, slots=True)
class TagRow:
    """One tag. `facts` is None if the image is missing, or was not read in time (`is_late`)."""

    name: str
    image_id: str
    pushed: int | None
    facts: ImageFacts | None
    is_late: bool


@dataclass(frozen=True, slots=True)
class TagPage:
    """The tags of one page, and the number of all tags that match."""

    rows: list[TagRow]
    total: int


@dataclass(eq=False)
class TagList:
    """Lists tags. With `with_digests`, the v2 view is switched on. `compute` parses large JSON."""

    repositories: Repositories
    tags: Tags
    images: Images
    blobs: LayerMetadataStore
    v2_images: V2Images
    _: KW_ONLY
    with_digests: bool
    cache_life: float = math.inf
    compute: Run = in_place

    def __post_init__(self) -> None:
        self._facts: Cache[ImageFacts] = Cache(_CACHED, self.cache_life, lambda _: 1)

    def page(
        self, repository: RepositoryName, text: str, number: int, size: int, *, seconds: float
    ) -> TagPage | None:
        """Return page `number` (from 1) of the tags that contain `text`; None if nothing is stored.

        After `seconds`, further images are not read.
        """
        found = self.tags.page(repository, text, (number - 1) * size, size)
        if found is None:
            return None
        end = time.monotonic() + seconds
        rows = [self._row(repository, tag, image_id, end) for tag, image_id in found[1]]
        return TagPage(rows, found[0])

    def _row(self, repository: RepositoryName, tag: str, image_id: str, end: float) -> TagRow:
        facts = self._facts.get(image_id)
        if facts is None and time.monotonic() > end:
            return TagRow(tag, image_id, None, None, True)
        pushed = self.repositories.metadata(repository, Tag(tag)).get("last_update")
        when = int(pushed) if isinstance(pushed, int | float) and 0 < pushed < 2**40 else None
        return TagRow(tag, image_id, when, facts or self._read(image_id), False)

    def _read(self, image_id: str) -> ImageFacts | None:
        try:
            image = self.images.find(image_id)
        except Failure:  # its data is lost
            image = None
        if image is None:
            return None
        is_large = len(image.json) > _LARGEST
        about = None if is_large else for_size(self.compute, len(image.json))(describe, image.json)
        chain = [self.images.find(id) for id in image.ancestors]
        sizes = [None if one is None else one.size for one in chain]
        known = [size for size in sizes if size is not None]
        facts = ImageFacts(
            about.created if about else None,
            about.platform if about else "",
            sum(known) if len(known) == len(sizes) else None,
            len(chain),
            self._digest(image.id, chain) if self.with_digests else None,
        )
        if facts.size is not None and (facts.digest or is_large or not self.with_digests):
            self._facts.put(image_id, facts)
        return facts

    def _digest(self, image_id: ImageId, chain: list[Image | None]) -> str | None:
        size = 0
        for image in chain:
            if image is None or not isinstance(self.blobs.known(image), LayerDescriptor):
                return None
            size += len(image.json)
        if size > _LARGEST:
            return None
        try:
            return self.v2_images.get(image_id, whole=False).manifests[SCHEMA2].digest
        except UnservableImage:
            return None
