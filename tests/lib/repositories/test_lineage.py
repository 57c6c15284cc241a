"""Related tags: found from references, bounded, and only those that the visitor may see."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from tests.lib.stores import Domain, layer_of, write_image
from v1registry.lib.images.images import Image
from v1registry.lib.names import ImageId, RepositoryName, Tag
from v1registry.lib.repositories.lineage import Lineage, LineageFinder
from v1registry.lib.running import in_place
from v1registry.storage.memory import MemoryStorage

APP, OTHER, HIDDEN = (RepositoryName.parse(f"team/{name}") for name in ("app", "other", "hidden"))
LONG = 60.0


def id_of(word: str) -> ImageId:
    return ImageId(hashlib.sha256(word.encode()).hexdigest())


class World:
    """A store with one method to push an image to a tag."""

    def __init__(self) -> None:
        self.domain = Domain(MemoryStorage())
        self.finder = LineageFinder(
            self.domain.reach, self.domain.images, self.domain.tags, in_place
        )

    def push(self, repository: RepositoryName, tag: str, words: Sequence[str]) -> Image:
        """`words` name the layers, the base layer first."""
        ids = [id_of(word) for word in words]
        for number, layer in enumerate(ids):
            write_image(self.domain.storage, layer, tuple(ids[:number][::-1]), layer_of("x"))
        self.domain.repositories.set_tag(repository, Tag(tag), f'"{ids[-1]}"'.encode(), "")
        return self.domain.images.get(ids[-1])

    def find(
        self, image: Image, own: RepositoryName | None = APP, seconds: float = LONG
    ) -> Lineage:
        return self.finder.find(image, own, lambda name: name != HIDDEN, seconds=seconds)


def names(lineage: Lineage) -> list[str]:
    return [branch.name for branch in lineage.branches]


def test_tags_of_the_repository_and_of_others():
    world = World()
    image = world.push(APP, "1", ["base", "lib", "one"])
    world.push(APP, "2", ["base", "lib", "two"])
    world.push(APP, "unrelated", ["another"])
    world.push(OTHER, "x", ["base", "three"])
    world.push(HIDDEN, "x", ["base", "lib", "four"])
    found = world.find(image)
    assert names(found) == ["team/app:1", "team/app:2", "team/other:x"]
    assert not found.is_late
    assert found.branches[2].layers == [id_of("base"), id_of("three")]
    layers = {layer for branch in found.branches for layer in branch.layers}
    assert found.sizes == {layer: len(layer_of("x")) for layer in layers}


def test_an_image_without_a_tag_is_its_own_branch():
    world = World()
    world.push(APP, "1", ["base", "lib", "one"])
    image = world.domain.images.get(id_of("lib"))
    found = world.find(image, None)
    assert names(found) == ["", "team/app:1"]
    assert found.branches[0].layers == [id_of("base"), id_of("lib")]


def test_the_nearest_of_many_repositories():
    world = World()
    image = world.push(APP, "1", ["base", "lib", "one"])
    for number in range(20):
        name = RepositoryName.parse(f"far/r{number}")
        world.push(name, "x", ["base", f"far{number}"])
    world.push(OTHER, "x", ["base", "lib", "two"])
    assert names(world.find(image)) == ["team/app:1", "team/other:x"]
    base = world.domain.images.get(id_of("base"))
    found = names(world.find(base, None))
    assert len(found) == 13
    assert found[0] == ""


def test_many_tags_are_bounded():
    world = World()
    image = world.push(APP, "zz", ["base", "one"])
    for number in range(30):
        world.push(APP, f"t{number:02}", ["base", f"tag{number}"])
    found = names(world.find(image))
    assert len(found) == 12
    assert found[0] == "team/app:zz"


def test_a_tag_that_was_moved_is_not_named():
    world = World()
    image = world.push(APP, "1", ["base", "one"])
    world.push(OTHER, "x", ["base", "two"])
    world.push(OTHER, "x", ["another"])
    assert names(world.find(image)) == ["team/app:1"]


def test_reading_stops_in_time():
    world = World()
    image = world.push(APP, "1", ["base", "one"])
    world.push(OTHER, "x", ["base", "two"])
    found = world.find(image, seconds=-1)
    assert found.is_late
    assert names(found) == [""]


def test_an_ancestor_that_is_lost_has_no_size():
    world = World()
    image = world.push(APP, "1", ["base", "one"])
    world.domain.storage.delete(f"images/{id_of('base')}/json")
    assert world.find(image).sizes[id_of("base")] is None


def test_an_image_of_very_many_layers_is_not_compared():
    world = World()
    image = world.push(APP, "1", ["base", "one"])
    many = [id_of(str(number)) for number in range(1001)]
    large = Image(image.id, image.json, str(many).replace("'", '"').encode(), (), 1)
    assert world.find(large) == Lineage([], {}, False)
