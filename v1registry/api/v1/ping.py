"""Endpoints for clients and load balancers that check whether the server works."""

from __future__ import annotations

from flask import Blueprint, Response, request

from v1registry.api import answers
from v1registry.api.authorize import without_check
from v1registry.api.services import RegistryServices, Services
from v1registry.lib.support.health import Health
from v1registry.storage.errors import NotMounted, StorageError

_SEE_LOG = "cannot be used now, the log says why"


def blueprint(services: Services) -> Blueprint:
    routes = Blueprint("ping", __name__)
    health = Health(services.services)
    # "False" makes engines use tokens, which any index issues, and not send the password each time.
    standalone = "True" if services.config.standalone and services.index is None else "False"

    @routes.get("/_ping")
    @routes.get("/v1/_ping")
    @without_check("asked before any login")
    def ping() -> Response:
        """Say that this is a v1 registry. Disclose no version or host, not even in debug mode."""
        return answers.uncached_json({}, headers=[("X-Docker-Registry-Standalone", standalone)])

    @routes.get("/")
    @without_check("a greeting")
    def root() -> Response:
        """Greet clients, and redirect browsers to the pages: clients that prefer HTML to JSON."""
        accepted = request.accept_mimetypes
        if services.config.web.enabled and accepted["text/html"] > accepted["application/json"]:
            headers = {"Location": f"{request.root_path}/ui/", "Cache-Control": "no-store"}
            return Response(b"", 302, headers)
        return answers.uncached_json(services.config.issue)

    @routes.get("/_status")
    @routes.get("/v1/_status")
    @without_check("asked by load balancers")
    def status() -> Response:
        """Return 200 if every configured service works, else 503.

        The JSON has the form of docker-registry 0.6.3 to 0.8.1, without facts that help an attacker:
        `host` is empty, and the reasons, which name hosts, paths and URLs, are only in the log. The
        registry serves images also while its Redis fails.
        """
        failures = dict.fromkeys(health.failing(), _SEE_LOG)
        body = {"services": health.names, "failures": failures, "host": ""}
        return answers.uncached_json(body, 503 if failures else 200)

    @routes.get("/v1/_ready")
    @without_check("asked by load balancers")
    def ready() -> Response:
        """Return 503 while this node has not mounted the store: load balancers use another node.

        Return 200 while the store does not answer, since all nodes use the same store.
        """
        try:
            if isinstance(services, RegistryServices):
                services.storage.require_marker(services.storage.marker_seconds)
        except NotMounted:
            return answers.uncached_json({"ready": False}, 503)
        except StorageError:
            pass
        return answers.uncached_json({"ready": True})

    return routes
