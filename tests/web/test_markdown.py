"""Descriptions in Markdown contain no script, no style and nothing of other sites."""

from __future__ import annotations

import pytest
from markupsafe import Markup

from v1registry.web.markdown import rendered


def test_what_is_shown():
    text = "# One\n\n## Two\n\n*a* **b** `c` ~~d~~\n\n- e\n\n> f\n\n```sh\ng\n```\n\n|h|i|\n|-|-|\n|j|k|\n"
    found = rendered(text)
    for part in (
        "<h3>One</h3>",
        "<h4>Two</h4>",
        "<em>a</em>",
        "<strong>b</strong>",
        "<code>c</code>",
        "<s>d</s>",
        "<li>e</li>",
        "<blockquote>",
        '<pre tabindex="0"><code>g',
        "<td>j</td>",
    ):
        assert part in found
    assert '<a href="https://x.example"' in rendered("[x](https://x.example)")
    assert "nofollow" in rendered("[x](https://x.example)")


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "![x](https://evil.example/pixel.png)",
        "[x](javascript:alert(1))",
        "[x](data:text/html;base64,PHNjcmlwdD4=)",
        "<a href='javascript:alert(1)'>x</a>",
        '[x](https://e.example "onmouseover=alert(1)")',
        "```<script>\nx\n```",
        '<div style="position:fixed">x</div>',
        "<!-- --><svg onload=alert(1)>",
    ],
)
def test_what_is_not_shown(text: str):
    found = rendered(text)
    for bad in ("<script", "<img", "<svg", "<div", "<iframe", 'href="javascript', 'href="data'):
        assert bad not in found.lower()
    assert " on" not in found.split("<a ")[-1].split(">")[0] if "<a " in found else True


def test_texts_that_would_take_long_are_shown_as_they_are():
    """Some texts take the parser seconds, which grow with the square of their length."""
    for piece in ("[", "![", "[[](", "*_", "# a\n", "<", "&"):
        text = piece * (64 * 1024 // len(piece))
        assert rendered(text) == Markup('<pre tabindex="0">{}</pre>').format(text)
    assert "<li>" in rendered("- [x](https://x.example) *y*\n" * 900)
