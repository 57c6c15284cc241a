"""Rendering of pages: templates with the values that every page needs, and safe redirects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlencode

from flask import Blueprint, Response, current_app, g, render_template, request, url_for
from jinja2.ext import InternationalizationExtension
from werkzeug.datastructures import MultiDict

from v1registry.api import body
from v1registry.api.services import Services
from v1registry.lib.errors import Failure
from v1registry.web import formats, texts
from v1registry.web.access import can_sign_up
from v1registry.web.assets import Assets
from v1registry.web.sessions import Sessions

STATE = "v1registry.pages"  # the key of `Pages` in `app.extensions`


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the navigation: shown if the page exists and `is_shown()`."""

    endpoint: str
    label: str
    is_shown: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Pages:
    """What all pages share."""

    services: Services
    sessions: Sessions
    assets: Assets
    navigation: list[Entry]
    templates: list[str] = field(default_factory=list)  # those that are compiled


def pages() -> Pages:
    """Return what all pages share, during a request."""
    return cast(Pages, current_app.extensions[STATE])


def load_templates() -> None:
    """Compile all templates once, beside the event loop: it takes longer than a page may block it."""
    shared, environment = pages(), current_app.jinja_env
    if not shared.templates:
        names = environment.list_templates()
        shared.services.compute(lambda: [environment.get_template(name) for name in names])
        shared.templates.extend(names)


def page(template: str, status: int = 200, /, **values: Any) -> Response:
    """Return a page."""
    return Response(
        render_template(template, **values), status, content_type="text/html; charset=utf-8"
    )


def form() -> MultiDict[str, str]:
    """Return the fields of the request's form. Raise Failure 413 or 408 for a body beyond the limits."""
    if "form" not in g:
        g.form = body.form(pages().services)
    found: MultiDict[str, str] = g.form
    return found


def error_page(failure: Failure) -> Response:
    """Return the page of an error: its cause, and what to do next."""
    response = page("error.html", failure.status, status=failure.status, cause=failure.text)
    for name, value in failure.headers.items():
        if name != "WWW-Authenticate":  # a browser would open its own dialog
            response.headers[name] = value
    return response


def confirm(
    title: str,
    question: str,
    action: str,
    *,
    label: str,
    cancel: str,
    details: list[str] | None = None,
    fields: list[tuple[str, str]] | None = None,
) -> Response:
    """Return the page that asks before a change. Its form posts `fields` to `action`."""
    return page(
        "confirm.html",
        title=title,
        question=question,
        action=action,
        label=label,
        cancel=cancel,
        details=details or [],
        fields=fields or [],
    )


def flash(text: str, kind: str = "done") -> None:
    """Show `text` on the next page. `kind`: done, or error."""
    if pages().services.session_secret() is not None:  # it signs the message
        pages().sessions.flash(text, kind)


def redirect(url: str) -> Response:
    """Return a redirect to one of our pages, which the browser fetches by GET."""
    return Response(b"", 303, [("Location", url)])


def own_url(text: str | None) -> str:
    """Return a path below `/ui/` that a link may name as the next page; the first page otherwise."""
    root = f"{request.root_path}/ui/"
    if text and text.startswith(root) and text.isprintable() and "\\" not in text:
        return text
    return root


def with_query(**changes: Any) -> str:
    """Return the URL of this page with other values in its query; None removes one."""
    values = {**request.args.to_dict(), **changes}
    values.pop("language", None) if "language" not in changes else None
    query = urlencode({name: value for name, value in values.items() if value not in (None, "")})
    return f"{request.root_path}{request.path}{'?' if query else ''}{query}"


def prepare(routes: Blueprint, shared: Pages) -> None:
    """Give the templates of `routes` their filters and values."""

    @routes.record_once
    def _prepare(state: Any) -> None:
        app = state.app
        app.extensions[STATE] = shared
        environment = app.jinja_env
        environment.add_extension(InternationalizationExtension)
        environment.install_gettext_callables(texts.gettext, texts.ngettext, newstyle=True)
        environment.filters.update(formats.FILTERS)
        environment.trim_blocks = environment.lstrip_blocks = True
        environment.globals.update(
            static=_static,
            with_query=with_query,
            csrf_token=shared.sessions.csrf_token,
        )

    @routes.context_processor
    def _values() -> dict[str, Any]:
        services = shared.services
        caller = services.authorizer.caller()
        return {
            "user": caller.user,
            "can_sign_in": services.authorizer.rights.has_passwords and caller.user is None,
            "can_sign_up": can_sign_up(services) and caller.user is None,
            "has_accounts": services.index is not None,
            "can_sign_out": g.get("session") is not None and g.session.caller.user is not None,
            "navigation": [
                (url_for(f".{entry.endpoint}"), entry.label, _is_current(entry.endpoint))
                for entry in shared.navigation
                if entry.is_shown()
            ],
            "language": texts.language(),
            "languages": texts.LANGUAGES,
            "message": shared.sessions.flashed(),
            "here": f"{request.root_path}{request.full_path.rstrip('?')}",
        }


def _static(name: str) -> str:
    shared = pages()
    if name not in shared.assets.all:
        raise KeyError(name)
    return url_for("web.static", version=shared.assets.version, name=name)


def _is_current(endpoint: str) -> bool:
    return request.endpoint == f"web.{endpoint}"
