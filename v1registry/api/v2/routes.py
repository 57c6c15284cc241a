"""Below `/v2/`: whom it is shown to, who may pull, and what is asked for."""

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


def blueprint(parts: RegistryServices) -> Blueprint:
    routes = Blueprint("v2", __name__)
    visibility = Visibility(parts.config.v2)

    def v2(path: str = "") -> Response:
        """To whom v2 is not shown, as if nothing had ever been there (protocol-v1.md section 7.4)."""
        environ = request.environ
        if not visibility.shows(environ):
            return answers.plain("404 page not found", 404)
        g.is_v2 = True  # so errors have its shape, too
        answers.refuse_nul()
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            raise _read_only()
        return _answer(parts, path)

    for rule in ("/v2", "/v2/", "/v2/<any_path:path>"):
        view = mark(v2, "v2: pull, checked once the repository is known")
        routes.add_url_rule(rule, "v2", view, methods=_METHODS, provide_automatic_options=False)
    return routes


def _answer(parts: RegistryServices, path: str) -> Response:
    if path == login.TOKEN_PATH:
        return login.token(parts)
    target = paths.parse(path)
    repository = target.repository
    login.admit(parts, repository)
    if repository is None:
        return lists.catalog(parts) if target.action == "catalog" else json_answer({})
    if target.action == "manifest" and target.reference is not None:
        return content.manifest(parts, repository, target.reference)
    if target.action == "referrers":
        return lists.referrers(parts, repository)
    if isinstance(target.reference, Digest):
        return content.blob(parts, repository, target.reference)
    return lists.tags(parts, repository)


def _read_only() -> OciFailure:
    failure = OciFailure(405, "UNSUPPORTED", _READ_ONLY)
    failure.headers["Allow"] = "GET, HEAD"
    return failure
