"""Google Cloud Storage with HMAC keys, as in 0.x, by its S3-compatible API.

The differences from S3, from Google's documentation and reports of users:

- A put ignores `If-None-Match: *`. `x-goog-if-generation-match: 0` has the same effect, but is refused
  together with any `x-amz-` header (400 ExcessHeaderValues). So such a put must be signed in Google's
  own form: cloud.google.com/storage/docs/authentication/signatures
- One request cannot delete several objects (boto/boto3#2293, apache/opendal#2097).
- Checksums in trailers are not supported; s3/client.py sends none.
- The region is `auto`. The bucket is in the path, because its name may contain dots.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from v1registry.storage.s3.driver import S3Storage

_ADDRESS = "storage.googleapis.com"
_LOCATION = "auto"
_REPLACED = {"if-none-match", "authorization"}


class GcsHmacStorage(S3Storage):
    """Keeps objects in one bucket, below `storage_path`. Options: config/drivers/gcs.py."""

    unless_atomic = "gcs_conditional_writes: false (it ignores x-goog-if-generation-match)"

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._key = options["gs_access_key"], options["gs_secret_key"]
        super().__init__(as_s3(options))
        # Otherwise Google caches publicly readable objects for an hour, tags included.
        self._settings = {"CacheControl": "no-store"}
        self._layers |= self._settings

    def _made(self, client: Any) -> None:
        client.meta.events.register("before-send.s3.PutObject", self._sign_create)

    def _sign_create(self, request: Any, **_: Any) -> None:
        """Turn `If-None-Match: *` of a put into Google's condition, and sign it in Google's form."""
        if request.headers.get("If-None-Match") is None:
            return
        for name in list(request.headers):
            if name.lower().startswith("x-amz-") or name.lower() in _REPLACED:
                del request.headers[name]
        address = urlsplit(request.url)
        headers = {
            "host": address.netloc,
            "x-goog-content-sha256": _digest(request.body),
            "x-goog-date": datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ"),
            "x-goog-if-generation-match": "0",
        }
        headers["Authorization"] = authorization(
            GOOGLE, self._key, request.method, address.path, address.query, headers
        )
        for name, value in headers.items():
            request.headers[name] = value

    def _delete_all(self, folder: str, names: Sequence[str]) -> None:
        for name in names:
            self.delete(name.removeprefix(self._prefix))


class SigningScheme(NamedTuple):
    """The names in which a form of AWS signature version 4 differs from AWS's own."""

    name: str
    service: str
    extension: str  # the prefix of its headers


GOOGLE = SigningScheme("GOOG4", "storage", "x-goog-")


def authorization(
    manner: SigningScheme,
    key: tuple[str, str],
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    location: str = _LOCATION,
) -> str:
    """Return the header `Authorization` that signs all `headers` (lower-case names)."""
    access, secret = key
    when = headers[f"{manner.extension}date"]
    names = ";".join(sorted(headers))
    lines = [f"{name}:{headers[name].strip()}" for name in sorted(headers)]
    parts = (method, path, "&".join(sorted(query.split("&"))), *lines, "", names)
    canonical = "\n".join((*parts, headers[f"{manner.extension}content-sha256"]))
    steps = (when[:8], location, manner.service, f"{manner.name.lower()}_request")
    algorithm, scope = f"{manner.name}-HMAC-SHA256", "/".join(steps)
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    signing = f"{manner.name}{secret}".encode()
    for step in (*steps, "\n".join((algorithm, when, scope, digest))):
        signing = hmac.digest(signing, step.encode(), "sha256")
    return (
        f"{algorithm} Credential={access}/{scope}, SignedHeaders={names}, Signature={signing.hex()}"
    )


def _digest(body: Any) -> str:
    """Return the SHA-256 of a body of boto3: bytes or a file."""
    if not hasattr(body, "read"):
        return hashlib.sha256(body or b"").hexdigest()
    start = body.tell()
    try:
        return hashlib.file_digest(body, "sha256").hexdigest()
    finally:
        body.seek(start)


def as_s3(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of the driver `s3` that correspond to these."""
    scheme = "https" if options["gs_secure"] else "http"
    address = urlsplit(options["gcs_endpoint"] or f"{scheme}://{_ADDRESS}")
    proxy = {key: value for key, value in options.items() if key.startswith("boto_proxy")}
    return {
        **proxy,
        "storage_path": options["storage_path"],
        "boto_bucket": options["boto_bucket"],
        "boto_host": address.hostname,
        "boto_port": address.port,
        "boto_calling_format": "path",
        "s3_access_key": options["gs_access_key"],
        "s3_secret_key": options["gs_secret_key"],
        "s3_region": _LOCATION,
        "s3_secure": address.scheme == "https",
        "s3_encrypt": False,  # Google always encrypts
        "s3_use_sigv4": True,
        "s3_storage_class": options["gcs_storage_class"],
        "s3_part_size": options["gcs_chunk_size"],
        "s3_upload_memory": options["gcs_upload_memory"],
        "s3_conditional_writes": options["gcs_conditional_writes"],
        "s3_etag_is_md5": True,
        "s3_read_timeout": options["gcs_read_timeout"],
        **dict.fromkeys(("cloudfront.base", "cloudfront.keyid", "cloudfront.keysecret")),
    }
