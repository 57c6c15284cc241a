"""The headers by which a request brings its own token for Glance, as in 0.x.

In OpenStack, the Docker engine hands on the `X-Meta-` headers of its client, so that layers are read
and written with the rights of an OpenStack user. The driver sends a token only to addresses of Glance
that the configuration names, never to any other address that a client names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from v1registry.storage.errors import Refused
from v1registry.storage.glance.client import (
    UUID,
    CallerCredentials,
    GlanceClient,
    base,
    set_caller,
)

TOKEN = "X-Meta-Auth-Token"
ENDPOINT = "X-Meta-Glance-Endpoint"
IMAGE = "X-Meta-Glance-Image-Id"
HEADERS = (TOKEN, ENDPOINT, IMAGE)


class RequestTokens:
    """Makes the driver act with the token of the request that runs in this green thread."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        listed = options["glance_endpoints"] or ""
        self._listed = {base(url.strip()) for url in listed.split(",") if url.strip()}
        self._client = GlanceClient(options)  # to look up the registry's own Glance

    def begin(self, headers: Mapping[str, str]) -> None:
        """Use the token in these headers; without one, the registry's own account.

        Raise Refused if the headers name an address of Glance that the configuration does not.
        """
        set_caller(self._credentials(headers))

    def end(self) -> None:
        """Use the registry's own account again: the next request may bring no token."""
        set_caller(None)

    def _credentials(self, headers: Mapping[str, str]) -> CallerCredentials | None:
        token = headers.get(TOKEN)
        if not token:
            return None
        image = headers.get(IMAGE, "").lower()
        return CallerCredentials(
            token, self._url(headers), image if UUID.fullmatch(image) else None
        )

    def _url(self, headers: Mapping[str, str]) -> str | None:
        if not headers.get(ENDPOINT):
            return None
        url = base(headers[ENDPOINT])
        if url in self._listed or url == self._client.endpoint():
            return url
        raise Refused(f"{ENDPOINT} names {url[:200]!r}, which glance_endpoints does not")
