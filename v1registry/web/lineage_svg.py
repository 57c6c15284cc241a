"""The lineage of images as an SVG: layers that follow each other in a box, tags at the right.

Pure functions of their arguments. All texts are escaped, and colours come from the style sheet: the
policy of the pages allows no inline styles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from v1registry.lib.images.layer_tree import Branch, Segment

_BOX = (124, 46)  # width and height
_GAP = 56  # between two columns
_TAG = 30  # height of the row of a tag
_ROW = 58  # height of the row of a box
_MARGIN = 8
_CHARACTER = 7.4  # width in the monospace font of tags
_LONGEST = 38  # characters of a tag


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts of the drawing, translated. The functions format a size and a number of layers."""

    title: str
    description: str
    size: Callable[[int], str]
    layers: Callable[[int], str]


@dataclass(slots=True)
class _Box:
    """A segment with its place: the centre of its left edge."""

    segment: Segment
    column: int
    y: float
    tags: list[tuple[Branch, float]]
    children: list[_Box]


def draw(
    root: Segment, sizes: Mapping[str, int | None], own: Sequence[str], texts: Texts
) -> Markup:
    """Return the SVG. `own` are the layers of the image, which are emphasized."""
    box, height = _place(root, 0, _MARGIN)
    boxes = list(_all(box))
    columns = max(one.column for one in boxes) + 1
    label_x = _MARGIN + columns * (_BOX[0] + _GAP)
    longest = max((len(_short(tag.name)) for one in boxes for tag, _ in one.tags), default=0)
    width = round(label_x + longest * _CHARACTER + 24 + _MARGIN)
    mine, mark = set(own), own[-1]
    edges = [edge for one in boxes for edge in _edges(one, label_x, mine, mark)]
    nodes = [_node(one, sizes, mine, mark, texts) for one in boxes]
    labels = [_label(tag, label_x, y, mark) for one in boxes for tag, y in one.tags]
    return Markup(
        '<svg class="lineage" viewBox="0 0 {0} {1}" width="{0}" height="{1}" role="img"'
        ' aria-labelledby="lineage-title lineage-description">'
        '<title id="lineage-title">{2}</title><desc id="lineage-description">{3}</desc>{4}</svg>'
    ).format(
        width,
        round(height + _MARGIN),
        texts.title,
        texts.description,
        Markup("").join([*edges, *nodes, *labels]),
    )


def _place(segment: Segment, column: int, top: float) -> tuple[_Box, float]:
    """Return the box of a segment that begins at `top`, and where it ends."""
    at = top
    tags = []
    for branch in segment.branches:
        if branch.name:
            tags.append((branch, at + _TAG / 2))
            at += _TAG
    children = []
    for child in segment.children:
        placed, at = _place(child, column + 1, at)
        children.append(placed)
    middles = [y for _, y in tags] + [child.y for child in children]
    if at - top < _ROW:
        shift = (_ROW - (at - top)) / 2
        tags = [(tag, y + shift) for tag, y in tags]
        return _Box(segment, column, top + _ROW / 2, tags, children), top + _ROW
    return _Box(segment, column, (middles[0] + middles[-1]) / 2, tags, children), at


def _all(box: _Box) -> list[_Box]:
    return [box, *(one for child in box.children for one in _all(child))]


def _x(box: _Box) -> int:
    return _MARGIN + box.column * (_BOX[0] + _GAP)


def _edges(box: _Box, label_x: float, mine: set[str], mark: str) -> list[Markup]:
    """Return the lines from a box to its children and tags."""
    start = _x(box) + _BOX[0]
    found = [
        _line(start, box.y, _x(child), child.y, child.segment.layers[0] in mine)
        for child in box.children
    ]
    for tag, y in box.tags:
        found.append(_line(start, box.y, label_x, y, tag.layers[-1] == mark))
    return found


def _line(x: float, y: float, to_x: float, to_y: float, is_own: bool) -> Markup:
    """Return a curve within the gap after `x`, and a straight line after it."""
    bend = x + _GAP
    half = x + _GAP / 2
    path = f"M{x:g} {y:g}C{half:g} {y:g} {half:g} {to_y:g} {bend:g} {to_y:g}"
    if to_x > bend:
        path += f"H{to_x:g}"
    return Markup('<path class="edge{}" d="{}"/>').format(" own" if is_own else "", path)


def _node(
    box: _Box, sizes: Mapping[str, int | None], mine: set[str], mark: str, texts: Texts
) -> Markup:
    layers = box.segment.layers
    known = [size for layer in layers if (size := sizes.get(layer)) is not None]
    total = texts.size(sum(known)) if len(known) == len(layers) else "…"
    kind = " current" if layers[-1] == mark else " own" if layers[0] in mine else ""
    x, top = _x(box), box.y - _BOX[1] / 2
    middle = x + _BOX[0] / 2
    return Markup(
        '<g class="node{}"><rect x="{:g}" y="{:g}" width="{}" height="{}" rx="7"/>'
        '<text class="size" x="{:g}" y="{:g}">{}</text>'
        '<text class="layers" x="{:g}" y="{:g}">{}</text></g>'
    ).format(
        kind, x, top, *_BOX, middle, box.y - 3, total, middle, box.y + 14, texts.layers(len(layers))
    )


def _label(tag: Branch, x: float, y: float, mark: str) -> Markup:
    text = _short(tag.name)
    return Markup(
        '<g class="label{}"><rect x="{:g}" y="{:g}" width="{:g}" height="22" rx="11"/>'
        '<text x="{:g}" y="{:g}">{}</text></g>'
    ).format(
        " current" if tag.layers[-1] == mark else "",
        x,
        y - 11,
        round(len(text) * _CHARACTER + 22, 1),
        x + 11,
        y + 4,
        text,
    )


def _short(text: str) -> str:
    """Return at most 38 characters: the tag at the end matters most."""
    return text if len(text) <= _LONGEST else f"…{text[1 - _LONGEST :]}"
