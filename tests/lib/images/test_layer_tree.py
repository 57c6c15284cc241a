"""The tree of the layers that images share."""

from __future__ import annotations

import pytest

from v1registry.lib.images.layer_tree import Branch, Segment, build, shared
from v1registry.lib.names import RepositoryName

REPOSITORY = RepositoryName.parse("team/app")

#: (layers, tags, children)
Shape = tuple[str, list[str], list["Shape"]]


def branch(tag: str, layers: str) -> Branch:
    return Branch(REPOSITORY if tag else None, tag, layers)


def shape(segment: Segment) -> Shape:
    tags = [one.tag for one in segment.branches]
    return "".join(segment.layers), tags, [shape(child) for child in segment.children]


def test_layers_without_a_fork_are_one_segment():
    assert shape(build([branch("1", "abc")])) == ("abc", ["1"], [])


def test_images_fork_after_the_last_layer_that_they_share():
    root = build(
        [branch("1", "abcx"), branch("2", "abcy"), branch("3", "abdz"), branch("4", "abcx")]
    )
    assert shape(root) == (
        "ab",
        [],
        [("c", [], [("x", ["1", "4"], []), ("y", ["2"], [])]), ("dz", ["3"], [])],
    )
    assert ["".join(one.layers) for one in root.walk()] == ["ab", "c", "x", "y", "dz"]


def test_a_tag_may_end_where_others_continue():
    assert shape(build([branch("1", "abc"), branch("base", "ab")])) == (
        "ab",
        ["base"],
        [("c", ["1"], [])],
    )


def test_a_thousand_layers_and_tags_do_not_nest_deeper_than_the_tags():
    layers = "".join(chr(0x4E00 + number) for number in range(1000))
    root = build([branch(str(number), layers[: 1000 - number]) for number in range(20)])
    assert len(list(root.walk())) == 20
    assert sum(len(one.layers) for one in root.walk()) == 1000


@pytest.mark.parametrize(
    ("one", "other", "count"),
    [("abc", "abd", 2), ("abc", "ab", 2), ("abc", "xbc", 0), ("", "a", 0)],
)
def test_shared(one: str, other: str, count: int):
    assert shared(one, other) == count


def test_names():
    assert branch("1", "a").name == "team/app:1"
    assert branch("", "a").name == ""
