"""Logins (protocol-v1.md sections 2.1 and 7.3) to a registry without an index of our own.

Engines up to 1.10 first try to create the account. Docker 1.11 and later only check the
credentials.
"""

from __future__ import annotations

from flask import Blueprint, Response

from v1registry.api import answers, body
from v1registry.api.authorize import without_check
from v1registry.api.services import Services
from v1registry.lib import errors
from v1registry.lib.errors import Failure


def blueprint(services: Services) -> Blueprint:
    routes = Blueprint("users", __name__)
    rights = services.authorizer.rights

    @routes.get("/v1/users")
    @without_check("a login: it refuses missing and wrong credentials itself")
    def login() -> Response:
        caller = services.authorizer.caller()
        if caller.is_anonymous and not rights.open and rights.knows_users:
            raise rights.refusal(caller)
        return answers.uncached_json("OK")

    @routes.post("/v1/users")
    @without_check("part of a login: it creates no account")
    def create_user() -> Response:
        body.parsed(services, errors.INDEX_JSON_INVALID)
        if rights.open:
            return answers.uncached_json("User Created", 201)
        # Engines compare this text and then log in to the existing account.
        return answers.uncached_json("Username or email already exists", 400)

    @routes.put("/v1/users/<name>")
    @without_check("it changes nothing")
    def update_user(name: str) -> Response:
        if not rights.open:
            raise Failure(*errors.ACCOUNTS_ELSEWHERE)
        return answers.uncached_json(status=204)

    return routes
