"""Google Cloud Storage with HMAC keys, as 0.x had them: by its API that is like S3's.

What differs from S3, as Google documents it and users of real buckets report:

- `If-None-Match: *` on a put is ignored. What it would do, `x-goog-if-generation-match: 0` does,
  which is refused beside any `x-amz-` header (400 ExcessHeaderValues), so that such a put must be
  signed in Google's manner: cloud.google.com/storage/docs/authentication/signatures
- There is no deletion of many objects by one request (boto/boto3#2293, apache/opendal#2097).
- A checksum sent as a trailer is not understood; s3client.py sends none.
- The region is `auto`, the bucket stands in the path, since its name may hold dots.
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
        # Else objects that all may read lie in Google's caches for an hour, a tag among them.
        self._settings = {"CacheControl": "no-store"}
        self._layers |= self._settings

    def _made(self, client: Any) -> None:
        client.meta.events.register("before-send.s3.PutObject", self._sign_create)

    def _sign_create(self, request: Any, **_: Any) -> None:
        """Turn a put that must not replace anything into one that Google refuses if it would."""
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
    """The words of one way to sign; all else of it is what AWS calls version 4."""

    name: str
    service: str
    extension: str  # begins the headers


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
    """The header `Authorization` that signs all of `headers` (lower-case names)."""
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
    """Of what boto3 sends: bytes, or a file that holds them."""
    if not hasattr(body, "read"):
        return hashlib.sha256(body or b"").hexdigest()
    start = body.tell()
    try:
        return hashlib.file_digest(body, "sha256").hexdigest()
    finally:
        body.seek(start)


def as_s3(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the driver `s3` that these stand for."""
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
        "s3_encrypt": False,  # Google encrypts always
        "s3_use_sigv4": True,
        "s3_storage_class": options["gcs_storage_class"],
        "s3_part_size": options["gcs_chunk_size"],
        "s3_upload_memory": options["gcs_upload_memory"],
        "s3_conditional_writes": options["gcs_conditional_writes"],
        "s3_etag_is_md5": True,
        "s3_read_timeout": options["gcs_read_timeout"],
        **dict.fromkeys(("cloudfront.base", "cloudfront.keyid", "cloudfront.keysecret")),
    }
