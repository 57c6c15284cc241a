"""Search (protocol-v1.md section 6), and the list of all repositories for tools."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from itertools import islice
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, abort, request

from v1registry.api import answers, numbers
from v1registry.api.authorize import everybody
from v1registry.api.services import Services
from v1registry.lib import documents, errors
from v1registry.lib.errors import Failure
from v1registry.lib.repositories.search import WHOLE, SearchResult, paced

MOST = 1000  # results on a page, and in an answer that is built in memory
LISTED = 100  # repositories on a page, unless asked for another number

_STREAMS = 16  # longer answers that a process sends at once: each keeps its list of names
_AT_ONCE = 200  # results that are written in one go

_log = logging.getLogger(__name__)

# Engines up to 0.6.5 take results of texts alone. Some of them name themselves as Go does.
_TEXTS_ONLY = re.compile(r"docker/0\.([0-5]\.|6\.[0-5]\b)|Go |Go-http-client/|$")

_OFF = (
    "A client searched, and got no results: the search is off. To switch it on, set"
    " `search_backend: true` in config.yml, or SEARCH_BACKEND=true"
)


def blueprint(parts: Services) -> Blueprint:
    routes = Blueprint("search", __name__)
    is_on = parts.config.search_backend or parts.index is not None
    streams = threading.BoundedSemaphore(_STREAMS)
    told: list[bool] = []  # whether the log says already how to switch the search on

    @routes.get("/v1/search")
    @everybody("what it finds is what the asker may pull")
    def search() -> Response:
        """A page if `n` or `page` is asked for; else all results at once, as 0.x answered."""
        query = request.args.get("q", "")
        size, page = numbers.size(MOST, MOST), numbers.of_query("page", 1, 10**9)
        with_stars = not _TEXTS_ONLY.match(request.headers.get("User-Agent", ""))
        if not is_on:
            if not told:
                told.append(True)
                _log.warning(_OFF)
            return answers.ordinary(_answer(query, 0, 1, size))
        if "n" in request.args or "page" in request.args:
            found = parts.search.find(parts.door.asker(), query, size, page)
            results = [_shown(result, with_stars) for result in found.results]
            return answers.ordinary(_answer(query, found.total, page, size, results))
        whole = parts.search.whole(parts.door.asker(), query)
        # a client that reads fast would keep others waiting
        shown = (_shown(result, with_stars) for result in paced(whole.results))
        if whole.total <= MOST:
            return answers.ordinary(_answer(query, whole.total, 1, WHOLE, list(shown)))
        if not streams.acquire(blocking=False):
            raise Failure(*errors.SEARCHES_BUSY, {"Retry-After": "5"})
        answer = answers.streamed(_written(_answer(query, whole.total, 1, WHOLE), shown))
        answer.call_on_close(streams.release)
        return answer

    @routes.get("/v1/index/repositories")
    @everybody("what it lists is what the asker may pull")
    def repositories() -> Response:
        """`n` of them behind `after`, by name; `Link` leads to the next page (RFC 8288)."""
        if not is_on:
            abort(404)
        size = numbers.size(LISTED, MOST)
        found = parts.search.listed(parts.door.asker(), request.args.get("after", ""), size)
        headers = []
        if found.more is not None:
            following = urlencode({"n": size, "after": found.more})
            headers.append(("Link", f'</v1/index/repositories?{following}>; rel="next"'))
        return answers.ordinary({"repositories": found.repositories}, headers=headers)

    return routes


def _answer(
    query: str, total: int, page: int, size: int, results: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """With the members of 0.x and those of Docker Hub; engines ignore what they do not know."""
    return {
        "query": query,
        "num_results": total,
        "num_pages": -(-total // size),
        "page": page,
        "page_size": size,
        "results": results or [],
    }


def _written(answer: dict[str, Any], results: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    """The same text as of an answer with all these results, in pieces."""
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
