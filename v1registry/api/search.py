"""Search (protocol-v1.md section 6)."""

from __future__ import annotations

from flask import Blueprint, Response, abort, request

from v1registry.api import answers
from v1registry.api.parts import Parts


def blueprint(parts: Parts) -> Blueprint:
    routes = Blueprint("search", __name__)

    @routes.get("/v1/search")
    def search() -> Response:
        """Every value is a string but the count: engines up to 0.6.5 take no other."""
        if not parts.config.search_backend:
            abort(404)
        query = request.args.get("q", "")
        results = [{"name": name, "description": ""} for name in parts.search.find(query)]
        return answers.ordinary({"query": query, "num_results": len(results), "results": results})

    return routes
