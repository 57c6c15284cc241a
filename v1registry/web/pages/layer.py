"""The page of one layer: its files as a tree, a search in their names, and the changes it makes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from flask import Blueprint, Response, jsonify, request

from v1registry.api import paging
from v1registry.api.authorize import without_check
from v1registry.api.services import RegistryServices, Services
from v1registry.lib import documents, errors
from v1registry.lib.errors import Failure
from v1registry.lib.images.description import describe
from v1registry.lib.images.images import Image, parent_of
from v1registry.lib.layers import browse
from v1registry.lib.layers.browse import CHANGES, FilePage
from v1registry.lib.layers.scan import LayerDescriptor
from v1registry.lib.running import collector_off, for_size
from v1registry.lib.support.jobs import Jobs, StillRunning
from v1registry.web.access import image_of
from v1registry.web.pages.image import Context, context_of, trail
from v1registry.web.render import Entry, page
from v1registry.web.text_budget import TextBudget
from v1registry.web.texts import gettext as _

SIZE = 100  # files on a page
_MOST_PAGES = 100_000
_LONGEST_SEARCH = 255
_LONGEST_PATH = 4096
_WAIT = 1.5  # seconds for which a request waits for a listing; then the page shows progress
_AT_ONCE = 16  # listings that a worker reads for pages
_KEPT = 8_000_000  # bytes of pages that a worker keeps for a minute
_ENTRY = 300  # bytes of a file on a kept page besides its name
_TEXT = (45_000, 1000)  # bytes of all names on a page, and of one

#: Why a layer cannot be listed. All other failures are errors of the page.
_REASONS = {
    errors.LAYER_FORMAT: "format",
    errors.LAYER_TOO_LARGE: "large",
    errors.PARENT_NOT_FOUND: "parent",
    errors.IMAGE_NOT_FOUND: "missing",
}


@dataclass(frozen=True, slots=True)
class _Query:
    """What the visitor wants to see of a layer: its files, or its changes."""

    shows_changes: bool
    path: tuple[str, ...]
    text: str
    change: str
    page: int

    @property
    def start(self) -> int:
        return (self.page - 1) * SIZE

    def url(self, endpoint: str, image: Image, context: Context, **changes: str) -> str:
        """Return the URL of this view, or of one with `changes`. A change leads to the first page."""
        values = {
            "view": "changes" if self.shows_changes else "",
            "path": "/".join(self.path),
            "q": self.text,
            "change": self.change,
            "page": "" if changes else str(self.page),
        }
        return context.url(endpoint, image.id, **(values | changes))


def add(routes: Blueprint, services: Services) -> list[Entry]:
    """Add the views; they are reached from the page of an image."""
    if not isinstance(services, RegistryServices):
        return []
    jobs: Jobs[FilePage] = Jobs(_AT_ONCE, _KEPT, _size)
    checked = without_check("it checks itself: see image_of")

    def find(image: Image, query: _Query, seconds: float) -> FilePage:
        compute = partial(_read, services, image, query)
        return jobs.get(f"{image.id} {query}", compute, seconds)

    @routes.get("/images/<image_id>/layer")
    @checked
    def layer(image_id: str) -> Response:
        image, query = image_of(services, image_id), _query()
        found, reason = None, "missing" if image.size is None else ""
        try:
            found = find(image, query, _WAIT) if not reason else None
        except StillRunning:
            reason = "reading"
        except Failure as failure:
            reason = _REASONS.get((failure.status, failure.text), "")
            if not reason:
                raise
        context = context_of(services)
        return page("layer.html", **_values(services, image, context, query, found, reason))

    @routes.get("/images/<image_id>/layer/progress")
    @checked
    def layer_progress(image_id: str) -> Response:
        image, query = image_of(services, image_id), _query()
        is_finished = True
        try:
            find(image, query, 0.1)
        except StillRunning:
            is_finished = False
        except Failure:
            pass  # the page itself shows it
        url = query.url("web.layer", image, context_of(services))
        return jsonify(done=0, total=None, text="", is_finished=is_finished, next=url)

    return []


def _query() -> _Query:
    arguments = request.args
    change = arguments.get("change", "")
    return _Query(
        arguments.get("view") == "changes",
        browse.path_of(arguments.get("path", "")[:_LONGEST_PATH]),
        arguments.get("q", "")[:_LONGEST_SEARCH],
        change if change in CHANGES else "",
        paging.query_number("page", 1, _MOST_PAGES),
    )


def _read(services: RegistryServices, image: Image, query: _Query) -> FilePage:
    """Return one page of the listing. Raise Failure if the layer cannot be listed."""
    read: Callable[[], FilePage]
    if query.shows_changes:
        changes = services.listings.diff(image)
        read = partial(_changes, changes, query)
        size = len(changes)
    else:
        files = services.listings.files(image)
        read = partial(_files, files, query)
        size = len(files)
    try:
        found: FilePage = for_size(services.compute, size)(read)
    except (ValueError, RecursionError):  # 0.x stored it, and it is damaged
        raise Failure(*errors.LAYER_FORMAT) from None
    return found


@collector_off()
def _files(data: bytes, query: _Query) -> FilePage:
    rows = documents.elements(data)
    if query.text:
        return browse.search(rows, query.text, query.start, SIZE)
    return browse.folder(rows, query.path, query.start, SIZE)


@collector_off()
def _changes(data: bytes, query: _Query) -> FilePage:
    members = documents.grouped_members(data)
    return browse.changes(members, query.change, query.text, query.start, SIZE)


def _size(found: FilePage) -> int:
    return sum(_ENTRY + 4 * len(entry.name) for entry in found.entries)


def _values(
    services: RegistryServices,
    image: Image,
    context: Context,
    query: _Query,
    found: FilePage | None,
    reason: str,
) -> dict[str, Any]:
    run = for_size(services.compute, len(image.json))
    facts, metadata = run(describe, image.json), services.v2.blobs.known(image)
    repository = str(context.repository or "")
    hidden = {"repository": repository, "tag": context.tag, "change": query.change}
    if query.shows_changes:
        hidden["view"] = "changes"
    return {
        "image": image,
        "context": context,
        "trail": [*trail(image.id, context), (_("Layer"), "")],
        "facts": facts,
        "command": TextBudget(1000, 1000).cut(facts.arguments),
        "parent": run(parent_of, image.json),
        "metadata": metadata if isinstance(metadata, LayerDescriptor) else None,
        "query": query,
        "hidden": [(name, value) for name, value in hidden.items() if value],
        "changes": CHANGES,
        "found": found,
        "reason": reason,
        "size": SIZE,
        "most": _MOST_PAGES * SIZE,
        "cut": TextBudget(*_TEXT).cut,
        "folders": [
            (part, "/".join(query.path[: number + 1])) for number, part in enumerate(query.path)
        ],
        "progress_url": query.url("web.layer_progress", image, context),
        "link": partial(query.url, "web.layer", image, context),
    }
