"""The page of one repository, and changes of its tags and visibility."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, request, url_for

from v1registry.api import changes, paging
from v1registry.api.authorize import without_check
from v1registry.api.services import RegistryServices, Services
from v1registry.lib.auth.rights import Access
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName, Tag
from v1registry.lib.oci.tag_list import TagPage, TagRow
from v1registry.web.access import NO_REPOSITORY, known_repository, repository_of
from v1registry.web.markdown import rendered
from v1registry.web.pages import deletions
from v1registry.web.render import Entry, confirm, flash, form, page, redirect
from v1registry.web.texts import gettext as _
from v1registry.web.texts import ngettext

SIZE = 25  # tags on a page
COMMENTS = 50
MOST_TAGS = 1000  # that one request deletes
_READ_SECONDS = 0.08  # for reading images; later ones come with the next request
_LONGEST = 128  # characters of a search


def add(routes: Blueprint, services: Services) -> list[Entry]:
    """Add the views; they are reached from the list of repositories."""
    checked = without_check("it checks itself: see repository_of")

    @routes.get("/repositories/<any_path:name>")
    @checked
    def repository(name: str) -> Response:
        target = repository_of(services, name)
        return page("repository.html", **_values(services, target))

    if isinstance(services, RegistryServices):
        _add_changes(routes, services)
    return []


def _values(services: Services, target: RepositoryName) -> dict[str, Any]:
    """Return what the page shows. Raise Failure 404 if there is no such repository."""
    text = request.args.get("q", "")[:_LONGEST]
    number = paging.query_number("page", 1, 4000)
    user, index = services.authorizer.caller().user, services.index
    known, about, comments, starred = None, None, [], False
    if index is not None:
        known = known_repository(services, target)
        full = index.catalog.full_description(target)
        about = services.compute(rendered, full) if full else None
        after = paging.query_number("after", 0, 2**62)
        comments = index.opinions.comments(target, user, after, COMMENTS + 1)
        starred = user is not None and index.opinions.is_starred(target, user)
    is_writable = not services.config.read_only
    may_push = is_writable and services.authorizer.allows(target, Access.PUSH)
    may_delete = is_writable and services.authorizer.allows(target, Access.DELETE)
    if isinstance(services, RegistryServices):
        private = known.is_private if known else services.repositories.is_private(target)
        tags = services.v2.tag_list.page(target, text, number, SIZE, seconds=_READ_SECONDS)
    else:
        private, tags = bool(known and known.is_private), _tags_of_index(services, target)
    if tags is None and known is None:
        raise Failure(*NO_REPOSITORY)
    tags = tags or TagPage([], 0)
    return {
        "repository": target,
        "host": _host(services),
        "is_private": private,
        "known": known,
        "about": about,
        "tags": tags,
        "text": text,
        "number": number,
        "size": SIZE,
        "first_tag": _first(tags.rows),
        "comments": comments[:COMMENTS],
        "more_comments": len(comments) > COMMENTS,
        "is_starred": starred,
        "may_delete": may_delete,
        "may_change": may_delete if index is not None else may_push,
        "has_store": isinstance(services, RegistryServices),
        "has_v2": services.config.v2.enabled,
        "is_late": any(row.is_late for row in tags.rows),
    }


def _tags_of_index(services: Services, target: RepositoryName) -> TagPage:
    """Return the tags that an index without a registry knows."""
    assert services.index is not None
    found = services.index.catalog.get(target, services.authorizer.caller().user).tags
    rows = [TagRow(name, image, None, None, False) for name, image in found.items()]
    return TagPage(rows[:MOST_TAGS], len(rows))


def _host(services: Services) -> str:
    """Return the host from which engines pull: the first registry of an index without one."""
    if isinstance(services, RegistryServices):
        return request.host
    return (services.config.registry_endpoints or request.host).split(",")[0].strip()


def _first(rows: list[TagRow]) -> str:
    return rows[0].name if rows else "latest"


# -- changes in the store ---------------------------------------------------------------------------


def _add_changes(routes: Blueprint, services: RegistryServices) -> None:
    checked = without_check("it checks itself: access to delete")

    @routes.post("/repositories/delete-tags/<any_path:name>")
    @checked
    def delete_tags(name: str) -> Response:
        target = repository_of(services, name, Access.DELETE)
        names = list(dict.fromkeys(form().getlist("tag")))[:MOST_TAGS]
        if not names:
            flash(_("No tag was selected."), "error")
            return redirect(url_of(target))
        services.repositories.immutable.refuse_deletion(target, names)
        if "confirmed" not in form():
            return _ask_about_tags(services, target, names)
        _delete(services, target, names)
        return redirect(url_of(target))

    @routes.post("/repositories/delete/<any_path:name>")
    @checked
    def delete_repository(name: str) -> Response:
        target = repository_of(services, name, Access.DELETE)
        services.repositories.immutable.refuse_deletion(target)
        if "confirmed" not in form():
            return _ask_about_repository(services, target)
        changes.delete(services, target)
        flash(_("The repository %(name)s is deleted.") % {"name": target})
        return redirect(url_for("web.repositories"))

    @routes.post("/repositories/visibility/<any_path:name>")
    @without_check("it checks itself: the access that the API requires")
    def visibility(name: str) -> Response:
        access = Access.PUSH if services.index is None else Access.DELETE
        target = repository_of(services, name, access)
        private = form().get("private") == "1"
        services.repositories.require(target)
        changes.set_private(services, target, private)
        flash(
            _("The repository is private now.") if private else _("The repository is public now.")
        )
        return redirect(url_of(target))


def _ask_about_tags(
    services: RegistryServices, target: RepositoryName, names: list[str]
) -> Response:
    found = deletions.preview(services, target, names)
    title = ngettext("Delete %(num)d tag?", "Delete %(num)d tags?", len(names))
    return confirm(
        title % {"num": len(names)},
        _("Clients can no longer pull %(name)s by these tags.") % {"name": target},
        url_for("web.delete_tags", name=str(target)),
        label=_("Delete"),
        cancel=url_of(target),
        details=found,
        fields=[("confirmed", "1"), *(("tag", name) for name in names)],
    )


def _ask_about_repository(services: RegistryServices, target: RepositoryName) -> Response:
    services.repositories.require(target)
    return confirm(
        _("Delete %(name)s?") % {"name": target},
        _("All its tags, its descriptions, stars and comments are deleted."),
        url_for("web.delete_repository", name=str(target)),
        label=_("Delete the repository"),
        cancel=url_of(target),
        details=[_("The layers stay in the store until garbage collection deletes them.")],
        fields=[("confirmed", "1")],
    )


def _delete(services: RegistryServices, target: RepositoryName, names: list[str]) -> None:
    """Delete tags. Another visitor may have deleted some of them."""
    deleted = 0
    for name in names:
        try:
            services.repositories.delete_tag(target, Tag.parse_existing(name))
            deleted += 1
        except Failure as failure:
            if failure.status not in (400, 404):
                raise
    text = ngettext("%(num)d tag is deleted.", "%(num)d tags are deleted.", deleted)
    message = text % {"num": deleted}
    if gone := len(names) - deleted:
        text = ngettext(
            "%(num)d had been deleted before.", "%(num)d had been deleted before.", gone
        )
        message = f"{message} {text % {'num': gone}}"
    flash(message)


def url_of(target: RepositoryName) -> str:
    """Return the path of a repository's page."""
    return url_for("web.repository", name=str(target))
