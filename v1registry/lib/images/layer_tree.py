"""The layers that images share, as a tree: a path from the root is the ancestry of an image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from v1registry.lib.names import RepositoryName


@dataclass(frozen=True, slots=True)
class Branch:
    """A tag and the layers of its image, the base layer first. Without a tag: the image itself."""

    repository: RepositoryName | None
    tag: str
    layers: Sequence[str]

    @property
    def name(self) -> str:
        return f"{self.repository}:{self.tag}" if self.repository else ""


@dataclass(slots=True)
class Segment:
    """Layers that follow each other without a fork.

    `branches` end with the last of these layers, `children` continue after it.
    """

    layers: tuple[str, ...]
    branches: list[Branch] = field(default_factory=list)
    children: list[Segment] = field(default_factory=list)

    def walk(self) -> Iterator[Segment]:
        """Yield this segment and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()


def build(branches: Sequence[Branch], start: int = 0) -> Segment:
    """Return the tree of branches that all have the same layer at `start`.

    The depth is at most the number of branches.
    """
    end = start + 1
    shortest = min(len(branch.layers) for branch in branches)
    first = branches[0].layers
    while end < shortest and all(branch.layers[end] == first[end] for branch in branches):
        end += 1
    found = Segment(tuple(first[start:end]))
    groups: dict[str, list[Branch]] = {}
    for branch in branches:
        if len(branch.layers) == end:
            found.branches.append(branch)
        else:
            groups.setdefault(branch.layers[end], []).append(branch)
    found.children = [build(group, end) for group in groups.values()]
    return found


def shared(one: Sequence[str], other: Sequence[str]) -> int:
    """Return the number of layers that two images have in common, from the base layer on."""
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        count += 1
    return count
