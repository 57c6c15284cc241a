"""Search (protocol-v1.md section 6)."""

from __future__ import annotations

from flask import Blueprint, Response, abort, request

from v1registry.api import answers
from v1registry.api.door import everybody
from v1registry.api.parts import Common
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName
from v1registry.lib.rights import Access


def blueprint(parts: Common) -> Blueprint:
    routes = Blueprint("search", __name__)

    @routes.get("/v1/search")
    @everybody("what it finds is what the asker may pull")
    def search() -> Response:
        """Every value is a string but the count: engines up to 0.6.5 take no other."""
        if not parts.config.search_backend:
            abort(404)
        query = request.args.get("q", "")
        found = (name for name in parts.search.find(query) if _is_shown(parts, name))
        results = [{"name": name, "description": ""} for name in found]
        return answers.ordinary({"query": query, "num_results": len(results), "results": results})

    return routes


def _is_shown(parts: Common, name: str) -> bool:
    if parts.door.rights.open:
        return True
    try:
        repository = RepositoryName.parse(name)
    except Failure:
        return False  # 0.x stored what nobody can ask for
    return parts.door.allows(repository, Access.PULL)
