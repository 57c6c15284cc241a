"""A fake of CloudFront, which tests cannot use itself: it verifies signed URLs as CloudFront does.

    with Distribution(public_key, fetch) as distribution:
        distribution.url        # for cloudfront.base

`fetch(key, range)` asks the origin for an object: (status, headers, body). What CloudFront does is
taken from its documentation of canned policies; that real URLs count with it is unproven.
"""

from __future__ import annotations

import base64
import http.server
import json
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from urllib.parse import parse_qs, unquote

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

KEY_ID = "APKAEXAMPLE"
Fetch = Callable[[str, str | None], tuple[int, Mapping[str, str], bytes]]


class Distribution:
    """`refused` holds the reason of each request that got 403; `seen` the headers of the others."""

    def __init__(self, public: RSAPublicKey, fetch: Fetch) -> None:
        self.refused: list[str] = []
        self.seen: list[Mapping[str, str]] = []
        self._public = public
        self._fetch = fetch
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/cdn"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def __enter__(self) -> Distribution:
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

    def why_not(self, path: str) -> str | None:
        """Return why the request for this path and query is refused, or None."""
        plain, _, query = path.partition("?")
        try:
            [expires], [signature], [key_id] = (
                parse_qs(query, strict_parsing=True)[name]
                for name in ("Expires", "Signature", "Key-Pair-Id")
            )
            until = int(expires)
        except (ValueError, KeyError):
            return "not signed"
        resource = self.url.removesuffix("/cdn") + plain
        # The canned policy: this text exactly, without blanks.
        policy = json.dumps(
            {
                "Statement": [
                    {
                        "Resource": resource,
                        "Condition": {"DateLessThan": {"AWS:EpochTime": until}},
                    }
                ]
            },
            separators=(",", ":"),
        )
        letters = signature.translate(str.maketrans("-_~", "+=/"))
        try:
            self._public.verify(
                base64.b64decode(letters, validate=True),
                policy.encode(),
                PKCS1v15(),
                hashes.SHA1(),
            )
        except (InvalidSignature, ValueError):
            return "wrong signature"
        if key_id != KEY_ID:
            return "unknown key"
        if until < time.time():
            return "expired"
        return None

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        distribution = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if reason := distribution.why_not(self.path):
                    distribution.refused.append(reason)
                    status, headers, body = 403, {}, b"<Error/>"
                else:
                    distribution.seen.append(dict(self.headers))
                    key = unquote(self.path.partition("?")[0]).removeprefix("/cdn/")
                    status, headers, body = distribution._fetch(key, self.headers["Range"])
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler
