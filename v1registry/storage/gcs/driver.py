"""The driver for Google Cloud Storage: two ways in, chosen by the credentials that are given.

HMAC keys, as 0.x had them, sign requests in the manner of S3 (gcshmac.py); everything else, a
service account's key file or the role of the machine, speaks Google's own API (gcsjson.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from v1registry.storage import Storage
from v1registry.storage.errors import Refused


def make(options: Mapping[str, Any], _offload: Callable[..., Any]) -> Storage:
    """The driver, from its part of the configuration. Raise Refused if it contradicts itself."""
    key, secret = options["gs_access_key"], options["gs_secret_key"]
    if options["oauth2"] or not (key or secret):
        from v1registry.storage.gcs.json_api import GcsStorage

        return GcsStorage(options)
    if not (key and secret):
        raise Refused("storage: gs_access_key and gs_secret_key belong together")
    if options["gcs_credentials"]:
        raise Refused("storage: either gcs_credentials or gs_access_key; `oauth2: true` ignores it")
    from v1registry.storage.gcs.hmac import GcsHmacStorage

    return GcsHmacStorage(options)
