"""The page of one image: what it runs, how it was made, and which tags share its layers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, request, url_for
from markupsafe import Markup

from v1registry.api import paging
from v1registry.api.authorize import without_check
from v1registry.api.services import RegistryServices, Services
from v1registry.lib.auth.rights import Access
from v1registry.lib.errors import Failure
from v1registry.lib.images import layer_tree
from v1registry.lib.images.description import ImageDescription, describe
from v1registry.lib.images.images import Image
from v1registry.lib.layers.scan import LayerDescriptor
from v1registry.lib.names import ImageId, RepositoryName
from v1registry.lib.oci.convert import OCI, SCHEMA2
from v1registry.lib.oci.images import UnservableImage, V2Image
from v1registry.lib.repositories.lineage import MOST_LAYERS, Lineage, LineageFinder
from v1registry.lib.running import for_size
from v1registry.web import formats, lineage_svg
from v1registry.web.access import NO_IMAGE, image_of, repository_of
from v1registry.web.history import SIZE, History, found
from v1registry.web.render import Entry, page
from v1registry.web.text_budget import TextBudget
from v1registry.web.texts import gettext as _
from v1registry.web.texts import ngettext

_READ_SECONDS = 0.08  # for the history, and for the lineage; images read later are cached then
_RUN_TEXT = (22_000, 500)  # bytes of the environment, labels and so on

#: Downloads: the name in the URL -> the media type of the v2 manifest, or None for a file of v1.
DOWNLOADS = {"json": None, "ancestry": None, "manifest": SCHEMA2, "oci-manifest": OCI}

NO_MANIFEST = (404, "This image has no manifest: a layer or a JSON of it is missing or damaged")


@dataclass(frozen=True, slots=True)
class Context:
    """The repository and the tag from which the visitor came; they add links to the page."""

    repository: RepositoryName | None
    tag: str

    def url(self, endpoint: str, image_id: str, **query: str | int | None) -> str:
        """Return the URL of a page of an image, in this context. Empty values are left out."""
        values = {"repository": str(self.repository or ""), "tag": self.tag, **query}
        given = urlencode({name: value for name, value in values.items() if value})
        return f"{url_for(endpoint, image_id=image_id)}{'?' if given else ''}{given}"


def add(routes: Blueprint, services: Services) -> list[Entry]:
    """Add the views; they are reached from the pages of repositories."""
    if not isinstance(services, RegistryServices):
        return []
    finder = LineageFinder(services.references, services.images, services.v2.tags, services.compute)
    history = History(services)
    checked = without_check("it checks itself: see image_of")

    @routes.get("/images/<image_id>")
    @checked
    def image(image_id: str) -> Response:
        shown, context = image_of(services, image_id), context_of(services)
        lineage = finder.find(
            shown,
            context.repository,
            lambda name: services.authorizer.allows(name, Access.PULL),
            seconds=_READ_SECONDS,
        )
        return page("image.html", **_values(services, history, shown, context, lineage))

    @routes.get("/images/<image_id>/download/<name>")
    @checked
    def download(image_id: str, name: str) -> Response:
        image = image_of(services, image_id)
        if name not in DOWNLOADS or (DOWNLOADS[name] and not services.config.v2.enabled):
            raise Failure(*NO_IMAGE)
        media_type = DOWNLOADS[name]
        content = image.json if name == "json" else image.ancestry
        if media_type:
            try:
                shown = services.v2.images.get(image.id, whole=False)
            except UnservableImage:
                raise Failure(*NO_MANIFEST) from None
            content = shown.manifests[media_type].data
        file = f"{formats.short_id(image.id)}-{name}{'' if name == 'json' else '.json'}"
        headers = {
            "Content-Disposition": f'attachment; filename="{file.replace("-json", ".json")}"'
        }
        return Response(content, 200, headers, content_type="application/json")

    return []


def context_of(services: RegistryServices) -> Context:
    """Return the context in the query, if the visitor may see that repository."""
    try:
        repository = repository_of(services, request.args.get("repository", "")[:255])
    except Failure:
        return Context(None, "")
    return Context(repository, request.args.get("tag", "")[:128])


def trail(image_id: str, context: Context) -> list[tuple[str, str]]:
    """Return the breadcrumbs down to an image."""
    found = [(_("Repositories"), url_for("web.repositories"))]
    if context.repository is not None:
        name = context.repository
        found.append((name.namespace, url_for("web.repositories", namespace=name.namespace)))
        found.append((name.name, url_for("web.repository", name=str(name))))
    label = context.tag or _("Image %(id)s") % {"id": formats.short_id(image_id)}
    return [*found, (label, context.url("web.image", image_id))]


def _values(
    services: RegistryServices, history: History, image: Image, context: Context, lineage: Lineage
) -> dict[str, Any]:
    run = for_size(services.compute, len(image.json))
    facts: ImageDescription = run(describe, image.json)
    layers: list[str] = for_size(services.compute, len(image.ancestry))(lambda: image.ancestors)
    pages = max(1, -(-len(layers) // SIZE))
    number = min(paging.query_number("page", 1, pages), pages)
    end = time.monotonic() + _READ_SECONDS
    texts = TextBudget(*_RUN_TEXT)
    sizes = [lineage.sizes.get(layer) for layer in layers]
    has_sizes = all(size is not None for size in sizes)
    rows = history.page(layers[::-1], number, end)
    shown = _shown(services, layers, end)
    environment, more_environment = texts.cut_all(facts.environment)
    labels, more_labels = texts.cut_all([name for name, _value in facts.labels])
    return {
        "image": image,
        "context": context,
        "trail": trail(image.id, context),
        "facts": facts,
        "cut": texts.cut,
        "layers": len(layers),
        "total": sum(filter(None, sizes)) if has_sizes else None,
        "shown": shown,
        "has_v2": services.config.v2.enabled,
        "environment": [one.partition("=")[::2] for one in environment],
        "labels": [
            (name, texts.cut(value))
            for name, (_name, value) in zip(labels, facts.labels, strict=False)
        ],
        "more": more_environment + more_labels,
        "ports": texts.cut(", ".join(facts.ports)),
        "volumes": texts.cut(", ".join(facts.volumes)),
        "history": rows,
        "number": number,
        "size": SIZE,
        "graph": _graph(lineage),
        "relatives": _relatives(lineage),
        "most_layers": MOST_LAYERS,
        "is_late": lineage.is_late or any(row.is_late for row in rows),
    }


def _shown(services: RegistryServices, layers: list[str], end: float) -> V2Image | None:
    """Return the image as v2 clients see it.

    None if it is impossible, needs a scan of layers, or takes longer than until `end`.
    """
    if not services.config.v2.enabled or len(layers) > MOST_LAYERS:
        return None
    for number, layer in enumerate(layers):
        if number % SIZE == SIZE - 1:
            services.compute(int)  # waits for a thread: other requests run meanwhile
        image = found(services, layer) if time.monotonic() < end else None
        if image is None or not isinstance(services.v2.blobs.known(image), LayerDescriptor):
            return None
    try:
        return services.v2.images.get(ImageId(layers[0]), whole=False)
    except UnservableImage:
        return None


def _graph(lineage: Lineage) -> Markup | None:
    """Return the drawing of the lineage; None if no other tag shares a layer."""
    if not lineage.branches:
        return None
    own = lineage.branches[0].layers
    names = [branch.name for branch in lineage.branches if branch.name]
    text = ngettext(
        "%(num)d tag shares layers with this image. The table below lists the same facts.",
        "%(num)d tags share layers with this image. The table below lists the same facts.",
        len(names),
    )
    texts = lineage_svg.Texts(
        title=_("Lineage of layers"),
        description=text % {"num": len(names)},
        size=formats.size,
        layers=lambda number: ngettext("%(num)d layer", "%(num)d layers", number) % {"num": number},
    )
    return lineage_svg.draw(layer_tree.build(lineage.branches), lineage.sizes, own, texts)


def _relatives(lineage: Lineage) -> list[dict[str, Any]]:
    """Return the rows of the table: what each tag shares with this image, and what it adds."""
    if not lineage.branches:
        return []
    own = lineage.branches[0].layers
    rows = []
    for branch in lineage.branches:
        if not branch.name:
            continue
        count = layer_tree.shared(own, branch.layers)
        total = partial(_total, lineage)
        rows.append(
            {
                "branch": branch,
                "image_id": branch.layers[-1],
                "is_own": branch.layers == own,
                "shared": count,
                "shared_size": total(branch.layers[:count]),
                "added": len(branch.layers) - count,
                "added_size": total(branch.layers[count:]),
            }
        )
    return rows


def _total(lineage: Lineage, layers: Sequence[str]) -> int | None:
    sizes = [lineage.sizes.get(layer) for layer in layers]
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None
