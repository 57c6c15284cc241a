"""What a request says to the Glance driver: the headers that 0.x heeded.

In OpenStack the engine hands on `X-Meta-` headers of its own client, so that layers are read and
written with the rights of a user there. A token is sent only where the configuration says that
Glance is: not wherever a client points us to, and never our own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from v1registry.storage.errors import Refused
from v1registry.storage.glance.client import UUID, GlanceClients, GlanceCredentials, base

TOKEN = "X-Meta-Auth-Token"
ENDPOINT = "X-Meta-Glance-Endpoint"
IMAGE = "X-Meta-Glance-Image-Id"


class RequestCredentials:
    """Makes an asker of a request's headers."""

    def __init__(self, options: Mapping[str, Any], clients: GlanceClients) -> None:
        listed = options["glance_endpoints"] or ""
        self._listed = {base(url.strip()) for url in listed.split(",") if url.strip()}
        self._clients = clients

    def of(self, headers: Mapping[str, str]) -> GlanceCredentials | None:
        """None: without a token the request is carried out with our own account.

        Raise Refused for an address that is not among the listed ones.
        """
        token = headers.get(TOKEN)
        if not token:
            return None
        image = headers.get(IMAGE, "").lower()
        return GlanceCredentials(
            token, self._url(headers), image if UUID.fullmatch(image) else None
        )

    def _url(self, headers: Mapping[str, str]) -> str | None:
        if ENDPOINT not in headers:
            return None
        url = base(headers[ENDPOINT])
        if url in self._listed or url == self._clients.own().endpoint():
            return url
        raise Refused(f"{ENDPOINT} names {url[:200]!r}, which glance_endpoints does not")
