"""The paged lists of repositories and tags, and the list of referrers, which is always empty."""

from __future__ import annotations

import re
from urllib.parse import quote

from flask import Response, request

from v1registry.api.ocierrors import OciFailure
from v1registry.api.paging import next_page
from v1registry.api.services import RegistryServices
from v1registry.api.v2.answers import json_answer
from v1registry.lib import errors
from v1registry.lib.auth.rights import Access
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName, Tag
from v1registry.lib.repositories.catalog import is_listable

LOOKED_AT = 1000  # repositories read for one page, which may then have fewer names than requested
_INDEX = "application/vnd.oci.image.index.v1+json"
_MOST = 1000  # names on a page, whatever `n` says: clients follow the link to the next page
_NUMBER = re.compile(r"[0-9]+")
_DIGITS = 18  # numbers with more digits are above any limit


def catalog(services: RegistryServices) -> Response:
    """Return a page of repositories that the caller may pull; only public ones if no user is known.

    One request reads at most LOOKED_AT names. So a page may be short or empty although it has a
    link to another page.
    """
    count = _count()
    if not count:
        page, more = list[str](), None
    elif services.index is not None and services.authorizer.caller().grant is None:
        found = services.search.listed(services.authorizer.caller(), _last(), count)
        names = (str(repository["name"]) for repository in found.repositories)
        page, more = [name for name in names if is_listable(name)], found.more
    else:
        page, more = _visible_page(services, count)
    headers = next_page("/v2/_catalog", last=more, n=count) if more is not None else []
    return json_answer({"repositories": page}, headers=headers)


def _visible_page(services: RegistryServices, count: int) -> tuple[list[str], str | None]:
    """Return a page of the store's repositories, and the name that the next page begins after."""
    page: list[str] = []
    behind = _last()
    for number, name in enumerate(services.v2.catalog.names(behind)):
        if number == LOOKED_AT:
            return page, behind
        if _is_shown(services, name):
            if len(page) == count:
                return page, page[-1]
            page.append(str(name))
        behind = str(name)
    return page, None


def tags(services: RegistryServices, repository: RepositoryName) -> Response:
    """Return a page of the repository's tags, in order, without names that v2 does not allow."""
    count = _count()
    names = services.v2.tags.names(repository, _last(), Tag.is_valid, count + 1)
    if names is None:
        raise Failure(*errors.REPOSITORY_NOT_FOUND)
    page = names[:count]
    path = f"/v2/{quote(_shown_name(repository))}/tags/list"
    is_last = not page or len(names) <= count
    headers = [] if is_last else next_page(path, last=page[-1], n=count)
    return json_answer({"name": _shown_name(repository), "tags": page}, headers=headers)


def referrers(services: RegistryServices, repository: RepositoryName) -> Response:
    """Return no referrers: v2 clients cannot push signatures. Raise Failure 404 without repository."""
    services.repositories.require(repository)
    index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": []}
    filtered = "artifactType" in request.args
    headers = [("OCI-Filters-Applied", "artifactType")] if filtered else []
    return json_answer(index, headers, _INDEX)


def _shown_name(repository: RepositoryName) -> str:
    """Return the repository name as the client wrote it, with or without `library/`."""
    asked = request.path.removeprefix("/v2/").removesuffix("/tags/list")
    return asked if asked in (str(repository), repository.name) else str(repository)


def _is_shown(services: RegistryServices, repository: RepositoryName) -> bool:
    if services.authorizer.rights.open:
        return not services.repositories.is_private(repository)
    return services.authorizer.allows(repository, Access.PULL)


def _last() -> str:
    return request.args.get("last", "")


def _count() -> int:
    text = request.args.get("n")
    if text is None:
        return _MOST
    if not _NUMBER.fullmatch(text):
        raise OciFailure(400, "PAGINATION_NUMBER_INVALID", "n must be a whole number")
    return min(int(text), _MOST) if len(text) <= _DIGITS else _MOST
