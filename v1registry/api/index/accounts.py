"""Accounts of our own index, as engines log in to them (protocol-v1.md sections 2.1 and 7.3).

Engines up to 1.10 first try to make the account, and go on to log in if they hear, letter by
letter, that it exists; those from 1.11 on only ask whether they may come in.
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response

from v1registry.api import answers, body
from v1registry.api.authorize import everybody
from v1registry.api.services import Services
from v1registry.lib import errors
from v1registry.lib.auth.index_interface import IndexServices
from v1registry.lib.errors import Failure


def blueprint(parts: Services, index: IndexServices) -> Blueprint:
    routes = Blueprint("accounts", __name__)
    door = parts.door

    @routes.get("/v1/users")
    @everybody("a login: who shows nothing, or what is wrong, is refused here")
    def login() -> Response:
        asker = door.asker()
        if asker.user is None or asker.grant is not None:  # a token is no login
            raise door.rights.refusal(asker)
        return answers.ordinary("OK")

    @routes.post("/v1/users")
    @everybody("signing up, if the index lets who has no account do that")
    def create_user() -> Response:
        body.require_json_of_browsers()
        given = _object(parts)
        name, password = _text(given, "username"), _text(given, "password")
        email = _optional(given, "email")
        try:
            invitation = _optional(given, "invitation")
            index.users.sign_up(name, password, email, invitation, door.address())
        except Failure as failure:
            if failure.text == errors.ACCOUNT_EXISTS[1]:
                return answers.ordinary(failure.text, failure.status)  # no object: a mere text
            raise
        return answers.ordinary("User Created", 201)

    @routes.put("/v1/users/<name>")
    @everybody("one's own account, or whose one may see to: checked here")
    def update_user(name: str) -> Response:
        asker = door.asker()
        if asker.user is None or asker.grant is not None:
            raise door.rights.refusal(asker)
        if asker.user != name and not index.users.is_admin(asker.user):
            raise Failure(*errors.FORBIDDEN)
        shown = door.credentials().password or ""
        if asker.user == name and not index.users.is_password(name, shown):
            raise Failure(*errors.SECRET_NO_PASSWORD)  # else who finds one could keep the account
        given = _object(parts)
        index.users.change(name, _optional(given, "password"), _optional(given, "email"))
        return answers.ordinary(status=204)

    return routes


def _object(parts: Services) -> dict[str, Any]:
    value = body.parsed(parts, errors.INDEX_JSON_INVALID)
    if not isinstance(value, dict):
        raise Failure(*errors.DATA_INVALID)
    return value


def _text(given: dict[str, Any], name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str):
        raise Failure(*errors.DATA_INVALID)
    return value


def _optional(given: dict[str, Any], name: str) -> str | None:
    """None for what is absent or empty: engines send an empty address where none was given."""
    value = given.get(name)
    if value is None or value == "":
        return None
    return _text(given, name)
