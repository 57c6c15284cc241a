"""The lists of repositories and of tags, page by page; and that of referrers, which is empty."""

from __future__ import annotations

import re
from urllib.parse import quote, urlencode

from flask import Response, request

from v1registry.api.ocierrors import OciFailure
from v1registry.api.services import RegistryServices
from v1registry.api.v2.answers import json_answer
from v1registry.lib import errors
from v1registry.lib.auth.rights import Access
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName, Tag
from v1registry.lib.repositories.catalog import is_sayable

LOOKED_AT = 1000  # repositories for one answer, which may then be short of names
_INDEX = "application/vnd.oci.image.index.v1+json"
_MOST = 1000  # names in an answer, whatever was asked for: clients follow the link to the rest
_NUMBER = re.compile(r"[0-9]+")
_DIGITS = 18  # more are more than anything


def catalog(parts: RegistryServices) -> Response:
    """The repositories that the asker may pull, and that are not flagged private if all may.

    So many are looked at and no more: a page may be short, or empty, and not the last.
    """
    count = _count()
    if not count:
        page, more = list[str](), None
    elif parts.index is not None and parts.door.asker().grant is None:
        found = parts.search.listed(parts.door.asker(), _last(), count)
        names = (str(repository["name"]) for repository in found.repositories)
        page, more = [name for name in names if is_sayable(name)], found.more
    else:
        page, more = _looked_through(parts, count)
    headers = _link("_catalog", more, count) if more is not None else []
    return json_answer({"repositories": page}, headers=headers)


def _looked_through(parts: RegistryServices, count: int) -> tuple[list[str], str | None]:
    """A page out of the store, and what the next one is behind."""
    page: list[str] = []
    behind = _last()
    for number, name in enumerate(parts.v2.catalog.names(behind)):
        if number == LOOKED_AT:
            return page, behind
        if _is_shown(parts, name):
            if len(page) == count:
                return page, page[-1]
            page.append(str(name))
        behind = str(name)
    return page, None


def tags(parts: RegistryServices, repository: RepositoryName) -> Response:
    """The repository's tags, in order; those that v2 clients can ask for."""
    count = _count()
    names = parts.v2.tags.names(repository, _last(), Tag.is_valid, count + 1)
    if names is None:
        raise Failure(*errors.REPOSITORY_NOT_FOUND)
    page = names[:count]
    path = f"{quote(_shown_name(repository))}/tags/list"
    headers = _link(path, page[-1], count) if page and len(names) > count else []
    return json_answer({"name": _shown_name(repository), "tags": page}, headers=headers)


def referrers(parts: RegistryServices, repository: RepositoryName) -> Response:
    """No signatures or attestations: over v2 nothing is pushed. Raise Failure 404."""
    parts.repositories.require(repository)
    index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": []}
    filtered = "artifactType" in request.args
    headers = [("OCI-Filters-Applied", "artifactType")] if filtered else []
    return json_answer(index, headers, _INDEX)


def _shown_name(repository: RepositoryName) -> str:
    """The name as it was asked for: `library/` comes and goes."""
    asked = request.path.removeprefix("/v2/").removesuffix("/tags/list")
    return asked if asked in (str(repository), repository.name) else str(repository)


def _is_shown(parts: RegistryServices, repository: RepositoryName) -> bool:
    if parts.door.rights.open:
        return not parts.repositories.is_private(repository)
    return parts.door.allows(repository, Access.PULL)


def _last() -> str:
    return request.args.get("last", "")


def _count() -> int:
    text = request.args.get("n")
    if text is None:
        return _MOST
    if not _NUMBER.fullmatch(text):
        raise OciFailure(400, "PAGINATION_NUMBER_INVALID", "n must be a whole number")
    return min(int(text), _MOST) if len(text) <= _DIGITS else _MOST


def _link(path: str, last: str, count: int) -> list[tuple[str, str]]:
    query = urlencode({"last": last, "n": count})
    return [("Link", f'</v2/{path}?{query}>; rel="next"')]
