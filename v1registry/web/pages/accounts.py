"""The list of accounts, and new ones, for administrators."""

from __future__ import annotations

from flask import Blueprint, Response, request, url_for

from v1registry.api import paging
from v1registry.api.authorize import without_check
from v1registry.api.services import IndexServices, Services
from v1registry.lib import errors
from v1registry.lib.errors import Failure
from v1registry.lib.names import suits_old_engines
from v1registry.lib.repositories.search import DEEPEST
from v1registry.web.access import is_administrator, require_administrator
from v1registry.web.render import Entry, flash, form, page, redirect
from v1registry.web.texts import gettext as _
from v1registry.web.texts import mark

SIZE = 50  # accounts on a page
_LONGEST = 254  # characters of a search

PASSWORDS_DIFFER = (400, "The two passwords differ")


def add(routes: Blueprint, services: Services) -> list[Entry]:
    """Add the views, if there is an index of our own."""
    if services.index is None:
        return []
    _add(routes, services, services.index)
    return [Entry("accounts", mark("Accounts"), lambda: is_administrator(services))]


def _add(routes: Blueprint, services: Services, index: IndexServices) -> None:
    checked = without_check("it checks itself: only administrators")

    @routes.get("/accounts")
    @checked
    def accounts() -> Response:
        require_administrator(services)
        text = request.args.get("q", "").strip()[:_LONGEST]
        number = paging.query_number("page", 1, DEEPEST // SIZE)
        found = index.administration.search(text, number, SIZE)
        return page("accounts.html", found=found, text=text, number=number, size=SIZE)

    @routes.get("/new-account")
    @checked
    def new_account() -> Response:
        require_administrator(services)
        return page("new_account.html", given={})

    @routes.post("/accounts")
    @checked
    def create_account() -> Response:
        require_administrator(services)
        name = form().get("name", "").strip()
        try:
            _create(index, name)
        except Failure as failure:
            if failure.status != errors.ACCOUNT_EXISTS[0]:
                raise
            return page("new_account.html", failure.status, given=form(), problem=failure.text)
        text = _("The account is added.")
        if form().get("kind") != "robot" and not suits_old_engines(name):
            text += " " + _(
                "Docker up to 1.5 cannot use its namespace: it accepts only 4 to 30 characters of"
                " a-z, 0-9 and _."
            )
        flash(text)
        return redirect(url_for("web.account", name=name))


def _create(index: IndexServices, name: str) -> None:
    """Add the account of the form, as the command `index user add` does."""
    given = form()
    is_robot, adopt = given.get("kind") == "robot", "adopt" in given
    password = None if is_robot else new_password()
    if not is_robot and not adopt and index.sign_up.is_taken(name):
        raise Failure(*errors.NAMESPACE_EXISTS)
    index.accounts.add(
        name,
        password,
        email=given.get("email", "").strip() or None,
        is_admin="is_admin" in given,
        adopt=adopt,
    )


def new_password() -> str:
    """Return the new password of the form. Raise Failure 400 if its two fields differ."""
    password = form().get("password", "")
    if password != form().get("again", ""):
        raise Failure(*PASSWORDS_DIFFER)
    return password
