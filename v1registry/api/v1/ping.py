"""Is it there, is it well: what clients and load balancers ask first."""

from __future__ import annotations

from flask import Blueprint, Response

from v1registry.api import answers
from v1registry.api.authorize import everybody
from v1registry.api.services import RegistryServices, Services
from v1registry.lib.support.health import Health
from v1registry.storage.errors import NotMounted, StorageError

_SEE_LOG = "cannot be used now, the log says why"


def blueprint(parts: Services) -> Blueprint:
    routes = Blueprint("ping", __name__)
    health = Health(parts.services)
    # With an index, ours too, there are tokens: engines need not send the password everywhere.
    standalone = "True" if parts.config.standalone and parts.index is None else "False"

    @routes.get("/_ping")
    @routes.get("/v1/_ping")
    @everybody("asked before any login")
    def ping() -> Response:
        """Says that this is a v1 registry, and nothing about us, in debug neither."""
        return answers.ordinary({}, headers=[("X-Docker-Registry-Standalone", standalone)])

    @routes.get("/")
    @everybody("a greeting")
    def root() -> Response:
        return answers.ordinary(parts.config.issue)

    @routes.get("/_status")
    @routes.get("/v1/_status")
    @everybody("asked by load balancers")
    def status() -> Response:
        """200 if all that is configured can be used as it is meant to be, else 503.

        The shape is that of 0.6.3 to 0.8.1, but for what an attacker could use: `host` is empty, and
        reasons, which name hosts, paths and URLs, are in the log alone. Without its Redis the
        registry serves all the same.
        """
        failures = dict.fromkeys(health.failing(), _SEE_LOG)
        body = {"services": health.names, "failures": failures, "host": ""}
        return answers.ordinary(body, 503 if failures else 200)

    @routes.get("/v1/_ready")
    @everybody("asked by load balancers")
    def ready() -> Response:
        """503 while the store of the start is not mounted here: another node should be asked.

        A store that does not answer is no reason: other nodes have the same one.
        """
        try:
            if isinstance(parts, RegistryServices):
                parts.storage.require_marker(parts.storage.marker_seconds)
        except NotMounted:
            return answers.ordinary({"ready": False}, 503)
        except StorageError:
            pass
        return answers.ordinary({"ready": True})

    return routes
