"""Routing below `/v2/`: whether v2 is visible to the client, access, and the endpoint."""

from __future__ import annotations

from flask import Blueprint, Response, g, request

from v1registry.api import answers
from v1registry.api.authorize import mark
from v1registry.api.ocierrors import OciFailure
from v1registry.api.services import RegistryServices
from v1registry.api.v2 import content, lists, login, paths
from v1registry.api.v2.answers import json_answer
from v1registry.api.v2.visible import Visibility
from v1registry.lib.names import Digest

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

_READ_ONLY = (
    "Over v2 this registry is read-only. Push with Docker up to 1.13, or with 17.03 to 17.11 after"
    " docker/17. was added to the registry's option v2.hidden_from. Else save the image and run"
    " v1registry import"
)


def blueprint(services: RegistryServices) -> Blueprint:
    routes = Blueprint("v2", __name__)
    visibility = Visibility(services.config.v2)

    def v2(path: str = "") -> Response:
        """Answer a v2 request; with 404 if the client must not see v2 (protocol-v1.md section 7.4)."""
        environ = request.environ
        if not visibility.shows(environ):
            return answers.plain_text("404 page not found", 404)
        g.is_v2 = True  # errors get the form of v2, too
        answers.refuse_nul()
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            raise _read_only()
        return _answer(services, path)

    for rule in ("/v2", "/v2/", "/v2/<any_path:path>"):
        view = mark(v2, "v2: pull, checked once the repository is known")
        routes.add_url_rule(rule, "v2", view, methods=_METHODS, provide_automatic_options=False)
    return routes


def _answer(services: RegistryServices, path: str) -> Response:
    if path == login.TOKEN_PATH:
        return login.token(services)
    target = paths.parse(path)
    repository = target.repository
    login.admit(services, repository)
    if repository is None:
        return lists.catalog(services) if target.action == "catalog" else json_answer({})
    if target.action == "manifest" and target.reference is not None:
        return content.manifest(services, repository, target.reference)
    if target.action == "referrers":
        return lists.referrers(services, repository)
    if isinstance(target.reference, Digest):
        return content.blob(services, repository, target.reference)
    return lists.tags(services, repository)


def _read_only() -> OciFailure:
    failure = OciFailure(405, "UNSUPPORTED", _READ_ONLY)
    failure.headers["Allow"] = "GET, HEAD"
    return failure
