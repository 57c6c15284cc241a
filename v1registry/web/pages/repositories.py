"""The list of repositories that the visitor may see."""

from __future__ import annotations

from flask import Blueprint, Response, request

from v1registry.api import paging
from v1registry.api.authorize import without_check
from v1registry.api.services import IndexAppServices, Services
from v1registry.lib.repositories.search import DEEPEST, BrowseQuery
from v1registry.web.render import Entry, page
from v1registry.web.texts import mark

SIZE = 50  # repositories on a page
_LONGEST = 255  # characters of a search


def add(routes: Blueprint, services: Services) -> list[Entry]:
    """Add the views; return their entries of the navigation."""

    @routes.get("/")
    @without_check("it checks itself: it shows repositories that the visitor may pull")
    def repositories() -> Response:
        orders = services.search.orders
        wanted = request.args.get("order", "")
        query = BrowseQuery(
            text=request.args.get("q", "")[:_LONGEST],
            namespace=request.args.get("namespace", "")[:_LONGEST],
            order=wanted if wanted in orders else orders[0],
            page=max(1, paging.query_number("page", 1, DEEPEST // SIZE)),
            size=SIZE,
        )
        caller = services.authorizer.caller()
        found = services.search.browse(caller, query)
        return page(
            "repositories.html",
            query=query,
            found=found,
            orders=orders,
            is_new=not found.rows and not query.text and not query.namespace,
            is_registry=not isinstance(services, IndexAppServices),
            can_list=services.config.standalone or services.index is not None,
            host=request.host,
            is_https=request.scheme == "https",
        )

    return [Entry("repositories", mark("Repositories"), lambda: True)]
