"""Whole numbers in a query, bounded."""

from __future__ import annotations

from flask import request

from v1registry.lib.errors import Failure


def of_query(name: str, least: int, most: int, usual: int | None = None) -> int:
    """The number called `name`, brought within the bounds; without it `usual`, or the least.

    Raise Failure 400 for what is none.
    """
    text = request.args.get(name) or ""
    if not text:
        return least if usual is None else usual
    if not (text.isascii() and text.isdigit()):
        raise Failure(400, f"{name} must be a whole number")
    return max(least, min(int(text[:20]), most))


def size(usual: int, most: int) -> int:
    """`n`: how many things a page is to have."""
    return of_query("n", 1, most, usual)
