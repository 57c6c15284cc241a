"""Changes of an account that only administrators make: its flags, and its removal."""

from __future__ import annotations

from flask import Blueprint, Response, url_for

from v1registry.api.authorize import without_check
from v1registry.api.services import IndexServices, Services
from v1registry.lib.errors import Failure
from v1registry.lib.units import duration
from v1registry.web.access import require_administrator, require_user
from v1registry.web.pages.account import again
from v1registry.web.render import Entry, confirm, flash, form, redirect
from v1registry.web.texts import gettext as _
from v1registry.web.texts import ngettext


def add(routes: Blueprint, services: Services) -> list[Entry]:
    """Add the views, if there is an index of our own."""
    if services.index is not None:
        _add(routes, services, services.index)
    return []


def _add(routes: Blueprint, services: Services, index: IndexServices) -> None:
    checked = without_check("it checks itself: only administrators")

    @routes.post("/accounts/<name>/status")
    @checked
    def set_status(name: str) -> Response:
        require_administrator(services)
        is_admin, is_disabled = form().get("is_admin") == "1", form().get("is_disabled") == "1"
        try:
            index.administration.set_status(
                name, form().get("seen", ""), is_admin=is_admin, is_disabled=is_disabled
            )
        except Failure as failure:
            return again(services, index, name, failure)
        flash(_("The account is changed. Servers notice within seconds."))
        return redirect(url_for("web.account", name=name))

    @routes.get("/accounts/<name>/remove")
    @checked
    def ask_to_remove(name: str) -> Response:
        require_administrator(services)
        return confirm(
            _("Remove the account %(name)s?") % {"name": name},
            _("To undo it later, disable the account instead."),
            url_for("web.remove_account", name=name),
            label=_("Remove the account"),
            cancel=url_for("web.account", name=name),
            details=_consequences(index, name),
            fields=[("seen", index.accounts.get(name).version)],
        )

    @routes.post("/accounts/<name>/remove")
    @checked
    def remove_account(name: str) -> Response:
        require_administrator(services)
        seen = form().get("seen", "")
        try:
            kept = index.administration.remove(name, index.longest_token, seen)
        except Failure as failure:
            return again(services, index, name, failure)
        text = _("The account %(name)s is removed.")
        if kept:
            text += " " + _("The namespace %(name)s stays, without an owner.")
        flash(text % {"name": name})
        is_own = require_user(services) == name
        return redirect(url_for("web.repositories" if is_own else "web.accounts"))


def _consequences(index: IndexServices, name: str) -> list[str]:
    """Return what the removal of an account deletes and keeps."""
    owned = [
        one.namespace
        for one in index.namespaces.roles(name)
        if one.namespace == name and not one.repository
    ]
    tokens = len(index.accounts.secrets(name))
    lines = [_("Its roles, stars and comments are deleted, and it can no longer log in.")]
    if tokens:
        number = ngettext(
            "%(num)d access token becomes invalid.", "%(num)d access tokens become invalid.", tokens
        )
        lines.append(number % {"num": tokens})
    if owned:
        held = index.administration.repositories_in(owned).get(name, 0)
        lines.append(
            ngettext(
                "The namespace %(name)s stays, without an owner, with %(num)d repository and the"
                " roles of others.",
                "The namespace %(name)s stays, without an owner, with %(num)d repositories and the"
                " roles of others.",
                held,
            )
            % {"name": name, "num": held}
        )
    lines.append(
        _("For %(time)s, no new account can have this name, because tokens may still be in use.")
        % {"time": duration(index.longest_token)}
    )
    return lines
