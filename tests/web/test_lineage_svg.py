"""The drawing of a lineage, and the limit on texts."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from markupsafe import Markup

from tests.web.conftest import HOSTILE
from v1registry.lib.images.layer_tree import Branch, build
from v1registry.lib.names import RepositoryName
from v1registry.web.lineage_svg import Texts, draw
from v1registry.web.text_budget import TextBudget

SVG = "{http://www.w3.org/2000/svg}"
TEXTS = Texts(
    "The title", "What it shows", lambda size: f"{size} B", lambda number: f"{number} layers"
)


def branch(name: str, tag: str, layers: str) -> Branch:
    return Branch(RepositoryName("team", name), tag, layers)


def parse(svg: Markup) -> ET.Element:
    return ET.fromstring(str(svg).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


def texts(svg: Markup, kind: str) -> list[str]:
    return [
        "|".join(text.text or "" for text in group.iter(f"{SVG}text"))
        for group in parse(svg).iter(f"{SVG}g")
        if (group.get("class") or "").split()[0] == kind
    ]


def test_segments_and_tags():
    branches = [branch("app", "1", "abc"), branch("app", "2", "abd"), branch("base", "x", "ab")]
    svg = draw(build(branches), {"a": 1, "b": 2, "c": 3, "d": None}, "abc", TEXTS)
    assert texts(svg, "node") == ["3 B|2 layers", "3 B|1 layers", "…|1 layers"]
    assert texts(svg, "label") == ["team/base:x", "team/app:1", "team/app:2"]
    root = parse(svg)
    assert root.get("role") == "img"
    assert [one.text for one in root.findall(f"{SVG}title") + root.findall(f"{SVG}desc")] == [
        "The title",
        "What it shows",
    ]
    classes = [group.get("class") for group in root.iter(f"{SVG}g")]
    assert classes == ["node own", "node current", "node", "label", "label current", "label"]


def test_nothing_overlaps_and_all_is_inside():
    branches = [branch("app", f"{n}-{m}", f"ab{n}{m}") for n in range(5) for m in range(4)]
    branches += [branch("app", f"{n}", f"ab{n}") for n in range(5)] + [branch("b", "b", "ab")]
    root = parse(draw(build(branches), {}, "ab00", TEXTS))
    width, height = float(root.get("width") or 0), float(root.get("height") or 0)
    boxes = [
        tuple(float(rect.get(name) or 0) for name in ("x", "y", "width", "height"))
        for rect in root.iter(f"{SVG}rect")
    ]
    assert len(boxes) == 26 + 26
    for number, (x, y, w, h) in enumerate(boxes):
        assert x >= 0
        assert y >= 0
        assert x + w <= width
        assert y + h <= height
        for other_x, other_y, other_w, other_h in boxes[:number]:
            apart = x >= other_x + other_w or other_x >= x + w
            assert apart or y >= other_y + other_h or other_y >= y + h


def test_hostile_names_stay_text():
    svg = draw(build([branch(HOSTILE, HOSTILE, "a")]), {"a": 1}, "a", TEXTS)
    assert "<script" not in svg
    assert "<img" not in svg
    assert "style=" not in svg
    assert texts(svg, "label") == [f"…{f'team/{HOSTILE}:{HOSTILE}'[-37:]}"]


def test_an_image_without_a_tag_has_no_label():
    svg = draw(build([Branch(None, "", "ab")]), {"a": 1, "b": 1}, "ab", TEXTS)
    assert texts(svg, "label") == []
    assert texts(svg, "node") == ["2 B|2 layers"]


def test_texts_are_cut_by_the_bytes_that_they_take():
    budget = TextBudget(100, 30)
    assert budget.cut("short") == "short"
    assert budget.cut("x" * 31) == "x" * 30 + "…"
    assert budget.cut('"' * 30) == '"' * 6 + "…"  # &#34;
    shown, left = budget.cut_all(["y" * 20] * 5)
    assert shown == ["y" * 20, "y" * 15 + "…"]
    assert left == 3
    assert budget.cut("more") == "…"
    assert budget.cut("") == ""
