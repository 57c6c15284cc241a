"""Flask, without the work on each request that none of our endpoints asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask
from flask.sessions import NullSession, SessionInterface
from flask.wrappers import Request
from werkzeug.routing import MapAdapter


class _NoSessions(SessionInterface):
    """Gives every request the same session, empty and not to be written to."""

    def __init__(self) -> None:
        self._none = NullSession()

    def open_session(self, app: Flask, request: Request) -> NullSession:
        return self._none


class Site(Flask):
    """The application. Its routes look at path and method alone, never at the host; it has no
    sessions, and no views that are coroutines.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.session_interface = _NoSessions()

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """The view itself, which is a plain function."""
        return func

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """What finds the request's route; made without checking and encoding the host's name.

        A name in URLs comes from `request.host`, which checks it when asked.
        """
        if request is None:
            return None  # URLs are built within requests only
        return MapAdapter(
            self.url_map,
            "localhost",
            request.root_path,
            "",
            request.scheme,
            request.path,
            request.method,
            request.query_string.decode("latin-1"),
        )
