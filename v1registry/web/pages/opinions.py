"""Changes that users make to a repository's data in the index: descriptions, stars and comments."""

from __future__ import annotations

from flask import Blueprint, Response

from v1registry.api.authorize import without_check
from v1registry.api.services import IndexServices, Services
from v1registry.lib import errors
from v1registry.lib.auth.rights import Access
from v1registry.lib.errors import Failure
from v1registry.web.access import known_repository, repository_of
from v1registry.web.pages.repository import url_of
from v1registry.web.render import Entry, flash, form, page, redirect
from v1registry.web.texts import gettext as _


def add(routes: Blueprint, services: Services) -> list[Entry]:
    """Add the views, which need an index; the page of a repository leads to them."""
    if services.index is not None:
        _add(routes, services, services.index)
    return []


def _add(routes: Blueprint, services: Services, index: IndexServices) -> None:
    @routes.get("/descriptions/<any_path:name>")
    @without_check("it checks itself: access to delete")
    def edit_descriptions(name: str) -> Response:
        target = repository_of(services, name, Access.DELETE)
        known = known_repository(services, target)
        return page(
            "descriptions.html",
            repository=target,
            short=known.description,
            full=index.catalog.full_description(target),
        )

    @routes.post("/descriptions/<any_path:name>")
    @without_check("it checks itself: access to delete")
    def describe(name: str) -> Response:
        target = repository_of(services, name, Access.DELETE)
        short, full = form().get("short", ""), form().get("full", "").replace("\r\n", "\n")
        try:
            index.catalog.describe(target, short, full)
        except Failure as failure:
            if failure.status != 400:
                raise
            return page(
                "descriptions.html",
                400,
                repository=target,
                short=short,
                full=full,
                problem=failure.text,
            )
        flash(_("The descriptions are saved."))
        return redirect(url_of(target))

    user_checked = without_check("it checks itself: users only, on repositories that they may see")

    @routes.post("/stars/<any_path:name>")
    @user_checked
    def star(name: str) -> Response:
        target = repository_of(services, name)
        if form().get("on") == "1":
            index.opinions.star(target, _user(services))
        else:
            index.opinions.unstar(target, _user(services))
        return redirect(url_of(target))

    @routes.post("/comments/<any_path:name>")
    @user_checked
    def comment(name: str) -> Response:
        target, user = repository_of(services, name), _user(services)
        text, number = form().get("text", "").replace("\r\n", "\n"), form().get("id", "")
        if number:
            index.opinions.change_comment(target, _number(number), user, text)
        else:
            index.opinions.comment(target, user, text)
        return redirect(f"{url_of(target)}#comments")

    @routes.post("/comments/delete/<any_path:name>")
    @without_check("it checks itself: the visitor's own comment, or access to delete")
    def delete_comment(name: str) -> Response:
        target, user = repository_of(services, name), _user(services)
        may_all = services.authorizer.allows(target, Access.DELETE)
        number = _number(form().get("id", ""))
        index.opinions.remove_comment(target, number, user, any_author=may_all)
        flash(_("The comment is deleted."))
        return redirect(f"{url_of(target)}#comments")


def _user(services: Services) -> str:
    """Return the visitor's account. Raise Failure 403 for an anonymous visitor."""
    user = services.authorizer.caller().user
    if user is None:
        raise Failure(*errors.FORBIDDEN)
    return user


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Failure(*errors.DATA_INVALID)
    return int(text)
