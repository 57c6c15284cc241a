"""Invitations to sign up, for administrators."""

from __future__ import annotations

from flask import Blueprint, Response, url_for

from v1registry.api.authorize import without_check
from v1registry.api.services import IndexServices, Services
from v1registry.lib.errors import Failure
from v1registry.web.access import require_administrator
from v1registry.web.render import Entry, flash, form, page, redirect
from v1registry.web.texts import gettext as _
from v1registry.web.texts import mark

_SHOWN = 200  # invitations on the page

#: lifetime of an invitation in seconds -> what the form shows
LIVES = {"604800": mark("7 days"), "86400": mark("1 day"), "2592000": mark("30 days")}

LIFE_INVALID = (400, "Choose one of the lifetimes of the form")


def add(routes: Blueprint, services: Services) -> list[Entry]:
    """Add the views, if there is an index of our own."""
    if services.index is not None:
        _add(routes, services, services.index)
    return []


def _add(routes: Blueprint, services: Services, index: IndexServices) -> None:
    checked = without_check("it checks itself: only administrators")

    @routes.get("/invitations")
    @checked
    def invitations() -> Response:
        require_administrator(services)
        return _page(services, index)

    @routes.post("/invitations")
    @checked
    def invite() -> Response:
        require_administrator(services)
        life = form().get("life", "")
        try:
            if life not in LIVES:
                raise Failure(*LIFE_INVALID)
            code = index.sign_up.invite(form().get("email", "").strip() or None, int(life))
        except Failure as failure:
            if failure.status != 400:
                raise
            return _page(services, index, failure.text, failure.status)
        return page("invitation.html", code=code)

    @routes.post("/invitations/<int:number>/revoke")
    @checked
    def revoke_invitation(number: int) -> Response:
        require_administrator(services)
        index.sign_up.revoke_invitation(number)
        flash(_("The invitation is revoked."))
        return redirect(url_for("web.invitations"))


def _page(
    services: Services, index: IndexServices, problem: str = "", status: int = 200
) -> Response:
    return page(
        "invitations.html",
        status,
        invitations=index.sign_up.invitations(_SHOWN),
        lives=[(value, _(text)) for value, text in LIVES.items()],
        mode=services.config.index.sign_up,
        email=form().get("email", "") if problem else "",
        problem=problem,
    )
