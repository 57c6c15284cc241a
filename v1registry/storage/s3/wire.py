"""A fast client for the most frequent S3 requests.

A push takes dozens of small requests, and boto3 needs more processor time for each than the store.
This client uses botocore to find the address and the credentials, to sign and to send, and skips the
rest. boto3's own client does all other operations, and requests that turn out to be less simple.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, unquote_plus

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import (
    ClientError,
    ConnectionError,
    HTTPClientError,
    ReadTimeoutError,
    SSLError,
)
from botocore.httpsession import URLLib3Session
from botocore.response import StreamingBody
from botocore.utils import get_environ_proxies

from v1registry.storage.errors import CorruptObject, Refused
from v1registry.storage.remote import CONNECT_SECONDS, CONNECTIONS
from v1registry.storage.retry import pauses
from v1registry.storage.s3.answers import complaint, foreign, is_foreign

_RETRIED = {429, 500, 502, 503, 504}  # statuses that are retried
_REDIRECTS = {301, 302, 307, 308}  # the bucket is in another region, to which boto3 redirects
_BROKEN = {
    "RequestTimeout",
    "BadDigest",
    "IncompleteBody",
    "XAmzContentSHA256Mismatch",
}  # with status 400, retried
_ODD = {
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
}  # with status 400, left to boto3
# bytes of a body from which `Expect: 100-continue` is worth the extra round trip
_LARGE = 1024 * 1024
_META = "x-amz-meta-"
_HEADERS = {
    "ServerSideEncryption": "x-amz-server-side-encryption",
    "StorageClass": "x-amz-storage-class",
    "CacheControl": "Cache-Control",
}


class Wire:
    """Some methods of boto3's S3 client, for one bucket, with the same arguments.

    Responses have only the fields that the driver uses. All other attributes are boto3's client's.
    """

    def __init__(
        self, client: Any, session: Any, options: Mapping[str, Any], attempts: int
    ) -> None:
        self._client = client
        keys = options["s3_access_key"], options["s3_secret_key"]
        self._credentials = Credentials(*keys) if all(keys) else session.get_credentials()
        self._bucket = options["boto_bucket"]
        self._attempts = attempts
        # AWS sends checksums only on request; other stores may not know this header
        self._more = {} if options["boto_host"] else {"x-amz-checksum-mode": "ENABLED"}
        self._base: str | None = None
        self._http = URLLib3Session(
            verify=session.get_config_variable("ca_bundle")
            or os.environ.get("REQUESTS_CA_BUNDLE")
            or True,
            proxies=client.meta.config.proxies or get_environ_proxies(client.meta.endpoint_url),
            timeout=(CONNECT_SECONDS, options["s3_read_timeout"]),
            max_pool_connections=CONNECTIONS,
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def get_object(self, **named: Any) -> dict[str, Any]:
        headers = {name: named[key] for key, name in _CONDITIONS.items() if key in named}
        answer = self._request(
            "get_object", named, "GET", headers={**self._more, **headers}, stream=True
        )
        if isinstance(answer, dict):
            return answer
        told = {name.lower(): value for name, value in answer.headers.items()}
        with _valid_fields(named["Key"]):
            return {
                "ContentLength": int(told["content-length"]),
                "ContentRange": told.get("content-range"),
                "ETag": told["etag"],
                "Body": StreamingBody(answer.raw, told["content-length"]),
                "ResponseMetadata": {"HTTPHeaders": told},
            }

    def head_object(self, **named: Any) -> dict[str, Any]:
        answer = self._request("head_object", named, "HEAD")
        if isinstance(answer, dict):
            return answer
        with _valid_fields(named["Key"]):
            return {
                "ContentLength": int(answer.headers["Content-Length"]),
                "LastModified": parsedate_to_datetime(answer.headers["Last-Modified"]),
                "Metadata": {
                    name.lower().removeprefix(_META): value
                    for name, value in answer.headers.items()
                    if name.lower().startswith(_META)
                },
            }

    def put_object(self, **named: Any) -> dict[str, Any]:
        others = named.keys() - {"Bucket", "Key", "Body"}
        # a condition: boto3 tells after a retry whether the first attempt succeeded
        if others - _HEADERS.keys():
            return self._boto("put_object", named)
        headers = {_HEADERS[name]: named[name] for name in others}
        answer = self._request("put_object", named, "PUT", headers=headers, body=named["Body"])
        return answer if isinstance(answer, dict) else {}

    def delete_object(self, **named: Any) -> dict[str, Any]:
        answer = self._request("delete_object", named, "DELETE")
        return answer if isinstance(answer, dict) else {}

    def upload_part(self, **named: Any) -> dict[str, Any]:
        where = {"partNumber": str(named["PartNumber"]), "uploadId": named["UploadId"]}
        body = named["Body"]
        headers = {"Expect": "100-continue"} if len(body) >= _LARGE else {}
        answer = self._request("upload_part", named, "PUT", where, headers, body)
        return answer if isinstance(answer, dict) else {"ETag": answer.headers["ETag"]}

    def get_paginator(self, operation: str) -> Any:
        return _Pages(self) if operation == "list_objects_v2" else self._boto_paginator(operation)

    def list_objects_v2(self, **named: Any) -> dict[str, Any]:
        """Return one page: keys of objects, prefixes of folders, and the start of the next page."""
        query = {"list-type": "2", "encoding-type": "url", "prefix": named["Prefix"]}
        query |= {word: named[key] for key, word in _LISTING.items() if key in named}
        answer = self._request("list_objects_v2", named, "GET", query)
        if isinstance(answer, dict):
            return answer
        root = ET.fromstring(answer.content)
        more = root.findtext("{*}NextContinuationToken")
        if not more and root.findtext("{*}IsTruncated") == "true":
            raise CorruptObject(
                f"{named['Prefix']}: a truncated listing without a continuation token"
            )
        return {
            "Contents": [
                {"Key": name, "ETag": item.findtext("{*}ETag") or ""}
                for item, name in _named(root, "Contents", "Key")
            ],
            "CommonPrefixes": [
                {"Prefix": name} for _, name in _named(root, "CommonPrefixes", "Prefix")
            ],
            "NextContinuationToken": more,
        }

    # -- one request ----------------------------------------------------------

    def _request(
        self,
        operation: str,
        named: Mapping[str, Any],
        method: str,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | bytearray = b"",
        *,
        stream: bool = False,
    ) -> Any:
        """Return a successful response, or a dict if boto3 sent the request. Raise what boto3 raises."""
        if self._credentials is None:
            return self._boto(operation, named)
        url = self._url(named.get("Key", ""))
        for pause in pauses(self._attempts):
            try:
                answer = self._http.send(self._signed(method, url, query, headers, body, stream))
            except (ReadTimeoutError, SSLError):
                raise  # the registry's client has waited as long; TLS errors do not go away
            except (HTTPClientError, ConnectionError):
                if pause is None:
                    raise
            else:
                if answer.status_code < 300:
                    content = None if stream else answer.content
                    wrong = complaint(operation, answer.status_code, answer.headers, content)
                    if wrong is None:
                        return answer
                    answer.raw.close()
                    if pause is None and is_foreign(wrong):
                        raise Refused(foreign(operation, wrong))
                    if pause is None:
                        raise CorruptObject(
                            f"{named.get('Key', self._bucket)}: {operation}: {wrong}"
                        )
                    continue
                error = _error(answer, operation)
                code = error.response["Error"]["Code"]
                if answer.status_code in _REDIRECTS or code in _ODD:
                    return self._boto(operation, named)
                if pause is None or not (answer.status_code in _RETRIED or code in _BROKEN):
                    raise error
            time.sleep(pause)
        raise AssertionError("unreachable")

    def _signed(
        self,
        method: str,
        url: str,
        query: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
        body: bytes | bytearray,
        stream: bool,
    ) -> Any:
        named = {"User-Agent": "v1registry", **(headers or {})}
        request = AWSRequest(method, url, named, body, query, stream_output=stream)
        keys = self._credentials.get_frozen_credentials()
        S3SigV4Auth(keys, "s3", self._client.meta.region_name).add_auth(request)
        return request.prepare()

    def _url(self, key: str) -> str:
        """Return an object's URL; without a key, the bucket's URL."""
        if self._base is None:
            named = {"Bucket": self._bucket, "Key": "k"}
            url = self._client.generate_presigned_url("get_object", Params=named)
            self._base = url.partition("?")[0].removesuffix("/k")
        return f"{self._base}/{quote(key, safe='/~')}"

    def _boto(self, operation: str, named: Mapping[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = getattr(self._client, operation)(**named)
        return answer

    def _boto_paginator(self, operation: str) -> Any:
        return self._client.get_paginator(operation)


_CONDITIONS = {"Range": "Range", "IfMatch": "If-Match"}
_LISTING = {"Delimiter": "delimiter", "ContinuationToken": "continuation-token"}


class _Pages:
    """A paginator of the listing, as in boto3."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def paginate(self, **named: Any) -> Iterator[dict[str, Any]]:
        more: str | None = ""
        while more is not None:
            page = self._wire.list_objects_v2(**named)
            yield page
            more = page.get("NextContinuationToken")
            named["ContinuationToken"] = more


def _error(answer: Any, operation: str) -> ClientError:
    """Return the error that boto3 would raise for this response."""
    status = answer.status_code
    code, message = str(status), ""
    try:
        root = ET.fromstring(answer.content)
        code = root.findtext("{*}Code") or code
        message = root.findtext("{*}Message") or ""
    except (ET.ParseError, LookupError, ValueError):
        pass  # HEAD, a proxy's page, or a damaged response
    details = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(details, operation)


@contextlib.contextmanager
def _valid_fields(key: str) -> Iterator[None]:
    """Raise CorruptObject if the response lacks a field in a `with` block."""
    try:
        yield
    except (KeyError, ValueError, TypeError) as error:
        raise CorruptObject(f"{key}: not a response of S3: {error!r}") from error


def _named(root: ET.Element, outer: str, inner: str) -> Iterator[tuple[ET.Element, str]]:
    """Yield the elements with the name `outer`, each with the text of its element `inner`."""
    encoded = root.findtext("{*}EncodingType") == "url"
    for item in root.iterfind(f"{{*}}{outer}"):
        text = item.findtext(f"{{*}}{inner}") or ""
        yield item, unquote_plus(text) if encoded else text
