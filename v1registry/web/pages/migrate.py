"""Migrate: the command for a target and a selection, and what it would copy.

The page sends nothing to the target. It shows only repositories that the visitor may pull; the command,
which an administrator runs beside the store, copies all that match.
"""

from __future__ import annotations

from flask import Blueprint, Response, request

from v1registry.api import paging
from v1registry.api.authorize import without_check
from v1registry.api.services import RegistryServices, Services
from v1registry.lib.auth.rights import Access
from v1registry.lib.maintenance.migration import NAMES, MigrationPlanner, command_line
from v1registry.lib.repositories.selection import NameSelection, registry_url, rule
from v1registry.web.render import Entry, page
from v1registry.web.texts import gettext as _
from v1registry.web.texts import mark

SIZE = 25  # repositories on a page
SECONDS = 1.0  # longest time for reading tags and sizes

_MOST = 10  # patterns or rules in a field
_LONGEST = 200  # characters of one of them

FORMS = {"docker": mark("Docker schema 2"), "oci": mark("OCI")}


def add(routes: Blueprint, services: Services) -> list[Entry]:
    """Add the view, if this process has a store."""
    if not isinstance(services, RegistryServices):
        return []
    authorizer = services.authorizer
    planner = MigrationPlanner(
        services.search,
        services.v2.tag_list,
        lambda repository: authorizer.allows(repository, Access.PULL),
    )

    @routes.get("/migrate")
    @without_check("it checks itself: it shows repositories that the visitor may pull")
    def migrate() -> Response:
        given = {
            name: request.args.get(name, "").strip() for name in ("to", "repositories", "tags")
        }
        given |= {"map": request.args.get("map", "").strip()}
        form = request.args.get("format", "")
        form = form if form in FORMS else next(iter(FORMS))
        problems: dict[str, str] = {}
        fields = {
            name: _words(name, given[name], problems) for name in ("repositories", "tags", "map")
        }
        url = _url(given["to"], problems)
        selection = NameSelection(fields["repositories"], fields["tags"], _rules(fields, problems))
        number = paging.query_number("page", 1, NAMES // SIZE)
        plan = None
        if not problems:
            plan = planner.plan(authorizer.caller(), selection, number, SIZE, seconds=SECONDS)
        commands = [
            command_line(url, selection, fields["map"], form=form, is_dry=is_dry)
            for is_dry in (True, False)
            if url and not problems
        ]
        return page(
            "migrate.html",
            400 if problems else 200,
            given=given,
            form=form,
            forms=[(value, _(text)) for value, text in FORMS.items()],
            problems=problems,
            plan=plan,
            commands_to_run=commands,
            host=url.partition("://")[2] if url else "",
            number=number,
            size=SIZE,
        )

    return [Entry("migrate", mark("Migrate"), lambda: True)]


def _url(text: str, problems: dict[str, str]) -> str | None:
    if not text:
        return None
    try:
        return registry_url(text[: 2 * _LONGEST])
    except ValueError as error:
        problems["to"] = str(error)
        return None


def _words(name: str, text: str, problems: dict[str, str]) -> list[str]:
    """Return the patterns or rules of a field, which spaces separate; note a problem."""
    words = text.split()
    if len(words) > _MOST or any(len(w) > _LONGEST or not w.isprintable() for w in words):
        problems[name] = _("At most 10 words of at most 200 printable characters each")
        return []
    return words


def _rules(fields: dict[str, list[str]], problems: dict[str, str]) -> list[tuple[str, str]]:
    try:
        return [rule(text) for text in fields["map"]]
    except ValueError as error:
        problems["map"] = str(error)
        return []
