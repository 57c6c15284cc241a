"""Search (protocol-v1.md section 6), and the list of all repositories for tools."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, abort, request

from v1registry.api import answers, numbers
from v1registry.api.door import everybody
from v1registry.api.parts import Common
from v1registry.lib.search import Found

MOST = 1000  # results on a page: so many, too, for who asks for no number, as engines before 1.12
LISTED = 100  # repositories on a page, unless asked for another number

# Engines up to 0.6.5 take results of texts alone. Some of them name themselves as Go does.
_TEXTS_ONLY = re.compile(r"docker/0\.([0-5]\.|6\.[0-5]\b)|Go |Go-http-client/|$")


def blueprint(parts: Common) -> Blueprint:
    routes = Blueprint("search", __name__)
    is_on = parts.config.search_backend or parts.index is not None

    @routes.get("/v1/search")
    @everybody("what it finds is what the asker may pull")
    def search() -> Response:
        if not is_on:
            abort(404)
        query = request.args.get("q", "")
        size, page = numbers.size(MOST, MOST), numbers.of_query("page", 1, 10**9)
        found = parts.search.find(parts.door.asker(), query, size, page)
        answer: dict[str, Any] = {
            "query": query,
            "num_results": found.total,
            "results": [_shown(result) for result in found.results],
        }
        if "page" in request.args:  # engines never ask for one
            pages = -(-found.total // size)
            answer |= {"page": page, "page_size": size, "num_pages": pages}
        return answers.ordinary(answer)

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


def _shown(found: Found) -> dict[str, Any]:
    result: dict[str, Any] = {"name": found.name, "description": found.description}
    if found.stars is not None and not _TEXTS_ONLY.match(request.headers.get("User-Agent", "")):
        result |= {
            "star_count": found.stars,
            "is_official": found.is_official,
            "is_trusted": found.is_automated,
        }
    return result
