"""Sign up: create an account of one's own, if the index is open or with an invitation."""

from __future__ import annotations

from flask import Blueprint, Response

from v1registry.api.authorize import without_check
from v1registry.api.services import IndexServices, Services
from v1registry.lib.auth.rights import Caller
from v1registry.lib.errors import Failure
from v1registry.web import render
from v1registry.web.access import can_sign_up
from v1registry.web.pages.accounts import new_password
from v1registry.web.render import Entry, flash, form, own_url, page, redirect
from v1registry.web.texts import gettext as _

_SHOWN_ERRORS = (400, 403, 429)  # of the form

SIGN_UP_CLOSED = (404, "This registry has no sign-up. An administrator can add an account for you")


def add(routes: Blueprint, services: Services) -> list[Entry]:
    """Add the views, if there is an index of our own."""
    if services.index is not None:
        _add(routes, services, services.index)
    return []


def _add(routes: Blueprint, services: Services, index: IndexServices) -> None:
    needs_invitation = services.config.index.sign_up == "invitation"
    checked = without_check("sign-up, if the index allows it")

    @routes.get("/sign-up")
    @checked
    def sign_up() -> Response:
        _require_sign_up(services)
        if services.authorizer.caller().user is not None:
            return redirect(own_url(None))
        return page("sign_up.html", given={}, needs_invitation=needs_invitation)

    @routes.post("/sign-up")
    @checked
    def sign_up_now() -> Response:
        _require_sign_up(services)
        given = form()
        name, invitation = given.get("name", "").strip(), given.get("invitation", "").strip()
        email = given.get("email", "").strip() or None
        try:
            address = services.authorizer.address()
            index.users.sign_up(name, new_password(), email, invitation, address)
        except Failure as failure:
            if failure.status not in _SHOWN_ERRORS:
                raise
            values = {"given": given, "needs_invitation": needs_invitation}
            response = page("sign_up.html", failure.status, problem=failure.text, **values)
            if "Retry-After" in failure.headers:
                response.headers["Retry-After"] = failure.headers["Retry-After"]
            return response
        render.pages().sessions.start(Caller(name))
        flash(_("Welcome! Your account and your namespace are ready."))
        return redirect(own_url(None))


def _require_sign_up(services: Services) -> None:
    if not can_sign_up(services):
        raise Failure(*SIGN_UP_CLOSED)
