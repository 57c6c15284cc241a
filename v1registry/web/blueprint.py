"""The blueprint of the pages: what holds for each request below `/ui/`, and one error handler."""

from __future__ import annotations

from urllib.parse import urlencode

from flask import Blueprint, Response, g, request, url_for
from werkzeug.exceptions import HTTPException

from v1registry.api import answers
from v1registry.api.authorize import without_check
from v1registry.api.services import Services
from v1registry.lib.errors import Failure
from v1registry.web import render, sessions, texts
from v1registry.web.assets import Assets
from v1registry.web.pages import (
    account,
    account_status,
    accounts,
    image,
    invitations,
    layer,
    members,
    migrate,
    namespaces,
    opinions,
    repositories,
    repository,
    sign_in,
    sign_up,
    store,
)
from v1registry.web.render import Entry, Pages, error_page
from v1registry.web.sessions import Sessions

#: The modules of the pages, in the order of the navigation.
PAGES = (
    repositories,
    repository,
    opinions,
    members,
    image,
    layer,
    accounts,
    account,
    account_status,
    namespaces,
    invitations,
    store,
    migrate,
    sign_in,
    sign_up,
)

_POLICY = "; ".join(
    [
        "default-src 'none'",
        *(f"{kind}-src 'self'" for kind in ("style", "script", "img", "font", "connect")),
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ]
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_ANY = ("GET", "POST", "PUT", "PATCH", "DELETE")
_FOR_EVER = "public, max-age=31536000, immutable"
_LANGUAGE_LIFE = 365 * 24 * 3600

NO_PAGE = (404, "There is no such page, or you may not see it")


def blueprint(services: Services) -> Blueprint:
    """Return the pages. A module of `PAGES` adds its views with `add(routes, services)`."""
    routes = Blueprint("web", __name__, url_prefix="/ui", template_folder="templates")
    navigation: list[Entry] = []
    shared = Pages(services, Sessions(services), Assets(), navigation)
    render.prepare(routes, shared)

    @routes.before_request
    def begin() -> Response | None:
        if request.endpoint == "web.static":
            return None
        if request.path == "/ui":
            return render.redirect(f"{request.root_path}/ui/")  # the cookies are for this path
        render.load_templates()
        shared.sessions.open()
        if request.method not in ("GET", "HEAD"):
            shared.sessions.check_form(render.form)
        return None

    @routes.after_request
    def finish(response: Response) -> Response:
        response.headers.update(_HEADERS)
        response.headers.setdefault("Cache-Control", "no-store")
        if request.endpoint != "web.static":
            response.headers.setdefault("Vary", "Accept-Language, Cookie")
            _keep_language(response)
            sessions.set_cookies(response)
        return response

    @routes.errorhandler(Exception)
    def failed(error: Exception) -> Response:
        """Turn every error of a page into a page. No other code does this."""
        if "session" not in g:
            g.session, g.cookies = None, {}
        if isinstance(error, HTTPException):
            error = Failure(*NO_PAGE)
        failure = error if isinstance(error, Failure) else answers.logged(error)
        is_get = request.method in ("GET", "HEAD")
        if failure.status == 401 and is_get and services.authorizer.rights.has_passwords:
            here = f"{request.root_path}{request.full_path.rstrip('?')}"
            return render.redirect(f"{url_for('web.sign_in')}?{urlencode({'next': here})}")
        return error_page(failure)

    @routes.get("/static/<version>/<name>")
    @without_check("public files")
    def static(version: str, name: str) -> Response:
        asset = shared.assets.all.get(name)
        if asset is None:
            raise Failure(*NO_PAGE)
        # Another version: a node of another release serves the page during an upgrade.
        is_current = version == shared.assets.version
        headers = {"Cache-Control": _FOR_EVER if is_current else "no-store"}
        return Response(asset.body, 200, headers, content_type=asset.content_type)

    for module in PAGES:
        navigation.extend(module.add(routes, services))

    @routes.route("/<path:_rest>", methods=_ANY)
    @without_check("there is no page")
    def unknown(_rest: str) -> Response:
        raise Failure(*NO_PAGE)

    return routes


def _keep_language(response: Response) -> None:
    chosen = request.args.get("language")
    if chosen in texts.LANGUAGES:
        path = f"{request.root_path}/ui/"
        response.set_cookie(
            texts.COOKIE, chosen, max_age=_LANGUAGE_LIFE, path=path, samesite="Lax", httponly=True
        )
