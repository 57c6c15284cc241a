"""The members of one repository: who has a role in it, and changes by its administrators."""

from __future__ import annotations

from flask import Blueprint, Response, url_for

from v1registry.api.authorize import without_check
from v1registry.api.services import IndexServices, Services
from v1registry.lib.auth.rights import Access
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName
from v1registry.web.access import repository_of
from v1registry.web.render import Entry, flash, form, page, redirect
from v1registry.web.texts import gettext as _

_SHOWN_ERRORS = (400, 404)  # of the form: an unknown account or role


def add(routes: Blueprint, services: Services) -> list[Entry]:
    """Add the views, if there is an index of our own."""
    if services.index is not None:
        _add(routes, services, services.index)
    return []


def _add(routes: Blueprint, services: Services, index: IndexServices) -> None:
    checked = without_check("it checks itself: access to delete, which the role admin has")

    @routes.get("/members/<any_path:name>")
    @checked
    def members(name: str) -> Response:
        return _page(index, repository_of(services, name, Access.DELETE))

    @routes.post("/members/<any_path:name>")
    @checked
    def change_member(name: str) -> Response:
        target = repository_of(services, name, Access.DELETE)
        account, role = form().get("account", "").strip(), form().get("role", "")
        try:
            if role:
                index.namespaces.grant(account, role, str(target))
            else:
                index.namespaces.revoke(account, str(target))
        except Failure as failure:
            if failure.status not in _SHOWN_ERRORS:
                raise
            return _page(index, target, account, failure.text, failure.status)
        text = _("%(account)s has the role %(role)s now.") if role else _("%(account)s is removed.")
        flash(text % {"account": account, "role": role})
        return redirect(url_for("web.members", name=str(target)))


def _page(
    index: IndexServices,
    target: RepositoryName,
    account: str = "",
    problem: str = "",
    status: int = 200,
) -> Response:
    found = [
        one
        for one in index.namespaces.members(target.namespace)
        if one.repository in ("", target.name)
    ]
    owner = index.namespaces.owner(target.namespace)
    values = {"members": found, "owner": owner, "account": account, "problem": problem}
    return page("members.html", status, repository=target, **values)
