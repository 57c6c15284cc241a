"""A FAKE of Google Cloud Storage's XML API with HMAC keys: its rules, in front of a real Ceph.

What is like S3 goes to Ceph and back as it is. What differs, as Google documents it and users of
real buckets report, is done here:

- `x-goog-if-generation-match: 0` is `If-None-Match: *`, in requests that are signed in Google's
  manner; beside an `x-amz-` header it is refused with ExcessHeaderValues.
- `If-None-Match` on a put, which Google ignores, is refused: it must not be relied on.
- The deletion of many objects, and checksums in trailers, are refused.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import re
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any
from urllib.parse import unquote, urlsplit

from botocore.exceptions import ClientError

from tests.backends.ceph import ACCESS, SECRET, Ceph
from tests.backends.fakegcs import OPTIONS, QuietServer

_HOP = {"connection", "keep-alive", "transfer-encoding", "expect"}


class FakeGcsXml:
    """The running fake: `port`, the bucket `registry` of Ceph, `requests` (method and path), `lose`."""

    def __init__(self, ceph: Ceph) -> None:
        self.ceph = ceph
        self.accounts = {ACCESS: (SECRET, ceph.client())}  # the accounts that may sign
        self.requests: list[str] = []
        self.lose = 0  # number of responses to successful creating puts to drop
        handler = type("FakeXmlHandler", (_Handler,), {"fake": self})
        self._server = QuietServer(("127.0.0.1", 0), handler)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )

    def options(self, **more: object) -> dict[str, object]:
        """Return options of the driver for this server."""
        keys = {"gs_access_key": ACCESS, "gs_secret_key": SECRET}
        return {**OPTIONS, "gcs_endpoint": f"http://127.0.0.1:{self.port}", **keys, **more}

    def environ(self, **more: str) -> dict[str, str]:
        """Return the variables that make a registry use this server."""
        return {
            "SETTINGS_FLAVOR": "gcs",
            "GCS_BUCKET": "registry",
            "GCS_ENDPOINT": f"http://127.0.0.1:{self.port}",
            "GCS_KEY": ACCESS,
            "GCS_SECRET": SECRET,
            **more,
        }

    def admit(self, access: str, secret: str) -> None:
        """Add an account of Ceph."""
        self.accounts[access] = (secret, self.ceph.client(access, secret))

    def __enter__(self) -> FakeGcsXml:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


class _Refusal(Exception):
    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status, self.code = status, code


class _Handler(BaseHTTPRequestHandler):
    fake: FakeGcsXml
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.fake.requests.append(f"{self.command} {self.path}")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            self._check()
            if self.headers.get("Authorization", "").startswith("GOOG4"):
                answer = self._in_googles_manner(body)
            else:
                answer = self._passed_on(body)
        except _Refusal as refusal:
            text = f"<Error><Code>{refusal.code}</Code><Message>{refusal}</Message></Error>"
            answer = (refusal.status, {"Content-Type": "application/xml"}, text.encode())
        status, headers, data = answer
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

    def _check(self) -> None:
        names = {name.lower() for name in self.headers}
        kinds = {kind for kind in ("x-amz-", "x-goog-") for name in names if name.startswith(kind)}
        if len(kinds) == 2:
            raise _Refusal(400, "ExcessHeaderValues")
        if self.command == "PUT" and "if-none-match" in names:
            raise _Refusal(400, "IfNoneMatchIsIgnoredByGoogle")
        if self.command == "POST" and urlsplit(self.path).query == "delete":
            raise _Refusal(400, "InvalidArgument")
        if "x-amz-trailer" in names or "aws-chunked" in self.headers.get("Content-Encoding", ""):
            raise _Refusal(400, "TrailersAreNotUnderstood")

    def _in_googles_manner(self, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        """Answer a put, the only request that the driver signs in this form."""
        client = self._verify(body)
        bucket, _, key = unquote(urlsplit(self.path).path)[1:].partition("/")
        when = {"IfNoneMatch": "*"} if self.headers["x-goog-if-generation-match"] == "0" else {}
        try:
            done = client.put_object(Bucket=bucket, Key=key, Body=body, **when)
        except ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            raise _Refusal(status, error.response["Error"]["Code"]) from error
        if self.fake.lose:
            self.fake.lose -= 1
            raise _Refusal(503, "ServiceUnavailable")
        return 200, {"ETag": done["ETag"]}, b""

    def _verify(self, body: bytes) -> Any:
        """Return the client of the account that signed. cloud.google.com/storage/docs/authentication/signatures and .../canonical-requests"""
        given = re.fullmatch(
            r"GOOG4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/auto/storage/goog4_request,"
            r" SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})",
            self.headers["Authorization"],
        )
        if given is None or given[1] not in self.fake.accounts:
            raise _Refusal(403, "AccessDenied")
        signed = given[3].split(";")
        extensions = {name.lower() for name in self.headers if name.lower().startswith("x-goog-")}
        if signed != sorted(signed) or not {"host", *extensions} <= set(signed):
            raise _Refusal(400, "InvalidSignedHeaders")
        if self.headers["x-goog-content-sha256"] != hashlib.sha256(body).hexdigest():
            raise _Refusal(400, "BadDigest")
        path, _, query = self.path.partition("?")
        listed = "".join(f"{name}:{self.headers[name]}\n" for name in signed)
        canonical = f"{self.command}\n{path}\n{query}\n{listed}\n{given[3]}\n"
        canonical += self.headers["x-goog-content-sha256"]
        scope = f"{given[2]}/auto/storage/goog4_request"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        text = f"GOOG4-HMAC-SHA256\n{self.headers['x-goog-date']}\n{scope}\n{digest}"
        secret, client = self.fake.accounts[given[1]]
        key = f"GOOG4{secret}".encode()
        for word in scope.split("/"):
            key = hmac.new(key, word.encode(), hashlib.sha256).digest()
        if hmac.new(key, text.encode(), hashlib.sha256).hexdigest() != given[4]:
            raise _Refusal(403, "SignatureDoesNotMatch")
        return client

    def _passed_on(self, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.fake.ceph.port, timeout=30)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
        connection.request(self.command, self.path, body, headers)
        with connection.getresponse() as answer:
            data = answer.read()
            kept = {
                name: value for name, value in answer.headers.items() if name.lower() not in _HOP
            }
        connection.close()
        if self.command != "HEAD":
            kept["Content-Length"] = str(len(data))
        return answer.status, kept, data
