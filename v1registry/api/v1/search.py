"""Endpoints for the search (protocol-v1.md section 6) and the list of all repositories."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from flask import Blueprint, Response, abort, request

from v1registry.api import answers, paging
from v1registry.api.authorize import without_check
from v1registry.api.services import Services
from v1registry.lib import documents
from v1registry.lib.repositories.search import WHOLE, SearchResult, paced

MOST = 1000  # results on a page, and in a response that is built in memory
LISTED = 100  # default number of repositories on a page

_AT_ONCE = 200  # results in one piece of a streamed response

_log = logging.getLogger(__name__)

# Engines up to 0.6.5 accept only results whose values are texts. Some send Go's own User-Agent.
_TEXTS_ONLY = re.compile(r"docker/0\.([0-5]\.|6\.[0-5]\b)|Go |Go-http-client/|$")

_OFF = (
    "A client got no search results, because the search is off. To switch it on, set"
    " `search_backend: true` in config.yml, or SEARCH_BACKEND=true"
)


def blueprint(services: Services) -> Blueprint:
    routes = Blueprint("search", __name__)
    is_on = services.config.search_backend or services.index is not None
    told: list[bool] = []  # not empty once the log says how to switch the search on

    @routes.get("/v1/search")
    @without_check("it finds only repositories that the caller may pull")
    def search() -> Response:
        """Return a page if `n` or `page` is given; else all results, as docker-registry 0.x did."""
        query = request.args.get("q", "")
        size, page = paging.page_size(MOST, MOST), paging.query_number("page", 1, 10**9)
        with_stars = not _TEXTS_ONLY.match(request.headers.get("User-Agent", ""))
        if not is_on:
            if not told:
                told.append(True)
                _log.warning(_OFF)
            return answers.uncached_json(_answer(query, 0, 1, size))
        if "n" in request.args or "page" in request.args:
            found = services.search.find(services.authorizer.caller(), query, size, page)
            results = [_shown(result, with_stars) for result in found.results]
            return answers.uncached_json(_answer(query, found.total, page, size, results))
        whole = services.search.whole(services.authorizer.caller(), query)
        # Without pauses, the response to a fast client would block the event loop.
        shown = (_shown(result, with_stars) for result in paced(whole.results))
        if whole.total <= MOST:
            return answers.uncached_json(_answer(query, whole.total, 1, WHOLE, list(shown)))
        return answers.streamed_json(_written(_answer(query, whole.total, 1, WHOLE), shown))

    @routes.get("/v1/index/repositories")
    @without_check("it lists only repositories that the caller may pull")
    def repositories() -> Response:
        """Return `n` repositories after the name `after`; `Link` names the next page (RFC 8288)."""
        if not is_on:
            abort(404)
        size = paging.page_size(LISTED, MOST)
        found = services.search.listed(
            services.authorizer.caller(), request.args.get("after", ""), size
        )
        headers = []
        if found.more is not None:
            headers = paging.next_page("/v1/index/repositories", n=size, after=found.more)
        return answers.uncached_json({"repositories": found.repositories}, headers=headers)

    return routes


def _answer(
    query: str, total: int, page: int, size: int, results: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """Return the members of docker-registry 0.x and Docker Hub. Engines ignore unknown members."""
    return {
        "query": query,
        "num_results": total,
        "num_pages": -(-total // size),
        "page": page,
        "page_size": size,
        "results": results or [],
    }


def _written(answer: dict[str, Any], results: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    """Return the JSON of an answer with all these results, in pieces."""
    yield documents.dump(answer).removesuffix(b"]}")  # `results` is the last member
    between = b""
    while part := list(islice(results, _AT_ONCE)):
        yield between + documents.dump(part)[1:-1]
        between = b", "
    yield b"]}"


def _shown(found: SearchResult, with_stars: bool) -> dict[str, Any]:
    result: dict[str, Any] = {"name": found.name, "description": found.description}
    if found.stars is not None and with_stars:
        result |= {
            "star_count": found.stars,
            "is_official": found.is_official,
            "is_trusted": found.is_automated,
        }
    return result
