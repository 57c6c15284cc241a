"""Namespaces and their members: all for administrators, one for the administrators of the namespace."""

from __future__ import annotations

from flask import Blueprint, Response, request, url_for

from v1registry.api.authorize import without_check
from v1registry.api.services import IndexServices, Services
from v1registry.lib import errors
from v1registry.lib.errors import Failure
from v1registry.lib.names import check_namespace
from v1registry.web import render
from v1registry.web.access import is_administrator, require_administrator, require_user
from v1registry.web.render import Entry, flash, form, page, redirect
from v1registry.web.texts import gettext as _
from v1registry.web.texts import mark

SIZE = 50  # namespaces on a page
_MEMBERS = 500  # members on a page
_SHOWN_ERRORS = (400, 404, 409)  # of a form: an unknown account, or another role than it shows


def add(routes: Blueprint, services: Services) -> list[Entry]:
    """Add the views, if there is an index of our own."""
    if services.index is None:
        return []
    _add_list(routes, services, services.index)
    _add_members(routes, services, services.index)
    return [Entry("namespaces", mark("Namespaces"), lambda: is_administrator(services))]


def _add_list(routes: Blueprint, services: Services, index: IndexServices) -> None:
    checked = without_check("it checks itself: only administrators")

    def listed(problem: str = "", status: int = 200) -> Response:
        found = index.namespaces.all(request.args.get("after", "")[:255], SIZE + 1)
        following = found[SIZE - 1].name if len(found) > SIZE else None
        values = {"problem": problem, "name": form().get("name", "") if problem else ""}
        return page(
            "namespaces.html", status, namespaces=found[:SIZE], following=following, **values
        )

    @routes.get("/namespaces")
    @checked
    def namespaces() -> Response:
        require_administrator(services)
        return listed()

    @routes.post("/namespaces")
    @checked
    def add_namespace() -> Response:
        require_administrator(services)
        name = form().get("name", "").strip()
        try:
            index.namespaces.add(name)
        except Failure as failure:
            if failure.status != errors.NAMESPACE_EXISTS[0]:
                raise
            return listed(failure.text, failure.status)
        flash(_("The namespace is added. Give accounts roles in it."))
        return redirect(url_for("web.namespace", name=name))


def _add_members(routes: Blueprint, services: Services, index: IndexServices) -> None:
    checked = without_check("it checks itself: administrators of the namespace")

    def require_admin_of(name: str) -> None:
        """Raise Failure 403, whether the namespace exists or not, or 401."""
        if not index.administration.administers(require_user(services), name):
            raise Failure(*errors.FORBIDDEN)
        check_namespace(name)

    def shown(name: str, problem: str = "", status: int = 200) -> Response:
        members = index.namespaces.members(name)
        given = form() if problem else {}
        return page(
            "namespace.html",
            status,
            namespace=name,
            owner=index.namespaces.owner(name),
            members=members[:_MEMBERS],
            more=max(0, len(members) - _MEMBERS),
            repositories=index.administration.repositories_in([name]).get(name, 0),
            is_administrator=is_administrator(services),
            problem=problem,
            given=given,
        )

    @routes.get("/namespaces/<name>")
    @checked
    def namespace(name: str) -> Response:
        require_admin_of(name)
        return shown(name)

    @routes.post("/namespaces/<name>")
    @checked
    def change_role(name: str) -> Response:
        require_admin_of(name)
        given = form()
        account, role = given.get("account", "").strip(), given.get("role", "")
        repository = given.get("repository", "").strip()
        target = f"{name}/{repository}" if repository else name
        try:
            index.namespaces.replace_role(account, target, role, given.get("seen", ""))
        except Failure as failure:
            if failure.status not in _SHOWN_ERRORS:
                raise
            return shown(name, failure.text, failure.status)
        text = _("%(account)s has the role %(role)s in %(target)s now.")
        if not role:
            text = _("%(account)s has no role in %(target)s any more.")
        values = {"account": account, "role": role, "target": target}
        flash(text % values)
        is_still = index.administration.administers(require_user(services), name)
        return redirect(url_for("web.namespace", name=name) if is_still else render.own_url(None))
