"""The clients of the S3 driver, made with boto3, and the mapping of its errors.

boto3 is an extra: only the drivers `s3` and `gcs` import this module.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from xml.sax.saxutils import escape

import boto3
import botocore.session
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ReadTimeoutError,
)
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from v1registry.storage import errors
from v1registry.storage.checksums import md5
from v1registry.storage.errors import NotFound, Refused, StorageError, StoreFull, Unavailable
from v1registry.storage.reasons import described
from v1registry.storage.remote import CONNECT_SECONDS, CONNECTIONS, PerThread, proxies
from v1registry.storage.s3.answers import complaint, foreign, is_foreign
from v1registry.storage.s3.wire import Wire

ATTEMPTS = 3  # of one request, the first one included

_NOT_FOUND = {"NoSuchKey", "NoSuchUpload", "NotFound", "404"}
_FULL = {"QuotaExceeded", "XMinioStorageFull", "InsufficientStorage", "507"}
_BUSY = {
    "SlowDown",
    "RequestTimeout",
    "Throttling",
    "ThrottlingException",
    "RequestLimitExceeded",
    "TooManyRequests",
    "OperationAborted",
    "429",
    # damaged on the way
    "BadDigest",
    "IncompleteBody",
    "XAmzContentSHA256Mismatch",
    "InvalidPart",
}
#: temporary credentials that were not renewed; the service that issues them may do so later
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"}

#: What a call or a stream of boto3 raises for faults outside of this program.
FAILURES = (ClientError, BotoCoreError, ResponseParserError, HTTPError, OSError)


def code(error: BaseException) -> str:
    """Return the S3 error code, such as NoSuchKey; empty if there was no response."""
    return str(error.response["Error"].get("Code", "")) if isinstance(error, ClientError) else ""


def status(error: BaseException) -> int:
    """Return the HTTP status of a response; 0 if there was none."""
    if not isinstance(error, ClientError):
        return 0
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def storage_error(error: BaseException, key: str) -> StorageError:
    """Return the storage error for an error of boto3."""
    text = f"{key}: {described(error)}"
    if not isinstance(error, ClientError):
        if isinstance(error, NoCredentialsError | PartialCredentialsError | ParamValidationError):
            return Refused(text)
        return Unavailable(text)
    if code(error) in _EXPIRED:
        return Unavailable(f"{text} (the temporary credentials were not renewed)")
    if code(error) == "NoSuchBucket":
        return Refused(f"{text} (boto_bucket names a bucket that does not exist)")
    if code(error) in _FULL or status(error) == 507 or "exceeds quota" in text:  # Swift's gateway
        return StoreFull(text)
    if code(error) == _FOREIGN:
        return Refused(text)
    if code(error) in _NOT_FOUND:
        return NotFound(text)
    if code(error) in _BUSY or status(error) in (408, 429) or status(error) >= 500:
        return Unavailable(text)
    return Refused(text)


class S3Errors(errors.MappedErrors):
    """Turns what boto3 raises in a `with` block into storage errors.

    boto3 also raises ValueError, KeyError and AttributeError for invalid or missing fields of a
    response, and RuntimeError if renewed temporary credentials have expired already.
    """

    __slots__ = ()

    failures = (*FAILURES, ValueError, KeyError, AttributeError, RuntimeError)
    error_of = staticmethod(storage_error)


class S3Clients:
    """The clients of all threads for one bucket's server; `made` is called with each new one."""

    def __init__(self, options: Mapping[str, Any], made: Callable[[Any], None]) -> None:
        self._options = options
        self._made = made
        self._core = botocore.session.Session()
        self._session = boto3.Session(botocore_session=self._core)
        self._clients = PerThread(self._make)

    def get(self) -> Any:
        """Return this thread's client. Raise Refused if the options are not usable."""
        return self._clients.get()

    def _make(self) -> Any:
        with S3Errors("storage"):
            try:
                return self._made_client()
            except ValueError as error:
                raise Refused(f"storage: {error}") from error

    def _made_client(self) -> Any:
        options = self._options
        address = endpoint(options)
        client = self._session.client(
            "s3",
            endpoint_url=address,
            use_ssl=options["s3_secure"],
            region_name=options["s3_region"] or (None if self._session.region_name else _ANYWHERE),
            aws_access_key_id=options["s3_access_key"] or None,
            aws_secret_access_key=options["s3_secret_key"] or None,
            config=Config(
                # AWS requires this for new buckets; some old gateways know only the older one
                signature_version="s3v4" if options["s3_use_sigv4"] or not address else "s3",
                s3={"addressing_style": addressing(options)},
                # Ceph over TLS does not support the trailers that carry newer checksums
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                connect_timeout=CONNECT_SECONDS,
                read_timeout=options["s3_read_timeout"],
                retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
                max_pool_connections=CONNECTIONS,
                proxies=proxies(options),
            ),
        )
        client.meta.events.register_first("needs-retry.s3", _wait_once)
        client.meta.events.register("before-call.s3.DeleteObjects", _with_md5)
        client.meta.events.register_last("before-parse.s3", _as_documented)
        self._made(client)
        if not options["s3_use_sigv4"]:
            client.meta.events.register("before-sign.s3", _as_signed)
            for operation in ("PutObject", "UploadPart"):  # older signatures do not cover the bytes
                client.meta.events.register(f"before-call.s3.{operation}", _with_md5)
            return client
        return Wire(client, self._core, options, ATTEMPTS)


def _wait_once(caught_exception: BaseException | None = None, **_: Any) -> None:
    """Do not retry after a read timeout: the registry's client has waited as long already."""
    if isinstance(caught_exception, ReadTimeoutError):
        raise caught_exception


def _as_documented(operation_model: Any, response_dict: dict[str, Any], **_: Any) -> None:
    """Turn a damaged or foreign success into an error: botocore retries a damaged one."""
    answer = response_dict["status_code"], response_dict["headers"], response_dict["body"]
    operation = xform_name(operation_model.name)
    content = None if operation_model.has_streaming_output else answer[2]
    wrong = complaint(operation, answer[0], answer[1], content) if answer[0] < 300 else None
    if wrong is not None:
        code = _FOREIGN if is_foreign(wrong) else "InternalError"
        text = escape(foreign(operation, wrong) if code == _FOREIGN else f"damaged: {wrong}")
        body = f"<Error><Code>{code}</Code><Message>{text}</Message></Error>"
        response_dict.update(status_code=500, body=body.encode())


_FOREIGN = "ForeignAnswer"  # not an error code of S3


def _with_md5(params: dict[str, Any], **_: Any) -> None:
    """Send Content-MD5, so that the store detects damage if the signature does not cover the bytes.

    Older gateways require it to delete several objects.
    """
    body = params["body"]
    if hasattr(body, "read"):  # botocore makes a file of a bytearray
        file, body = body, body.read()
        file.seek(0)
    params["headers"]["Content-MD5"] = base64.b64encode(md5(body)).decode()


def _as_signed(request: Any, **_: Any) -> None:
    """Add the slash to the bucket's path with which botocore computes the older signature."""
    parts = urlsplit(request.url)
    if parts.path.strip("/") and parts.path.count("/") == 1:
        request.url = urlunsplit(parts._replace(path=f"{parts.path}/"))


# region in signatures if none is configured; AWS redirects to the right one
_ANYWHERE = "us-east-1"


def endpoint(options: Mapping[str, Any]) -> str | None:
    """Return the server's URL, or None for AWS."""
    host, port = options["boto_host"], options["boto_port"]
    if not host:
        return None
    scheme = "https" if options["s3_secure"] else "http"
    return f"{scheme}://{host}" + (f":{port}" if port else "")


def addressing(options: Mapping[str, Any]) -> str:
    """Return `virtual` (the bucket is in the host name) or `path`.

    The default is `path` for other servers than AWS: their certificate and DNS seldom include host
    names with buckets.
    """
    style = options["boto_calling_format"]
    if style:
        return str(style)
    # Not botocore's `auto`: its presigned URLs have no region, so AWS redirects them to a region for
    # which they are not signed. Certificates do not cover host names with a bucket that has a dot.
    return "path" if options["boto_host"] or "." in options["boto_bucket"] else "virtual"
