"""The tags whose images share layers with an image, found without a walk of the store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice

from v1registry.lib.errors import Failure
from v1registry.lib.images.images import Image, Images
from v1registry.lib.images.layer_tree import Branch
from v1registry.lib.names import ImageId, RepositoryName
from v1registry.lib.repositories.references import RepositoryReferences
from v1registry.lib.repositories.tags import Tags
from v1registry.lib.running import Run, for_size
from v1registry.lib.support.single_flight import SingleFlightCache

MOST_LAYERS = 1000  # engines make at most 127
_OWN_TAGS = 12  # tags of the image's own repository
_OTHERS = 12  # further repositories, with one tag each
_LOOKED_AT = 200  # repositories of one layer
_OWN_LOOKED_AT = 40  # tags of the own repository, those of the greatest versions
_LIFE = 30.0  # seconds for which the repositories of a layer are cached
_CACHED = 200  # layers with their repositories, about 5 MB
_PAUSE_AFTER = 20  # images that are read before other requests may run

#: Whether the visitor may see a repository.
MaySee = Callable[[RepositoryName], bool]


@dataclass(frozen=True, slots=True)
class Lineage:
    """The image's own branch first, then those of related tags; `sizes` of their layers in bytes.

    `is_late`: reading stopped after the given time, so sizes and branches may be missing.
    """

    branches: list[Branch]
    sizes: dict[str, int | None]
    is_late: bool


@dataclass(eq=False)
class LineageFinder:
    """Finds related tags from the repository references of the image's layers."""

    references: RepositoryReferences
    images: Images
    tags: Tags
    compute: Run

    def __post_init__(self) -> None:
        self._users: SingleFlightCache[list[RepositoryName]] = SingleFlightCache(_LIFE, _CACHED)

    def find(
        self, image: Image, own: RepositoryName | None, may_see: MaySee, *, seconds: float
    ) -> Lineage:
        """Return the lineage of an image of `own`. After `seconds`, nothing more is read.

        An image of more than 1000 layers has no related tags.
        """
        end = time.monotonic() + seconds
        layers = self._layers(image)
        if len(layers) > MOST_LAYERS:
            return Lineage([], {}, False)
        found: list[Branch] = []
        is_late = False
        for number, (repository, tag, top) in enumerate(self._related(layers, own, may_see)):
            if time.monotonic() > end:
                is_late = True
                break
            self._pause(number)
            other = self.images.find(top)
            chain = layers if top == image.id else self._layers(other) if other else []
            if chain and chain[0] == layers[0] and len(chain) <= MOST_LAYERS:
                found.append(Branch(repository, tag, chain))
        if not any(branch.layers == layers for branch in found):
            found.insert(0, Branch(None, "", layers))
        found.sort(key=lambda branch: branch.layers != layers)
        sizes, has_all = self._sizes(found, end)
        return Lineage(found, sizes, is_late or not has_all)

    def _layers(self, image: Image) -> list[str]:
        ids: list[str] = for_size(self.compute, len(image.ancestry))(lambda: image.ancestors)
        return ids[::-1]

    def _related(
        self, layers: list[str], own: RepositoryName | None, may_see: MaySee
    ) -> Iterator[tuple[RepositoryName, str, str]]:
        """Yield repositories, tags and their images; not all of them share a layer."""
        if own is not None:
            _, tags = self.tags.page(own, "", 0, _OWN_LOOKED_AT) or (0, [])
            yield from ((own, tag, top) for tag, top in _nearest(layers, tags))
        layer, others = self._nearest_users(layers, own, may_see)
        for repository in others:
            tag = self.references.find_tag(repository, ImageId(layer))
            top = self.tags.get(repository, tag) if tag is not None else None
            if tag is not None and top is not None:
                yield repository, tag, top

    def _nearest_users(
        self, layers: list[str], own: RepositoryName | None, may_see: MaySee
    ) -> tuple[str, list[RepositoryName]]:
        """Return a layer, and the other repositories with it that the visitor may see.

        Each repository with a layer also contains the layer's ancestors. So a binary search finds the
        layer nearest to the base that not too many repositories contain.
        """
        seen: dict[RepositoryName, bool] = {}

        def users(number: int) -> list[RepositoryName]:
            found = []
            for one in self._users.get(layers[number], partial(self._list, layers[number])):
                if one not in seen:
                    seen[one] = one != own and may_see(one)
                if seen[one]:
                    found.append(one)
            return sorted(found)

        low, high = 0, len(layers) - 1  # the layer is between them
        best = users(low)
        if len(best) <= _OTHERS:
            return layers[0], best
        while low < high:
            middle = (low + high) // 2
            best = users(middle)
            if len(best) > _OTHERS:
                low = middle + 1
            else:
                high = middle
        return layers[high], users(high)[:_OTHERS]

    def _list(self, layer: str) -> list[RepositoryName]:
        """Return repositories that may contain the layer."""
        return list(islice(self.references.candidates(ImageId(layer)), _LOOKED_AT))

    def _sizes(self, branches: list[Branch], end: float) -> tuple[dict[str, int | None], bool]:
        """Return the stored size of each layer, and whether all of them were read in time."""
        sizes: dict[str, int | None] = {}
        for branch in branches:
            for layer in branch.layers:
                if layer in sizes:
                    continue
                if time.monotonic() > end:
                    return sizes, False
                self._pause(len(sizes))
                try:
                    found = self.images.find(layer)
                except Failure:  # its data is lost
                    found = None
                sizes[layer] = found.size if found is not None else None
        return sizes, True

    def _pause(self, number: int) -> None:
        if number % _PAUSE_AFTER == _PAUSE_AFTER - 1:
            self.compute(int)  # waits for a thread: other requests run meanwhile


def _nearest(layers: list[str], tags: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return some of the tags and their images: those of the image first, then of its ancestors."""
    ranks = {layer: -number for number, layer in enumerate(layers)}
    return sorted(tags, key=lambda found: ranks.get(found[1], 1))[:_OWN_TAGS]
