"""Logins in standalone mode: everybody is welcome (protocol-v1.md sections 2.1 and 7.3)."""

from __future__ import annotations

from flask import Blueprint, Response

from v1registry.api import answers, body
from v1registry.api.door import everybody
from v1registry.api.parts import Parts
from v1registry.lib import documents, errors


def blueprint(parts: Parts) -> Blueprint:
    routes = Blueprint("users", __name__)
    limit = parts.config.limits.json

    @routes.get("/v1/users")
    @everybody("a login, and everybody is welcome")
    def login() -> Response:
        return answers.ordinary("OK")

    @routes.post("/v1/users")
    @everybody("a login, and everybody is welcome")
    def create_user() -> Response:
        documents.parse(body.small(limit), errors.INDEX_JSON_INVALID)
        return answers.ordinary("User Created", 201)

    @routes.put("/v1/users/<name>")
    @everybody("a login, and everybody is welcome")
    def update_user(name: str) -> Response:
        return answers.ordinary(status=204)

    return routes
