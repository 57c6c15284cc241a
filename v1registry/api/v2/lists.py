"""The lists of repositories and of tags, page by page."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from urllib.parse import quote, urlencode

from flask import Response, request

from v1registry.api.ocierrors import OciFailure
from v1registry.api.parts import Parts
from v1registry.api.v2.answers import json_answer
from v1registry.lib import errors
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName, Tag
from v1registry.lib.rights import Access

_MOST = 1000  # names in an answer, whatever was asked for: clients follow the link to the rest
_NUMBER = re.compile(r"[0-9]+")
_DIGITS = 18  # more are more than anything


def catalog(parts: Parts) -> Response:
    """The repositories that the asker may pull, and that are not flagged private if all may."""
    names = parts.v2.catalog.names(_last())
    shown = (str(name) for name in names if _is_shown(parts, name))
    page, more = _page(shown)
    return json_answer({"repositories": page}, headers=_link("_catalog", page, more))


def tags(parts: Parts, repository: RepositoryName) -> Response:
    """The repository's tags, in order; those that v2 clients can ask for."""
    found = parts.v2.tags.names(repository)
    if found is None:
        raise Failure(*errors.REPOSITORY_NOT_FOUND)
    last = _last()
    names = sorted(name for name in found if name > last and Tag.is_valid(name))
    page, more = _page(names)
    path = f"{quote(_shown_name(repository))}/tags/list"
    return json_answer(
        {"name": _shown_name(repository), "tags": page}, headers=_link(path, page, more)
    )


def _shown_name(repository: RepositoryName) -> str:
    """The name as it was asked for: `library/` comes and goes."""
    asked = request.path.removeprefix("/v2/").removesuffix("/tags/list")
    return asked if asked in (str(repository), repository.name) else str(repository)


def _is_shown(parts: Parts, repository: RepositoryName) -> bool:
    if parts.door.rights.open:
        return not parts.repositories.is_private(repository)
    return parts.door.allows(repository, Access.PULL)


def _last() -> str:
    return request.args.get("last", "")


def _page(names: Iterable[str]) -> tuple[list[str], bool]:
    """The first names, as many as were asked for; and whether there are more."""
    count = _count()
    taken = list(itertools.islice(names, count + 1)) if count else []
    return taken[:count], len(taken) > count


def _count() -> int:
    text = request.args.get("n")
    if text is None:
        return _MOST
    if not _NUMBER.fullmatch(text):
        raise OciFailure(400, "PAGINATION_NUMBER_INVALID", "n must be a whole number")
    return min(int(text), _MOST) if len(text) <= _DIGITS else _MOST


def _link(path: str, page: list[str], more: bool) -> list[tuple[str, str]]:
    if not more:
        return []
    query = urlencode({"last": page[-1], "n": len(page)})
    return [("Link", f'</v2/{path}?{query}>; rel="next"')]
