"""How the S3 driver reaches its server: clients of boto3, and errors in our words.

boto3 is an extra: it is imported here alone, and this module by whoever chose `s3`.
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
from v1registry.storage.errors import NotFound, Refused, StorageError, StoreFull, Unavailable
from v1registry.storage.reasons import described
from v1registry.storage.remote import CONNECT_SECONDS, CONNECTIONS, PerThread, proxies
from v1registry.storage.s3.answers import complaint, foreign, is_foreign
from v1registry.storage.s3.wire import Wire
from v1registry.storage.sums import md5

ATTEMPTS = 3  # of one request, the first among them; boto3 waits up to 1, then up to 2 s between

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
    # damaged on its way
    "BadDigest",
    "IncompleteBody",
    "XAmzContentSHA256Mismatch",
    "InvalidPart",
}
#: temporary credentials that were not renewed: whoever gives them may do so yet
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"}

#: What a call or a stream of boto3 raises when something is wrong outside of this program.
FAILURES = (ClientError, BotoCoreError, ResponseParserError, HTTPError, OSError)


def code(error: BaseException) -> str:
    """The store's own word for an error, such as NoSuchKey; empty if it did not answer."""
    return str(error.response["Error"].get("Code", "")) if isinstance(error, ClientError) else ""


def status(error: BaseException) -> int:
    """The HTTP status of an answer; 0 if there was none."""
    if not isinstance(error, ClientError):
        return 0
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def storage_error(error: BaseException, key: str) -> StorageError:
    """The one place where an error of the S3 library becomes one of ours."""
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
    """For what boto3 raises.

    Also what it lets through: of numbers and times that are none, of fields that an answer lacks; and
    RuntimeError where whoever renews temporary credentials gives some that have expired.
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
                # AWS takes nothing older for new buckets; some old gateways nothing newer
                signature_version="s3v4" if options["s3_use_sigv4"] or not address else "s3",
                s3={"addressing_style": addressing(options)},
                # Ceph over TLS does not know the trailers in which newer checksums are sent
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
            for operation in ("PutObject", "UploadPart"):  # else a signature is of the bytes, too
                client.meta.events.register(f"before-call.s3.{operation}", _with_md5)
            return client
        return Wire(client, self._core, options, ATTEMPTS)


def _wait_once(caught_exception: BaseException | None = None, **_: Any) -> None:
    """Let no request be tried again whose answer was waited for in vain: our client waits, too."""
    if isinstance(caught_exception, ReadTimeoutError):
        raise caught_exception


def _as_documented(operation_model: Any, response_dict: dict[str, Any], **_: Any) -> None:
    """Take what is no success of S3's for a failure that passes, which botocore tries again."""
    answer = response_dict["status_code"], response_dict["headers"], response_dict["body"]
    operation = xform_name(operation_model.name)
    content = None if operation_model.has_streaming_output else answer[2]
    wrong = complaint(operation, answer[0], answer[1], content) if answer[0] < 300 else None
    if wrong is not None:
        code = _FOREIGN if is_foreign(wrong) else "InternalError"
        text = escape(foreign(operation, wrong) if code == _FOREIGN else f"damaged: {wrong}")
        body = f"<Error><Code>{code}</Code><Message>{text}</Message></Error>"
        response_dict.update(status_code=500, body=body.encode())


_FOREIGN = "ForeignAnswer"  # no code of S3's


def _with_md5(params: dict[str, Any], **_: Any) -> None:
    """Send the checksum by which a store finds damage where the signature is not of the bytes; on
    which older gateways insist when many objects are deleted.
    """
    body = params["body"]
    if hasattr(body, "read"):  # botocore makes a file of a bytearray
        file, body = body, body.read()
        file.seek(0)
    params["headers"]["Content-MD5"] = base64.b64encode(md5(body)).decode()


def _as_signed(request: Any, **_: Any) -> None:
    """Send the bucket's path with the slash with which botocore signs it in the older way."""
    parts = urlsplit(request.url)
    if parts.path.strip("/") and parts.path.count("/") == 1:
        request.url = urlunsplit(parts._replace(path=f"{parts.path}/"))


_ANYWHERE = "us-east-1"  # what SigV4 is signed with where regions mean nothing; AWS redirects


def endpoint(options: Mapping[str, Any]) -> str | None:
    """The server's address, or None for AWS itself."""
    host, port = options["boto_host"], options["boto_port"]
    if not host:
        return None
    scheme = "https" if options["s3_secure"] else "http"
    return f"{scheme}://{host}" + (f":{port}" if port else "")


def addressing(options: Mapping[str, Any]) -> str:
    """`virtual` (the bucket in the host's name) or `path`.

    Without a word on it: path for a server of one's own, whose certificate and
    DNS seldom know names with buckets in them.
    """
    style = options["boto_calling_format"]
    if style:
        return str(style)
    # Not botocore's `auto`: its presigned URLs name no region, and are then redirected to one for
    # which they are not signed. A bucket with a dot is no name that a certificate covers.
    return "path" if options["boto_host"] or "." in options["boto_bucket"] else "virtual"
