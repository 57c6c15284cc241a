"""Logins (protocol-v1.md sections 2.1 and 7.3), where no index keeps the accounts.

Engines up to 1.10 first try to create the account; those from 1.11 on only ask whether they may
come in.
"""

from __future__ import annotations

from flask import Blueprint, Response

from v1registry.api import answers, body
from v1registry.api.authorize import everybody
from v1registry.api.services import Services
from v1registry.lib import errors
from v1registry.lib.errors import Failure


def blueprint(parts: Services) -> Blueprint:
    routes = Blueprint("users", __name__)
    rights = parts.door.rights

    @routes.get("/v1/users")
    @everybody("a login: who shows nothing, or what is wrong, is refused here")
    def login() -> Response:
        asker = parts.door.asker()
        if asker.is_nobody and not rights.open and rights.knows_users:
            raise rights.refusal(asker)
        return answers.ordinary("OK")

    @routes.post("/v1/users")
    @everybody("part of a login: nobody is created")
    def create_user() -> Response:
        body.parsed(parts, errors.INDEX_JSON_INVALID)
        if rights.open:
            return answers.ordinary("User Created", 201)
        # With just these words, engines go on with the account that there is.
        return answers.ordinary("Username or email already exists", 400)

    @routes.put("/v1/users/<name>")
    @everybody("nothing is changed")
    def update_user(name: str) -> Response:
        if not rights.open:
            raise Failure(*errors.ACCOUNTS_ELSEWHERE)
        return answers.ordinary(status=204)

    return routes
