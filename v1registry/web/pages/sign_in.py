"""Sign in and sign out."""

from __future__ import annotations

from flask import Blueprint, Response, request

from v1registry.api.authorize import without_check
from v1registry.api.services import Services
from v1registry.lib import errors
from v1registry.lib.errors import Failure
from v1registry.web import render
from v1registry.web.render import Entry, flash, form, own_url, page, redirect
from v1registry.web.sessions import NO_SECRET
from v1registry.web.texts import gettext as _

NO_ACCOUNTS = (404, "This registry has no accounts to sign in to")
_WRONG = (401, 403, 429)  # statuses of errors that the form shows


def add(routes: Blueprint, services: Services) -> list[Entry]:
    """Add the views; return their entries of the navigation."""
    rights = services.authorizer.rights

    @routes.get("/sign-in")
    @without_check("asked before any sign-in")
    def sign_in() -> Response:
        _require_accounts()
        if services.session_secret() is None:
            raise Failure(*NO_SECRET)
        if services.authorizer.caller().user is not None:
            return redirect(own_url(request.args.get("next")))
        return page("sign_in.html", next=own_url(request.args.get("next")), name="")

    @routes.post("/sign-in")
    @without_check("a login: it refuses wrong credentials itself")
    def sign_in_now() -> Response:
        _require_accounts()
        following, name = own_url(form().get("next")), form().get("name", "").strip()
        try:
            render.pages().sessions.sign_in(name, form().get("password", ""))
        except Failure as failure:
            if failure.status not in _WRONG:
                raise
            return _again(failure, following, name)
        return redirect(following)

    @routes.post("/sign-out")
    @without_check("ends the visitor's own session")
    def sign_out() -> Response:
        render.pages().sessions.end()
        flash(_("You are signed out."))
        return redirect(own_url(None))

    def _require_accounts() -> None:
        if not rights.has_passwords:
            raise Failure(*NO_ACCOUNTS)

    return []


def _again(failure: Failure, following: str, name: str) -> Response:
    """Return the form again, with the reason why the sign-in failed."""
    text = errors.LOGIN_WRONG[1] if failure.status == 401 else failure.text
    response = page("sign_in.html", failure.status, next=following, name=name, problem=text)
    if "Retry-After" in failure.headers:
        response.headers["Retry-After"] = failure.headers["Retry-After"]
    return response
