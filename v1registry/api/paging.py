"""Pages of lists: the numbers in a query, and the link to the next page."""

from __future__ import annotations

from urllib.parse import urlencode

from flask import request

from v1registry.lib.errors import Failure


def query_number(name: str, least: int, most: int, usual: int | None = None) -> int:
    """Return the number in the query parameter `name`, at least `least` and at most `most`.

    Without the parameter, return `usual` or `least`. Raise Failure 400 for other text.
    """
    text = request.args.get(name) or ""
    if not text:
        return least if usual is None else usual
    if not (text.isascii() and text.isdigit()):
        raise Failure(400, f"{name} must be a whole number")
    return max(least, min(int(text[:20]), most))


def page_size(usual: int, most: int) -> int:
    """Return the number of entries on a page: the query parameter `n`."""
    return query_number("n", 1, most, usual)


def next_page(path: str, **query: int | str) -> list[tuple[str, str]]:
    """Return the header `Link` to the next page (RFC 8288)."""
    return [("Link", f'<{path}?{urlencode(query)}>; rel="next"')]
