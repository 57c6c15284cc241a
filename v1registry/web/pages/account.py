"""One account: its rights, password, e-mail address and access tokens, for its user and administrators."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, request, url_for

from v1registry.api.authorize import without_check
from v1registry.api.services import IndexServices, Services
from v1registry.lib.errors import Failure
from v1registry.web import render
from v1registry.web.access import is_administrator, require_account, require_user
from v1registry.web.pages.accounts import new_password
from v1registry.web.render import Entry, confirm, flash, form, page, redirect
from v1registry.web.texts import gettext as _
from v1registry.web.texts import mark

_ROLES = 200  # roles on the page
_TOKENS = 100  # access tokens of one account; a robot needs one or two
_LABEL = 100  # characters
_SHOWN_ERRORS = (400, 401, 403, 409, 429)  # of a form

#: lifetime of an access token in seconds, as the form sends it -> what the form shows
LIVES = {
    "2592000": mark("30 days"),
    "7776000": mark("90 days"),
    "31536000": mark("1 year"),
    "": mark("No end"),
}

LIFE_INVALID = (400, "Choose one of the lifetimes of the form")
LABEL_INVALID = (400, "A label has at most 100 characters, without control characters")
TOO_MANY_TOKENS = (400, "The account has too many access tokens: revoke those that are not in use")
NO_TOKEN = (404, "There is no such access token: it may be revoked already")
PASSWORD_WRONG = (401, "The current password is wrong")


def add(routes: Blueprint, services: Services) -> list[Entry]:
    """Add the views, if there is an index of our own."""
    if services.index is not None:
        _add_account(routes, services, services.index)
        _add_tokens(routes, services, services.index)
    return []


def _add_account(routes: Blueprint, services: Services, index: IndexServices) -> None:
    checked = without_check("it checks itself: the user's own account, or any as an administrator")

    @routes.get("/accounts/<name>")
    @checked
    def account(name: str) -> Response:
        require_account(services, name)
        return account_page(services, index, name)

    @routes.post("/accounts/<name>/password")
    @checked
    def change_password(name: str) -> Response:
        require_account(services, name)
        try:
            password = new_password()
            caller = _proven(services, name)
            index.accounts.set_password(name, password)
        except Failure as failure:
            return again(services, index, name, failure)
        if caller is not None:
            render.pages().sessions.start(caller)  # all other sessions end
        flash(_("The password is changed. All other sessions of the account have ended."))
        return redirect(url_for("web.account", name=name))

    @routes.post("/accounts/<name>/email")
    @checked
    def change_email(name: str) -> Response:
        require_account(services, name)
        email = form().get("email", "").strip() or None
        try:
            _proven(services, name)
            index.administration.set_email(name, email, form().get("seen", ""))
        except Failure as failure:
            return again(services, index, name, failure)
        flash(_("The e-mail address is changed."))
        return redirect(url_for("web.account", name=name))


def _add_tokens(routes: Blueprint, services: Services, index: IndexServices) -> None:
    checked = without_check("it checks itself: the user's own account, or any as an administrator")

    @routes.post("/accounts/<name>/tokens")
    @checked
    def create_token(name: str) -> Response:
        require_account(services, name)
        label, life = form().get("label", "").strip(), form().get("life", "")
        try:
            if life not in LIVES:
                raise Failure(*LIFE_INVALID)
            if len(label) > _LABEL or not label.isprintable():
                raise Failure(*LABEL_INVALID)
            if len(index.accounts.secrets(name)) >= _TOKENS:
                raise Failure(*TOO_MANY_TOKENS)
            secret = index.accounts.issue_secret(name, label, int(life) if life else None)
        except Failure as failure:
            return again(services, index, name, failure)
        return page("token.html", name=name, secret=secret, host=request.host)

    @routes.get("/accounts/<name>/tokens/<int:number>/revoke")
    @checked
    def ask_to_revoke(name: str, number: int) -> Response:
        label = _token(services, index, name, number)
        return confirm(
            _("Revoke the access token %(label)s?") % {"label": label or number},
            _("Robots and scripts that use it can no longer log in. This cannot be undone."),
            url_for("web.revoke_token", name=name, number=number),
            label=_("Revoke the token"),
            cancel=url_for("web.account", name=name),
        )

    @routes.post("/accounts/<name>/tokens/<int:number>/revoke")
    @checked
    def revoke_token(name: str, number: int) -> Response:
        _token(services, index, name, number)
        index.accounts.revoke_secret(number)
        flash(_("The access token is revoked."))
        return redirect(url_for("web.account", name=name))


def account_page(
    services: Services, index: IndexServices, name: str, status: int = 200, /, **more: Any
) -> Response:
    """Return the page of an account. Raise Failure 404."""
    found = index.accounts.get(name)
    roles = index.namespaces.roles(name)
    return page(
        "account.html",
        status,
        account=found,
        is_own=require_user(services) == name,
        is_administrator=is_administrator(services),
        roles=roles[:_ROLES],
        more_roles=max(0, len(roles) - _ROLES),
        repositories=index.administration.repositories_in({r.namespace for r in roles[:_ROLES]}),
        tokens=index.accounts.secrets(name),
        lives=[(value, _(text)) for value, text in LIVES.items()],
        **more,
    )


def again(services: Services, index: IndexServices, name: str, failure: Failure) -> Response:
    """Return the page with the reason why a form changed nothing; raise other failures again."""
    if failure.status not in _SHOWN_ERRORS:
        raise failure
    text = PASSWORD_WRONG[1] if failure.status == 401 else failure.text
    response = account_page(services, index, name, failure.status, problem=text)
    if "Retry-After" in failure.headers:
        response.headers["Retry-After"] = failure.headers["Retry-After"]
    return response


def _proven(services: Services, name: str) -> Any:
    """Return the caller with the current password of the form for an own account, else None.

    As in the API, a user needs the password to change the account, so that a stolen session is not
    enough to take it over.
    """
    if require_user(services) != name:
        return None
    return render.pages().sessions.prove(name, form().get("current", ""))


def _token(services: Services, index: IndexServices, name: str, number: int) -> str:
    """Return the label of a token of this account. Raise Failure 404, or 401 and 403."""
    require_account(services, name)
    for secret in index.accounts.secrets(name):
        if secret.id == number:
            return secret.label
    raise Failure(*NO_TOKEN)
