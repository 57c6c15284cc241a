"""The driver for Google Cloud Storage: chooses one of two APIs by the configured credentials.

HMAC keys, as in 0.x, use the S3-compatible API (hmac.py). All other credentials, such as a service
account's key file or the role of the machine, use Google's own API (json_api.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from v1registry.storage import Storage
from v1registry.storage.errors import Refused


def make(options: Mapping[str, Any], _run_in_thread: Callable[..., Any]) -> Storage:
    """Return the driver for this part of the configuration. Raise Refused if options conflict."""
    key, secret = options["gs_access_key"], options["gs_secret_key"]
    if options["oauth2"] or not (key or secret):
        from v1registry.storage.gcs.json_api import GcsStorage

        return GcsStorage(options)
    if not (key and secret):
        raise Refused("storage: gs_access_key and gs_secret_key belong together")
    if options["gcs_credentials"]:
        raise Refused(
            "storage: set either gcs_credentials or gs_access_key; `oauth2: true` ignores gs_access_key"
        )
    from v1registry.storage.gcs.hmac import GcsHmacStorage

    return GcsHmacStorage(options)
