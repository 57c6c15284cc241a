"""The WSGI application, built from a checked configuration."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Blueprint, Flask, request

from v1registry.api import answers, v2
from v1registry.api.admin import readonly
from v1registry.api.authorize import unguarded
from v1registry.api.index import accounts, stars_comments
from v1registry.api.large_answers import LargeAnswers
from v1registry.api.paths import AnyPath
from v1registry.api.services import RegistryServices, Services
from v1registry.api.site import RegistryFlask
from v1registry.api.v1 import image_lists, images, ping, repositories, search, users
from v1registry.api.v1 import repository_routes as routes
from v1registry.config import Config
from v1registry.web.blueprint import blueprint as pages
from v1registry.wiring.registry import build_services
from v1registry.wiring.store import use_request_tokens


def create_app(config: Config) -> Flask:
    """Return the WSGI application for `config`. Raise what `build_services` raises."""
    services = build_services(config)
    app = RegistryFlask("v1registry", static_folder=None)
    app.url_map.strict_slashes = False  # old engines abort a push that is redirected
    app.url_map.merge_slashes = False
    app.url_map.converters["any_path"] = AnyPath
    answers.handle_errors(app)
    services.prepare()
    for blueprint in _blueprints(services):
        app.register_blueprint(blueprint)
    app.before_request(_refuse_nul)
    app.after_request(LargeAnswers().admit)
    if config.read_only:
        app.before_request(answers.refuse_changes)
    elif isinstance(services, RegistryServices):
        _refuse_writes(app, services)
    if isinstance(services, RegistryServices):
        use_request_tokens(app, config)
    app.extensions["v1registry"] = services
    if endpoints := unguarded(app):
        raise RuntimeError(f"endpoints without an access rule: {endpoints}")
    return app


def _refuse_nul() -> None:
    """Refuse NUL in a request, except in v2, which checks it after authorizing the client."""
    if not request.path.startswith("/v2"):
        answers.refuse_nul()


def _refuse_writes(app: Flask, services: RegistryServices) -> None:
    """Answer writes with 503 while the store is read-only or its marker is missing.

    Without this, an endpoint would answer 404 because it finds nothing in an unmounted store.
    """
    store, switch = services.storage, services.read_only_switch

    def refuse() -> None:
        if answers.writes_to_store():
            store.require_marker(store.marker_seconds)
            switch.require_off()

    app.before_request(refuse)


def _blueprints(services: Services) -> Iterator[Blueprint]:
    """Yield the blueprints of the registry, of the index, or of both."""
    yield from (ping.blueprint(services), search.blueprint(services))
    actions: routes.Actions = {}
    if isinstance(services, RegistryServices):
        yield from (images.blueprint(services), v2.blueprint(services))
        yield readonly.blueprint(services)
        actions = repositories.ACTIONS
        if services.config.writes_to_index:
            actions = routes.joined(repositories.WITH_INDEX, actions)
    if services.index is not None:
        yield accounts.blueprint(services, services.index)
        yield stars_comments.blueprint(services, services.index)
    elif services.config.standalone:
        yield users.blueprint(services)
    if services.index is not None or services.config.standalone:
        actions = routes.joined(actions, image_lists.ACTIONS)
    yield routes.blueprint(services, actions)
    if services.config.web.enabled:
        yield pages(services)
