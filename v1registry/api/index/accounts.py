"""Logins to accounts of our own index (protocol-v1.md sections 2.1 and 7.3).

Engines up to 1.10 first try to create the account, and log in if the error has the exact text of an
existing account. Docker 1.11 and later only check the credentials.
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response

from v1registry.api import answers, body
from v1registry.api.authorize import without_check
from v1registry.api.services import IndexServices, Services
from v1registry.lib import errors
from v1registry.lib.errors import Failure


def blueprint(services: Services, index: IndexServices) -> Blueprint:
    routes = Blueprint("accounts", __name__)
    authorizer = services.authorizer

    @routes.get("/v1/users")
    @without_check("a login: it refuses missing and wrong credentials itself")
    def login() -> Response:
        caller = authorizer.caller()
        if caller.user is None or caller.grant is not None:  # a token cannot log in
            raise authorizer.rights.refusal(caller)
        return answers.uncached_json("OK")

    @routes.post("/v1/users")
    @without_check("sign-up, if the index allows it")
    def create_user() -> Response:
        body.require_json_of_browsers()
        given = body.json_object(services, errors.INDEX_JSON_INVALID)
        name, password = _text(given, "username"), _text(given, "password")
        email = _optional(given, "email")
        try:
            invitation = _optional(given, "invitation")
            index.users.sign_up(name, password, email, invitation, authorizer.address())
        except Failure as failure:
            if failure.text == errors.ACCOUNT_EXISTS[1]:
                # Engines compare the whole body with this text, so it must not be an object.
                return answers.uncached_json(failure.text, failure.status)
            raise
        return answers.uncached_json("User Created", 201)

    @routes.put("/v1/users/<name>")
    @without_check("it checks itself: a user's own account, or any account as an administrator")
    def update_user(name: str) -> Response:
        caller = authorizer.caller()
        if caller.user is None or caller.grant is not None:
            raise authorizer.rights.refusal(caller)
        if caller.user != name and not index.users.is_admin(caller.user):
            raise Failure(*errors.FORBIDDEN)
        shown = authorizer.credentials().password or ""
        if caller.user == name and not index.users.is_password(name, shown):
            # Otherwise a stolen secret would be enough to take over the account.
            raise Failure(*errors.SECRET_NO_PASSWORD)
        given = body.json_object(services, errors.INDEX_JSON_INVALID)
        index.users.change(name, _optional(given, "password"), _optional(given, "email"))
        return answers.uncached_json(status=204)

    return routes


def _text(given: dict[str, Any], name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str):
        raise Failure(*errors.DATA_INVALID)
    return value


def _optional(given: dict[str, Any], name: str) -> str | None:
    """Return None for an absent or empty text: engines send an empty e-mail address by default."""
    value = given.get(name)
    if value is None or value == "":
        return None
    return _text(given, name)
