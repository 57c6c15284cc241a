"""Flask, without the work on each request that none of our endpoints asks for."""

from __future__ import annotations

from flask import Flask
from flask.wrappers import Request
from werkzeug.routing import MapAdapter


class Site(Flask):
    """The application. Its routes look at path and method alone, never at the host."""

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
