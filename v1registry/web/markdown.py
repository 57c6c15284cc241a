"""Descriptions in Markdown, as HTML that contains no script, no style and no content of other sites."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import nh3
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

_TAGS = {
    *("p", "br", "hr", "h3", "h4", "h5", "h6", "blockquote", "ul", "ol", "li", "pre", "code"),
    *("em", "strong", "s", "a", "table", "thead", "tbody", "tr", "th", "td"),
}
_HIGHEST = 2  # levels of headings that the page itself uses

# The parser takes the square of the time for many of these: a text with more is shown as plain text.
_MOST = {"[": 1000, "*": 3000, "_": 3000, "~": 3000, "\n": 4000, "<": 5000, "&": 5000, "\\": 5000}
_CACHED = 32  # descriptions, of at most 64 KiB each

_parser = MarkdownIt("commonmark", {"html": False, "maxNesting": 20})
_parser.enable(["table", "strikethrough"]).disable("image")


@lru_cache(_CACHED)
def rendered(text: str) -> Markup:
    """Return a description as HTML. A long text takes some 100 ms: run it beside the event loop."""
    if any(text.count(character) > most for character, most in _MOST.items()):
        return Markup('<pre tabindex="0">{}</pre>').format(text)
    tokens = _parser.parse(text)
    _lower_headings(tokens)
    html = _parser.renderer.render(tokens, _parser.options, {})
    safe = nh3.clean(
        html,
        tags=_TAGS,
        attributes={"a": {"href"}},
        url_schemes={"http", "https", "mailto"},
        link_rel="nofollow noopener noreferrer ugc",
    )
    # A keyboard can scroll a block of code only if it takes the focus.
    return Markup(safe.replace("<pre>", '<pre tabindex="0">'))


def _lower_headings(tokens: Sequence[Token]) -> None:
    """Begin the headings of a description below those of the page."""
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1:]) + _HIGHEST)}"
