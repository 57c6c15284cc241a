"""The request handler of fakegcs.FakeGcs; it follows Google's documentation."""

from __future__ import annotations

import base64
import email
import hashlib
import json
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, parse_qsl, quote, unquote, urlsplit

import google_crc32c
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

if TYPE_CHECKING:
    from tests.backends.fakegcs import FakeGcs, Object, Session

UNIT = 256 * 1024
_LARGEST_BATCH = 100
_TOKENS = (
    "https://oauth2.googleapis.com/token"  # the audience of assertions, wherever the server is
)
_CLASSES = {"STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE"}


class Refusal(Exception):
    """An error response."""

    def __init__(self, status: int, reason: str, message: str = "") -> None:
        super().__init__(message or reason)
        self.status, self.reason = status, reason


class Dropped(Exception):
    """Raised to close the connection without a response."""


Answer = tuple[int, dict[str, str], bytes]


class Handler(BaseHTTPRequestHandler):
    """One connection. `fake` is set by a subclass."""

    fake: FakeGcs
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        request = f"{self.command} {self.path}"
        self.fake.requests.append(request)
        try:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            fault = self.fake.fault(request)
            if fault is not None and fault.when == "before":
                more = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
                if fault.status == 302:
                    more["Location"] = "/elsewhere"
                if fault.status == 0:
                    raise Dropped
                answer = _error(Refusal(fault.status, fault.reason), more)
            else:
                answer = self.answer(self.command, self.path, self.headers, body)
                if fault is not None:
                    raise Dropped
            self.send(*answer)
        except (Dropped, OSError):
            self.close_connection = True

    do_POST = do_PUT = do_DELETE = do_GET

    def send(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        address = urlsplit(target)
        query = dict(parse_qsl(address.query, keep_blank_values=True))
        try:
            for pattern, verb, act, known in ROUTES:
                found = re.fullmatch(pattern, address.path)
                if found is None or verb != method:
                    continue
                if unknown := set(query) - set(known.split()) - {"prettyPrint"}:
                    raise Refusal(400, "invalidParameter", f"unknown: {sorted(unknown)}")
                names = [unquote(name) for name in found.groups()]
                if act not in OPEN:
                    self.authorize(headers)
                    if names and names[0] not in self.fake.buckets and "/b/" in address.path:
                        raise Refusal(404, "notFound", "The specified bucket does not exist.")
                return getattr(self, act)(*names, query=query, headers=headers, body=body)
            if "X-Goog-Signature" in query:
                return self.signed(method, address, query, headers)
        except Refusal as refusal:
            return _error(refusal)
        return 404, {"Content-Type": "text/html"}, b"Not Found"

    def authorize(self, headers: Mapping[str, str]) -> None:
        token = headers.get("Authorization", "").removeprefix("Bearer ")
        if self.fake.tokens.get(token, 0) < time.time():
            raise Refusal(401, "authError", "Invalid Credentials")

    # -- tokens and signatures ------------------------------------------------------

    def token(self, *, query: Any, headers: Any, body: bytes) -> Answer:
        assertion = parse_qs(body.decode())["assertion"][0]
        signed, _, signature = assertion.rpartition(".")
        claims = json.loads(_unbase(signed.split(".")[1]))
        try:
            self._verify(_unbase(signature), signed.encode())
        except InvalidSignature:
            return 400, {}, b'{"error": "invalid_grant", "error_description": "Invalid signature."}'
        if claims["aud"] != _TOKENS or "devstorage.read_write" not in claims["scope"]:
            return 400, {}, b'{"error": "invalid_scope"}'
        return self._new_token()

    def federated(self, *, query: Any, headers: Any, body: bytes) -> Answer:
        """Exchange a token of another cloud (RFC 8693)."""
        given = dict(parse_qsl(body.decode()))
        if given["subject_token"] != "a token of another cloud's":
            return 400, {}, b'{"error": "invalid_grant"}'
        life = int(self.fake.token_life)
        kind = "urn:ietf:params:oauth:token-type:access_token"
        token = {"access_token": self.fake.new_token(), "issued_token_type": kind}
        return _json({**token, "expires_in": life, "token_type": "Bearer"})

    def machine_token(self, *, query: Any, headers: Mapping[str, str], body: bytes) -> Answer:
        if headers.get("Metadata-Flavor") != "Google":
            return 403, {}, b""
        return self._new_token()

    def machine(self, *_: str, query: Any, headers: Any, body: bytes) -> Answer:
        """Answer as the metadata service of a Google machine about its service account."""
        flavor = {"Metadata-Flavor": "Google", "Content-Type": "application/json"}
        path = urlsplit(self.path).path
        if path.endswith("/universe-domain"):
            return 200, {**flavor, "Content-Type": "text/plain"}, b"googleapis.com"
        if path.endswith("/project-id"):
            return 200, {**flavor, "Content-Type": "text/plain"}, b"project"
        account = {"email": "robot@project.iam.gserviceaccount.com", "scopes": ["x"], "aliases": []}
        return 200, flavor, json.dumps(account).encode()

    def sign_blob(self, _account: str, *, query: Any, headers: Any, body: bytes) -> Answer:
        self.fake.signed_by_us += 1
        payload = base64.b64decode(json.loads(body)["payload"])
        signature = self.fake.key.sign(payload, padding.PKCS1v15(), hashes.SHA256())
        return _json({"keyId": "1", "signedBlob": base64.b64encode(signature).decode()})

    def _new_token(self) -> Answer:
        life = int(self.fake.token_life)
        token = {"access_token": self.fake.new_token(), "expires_in": life, "token_type": "Bearer"}
        return 200, {"Content-Type": "application/json", "Metadata-Flavor": "Google"}, _dump(token)

    def _verify(self, signature: bytes, data: bytes) -> None:
        self.fake.key.public_key().verify(signature, data, padding.PKCS1v15(), hashes.SHA256())

    def signed(
        self, method: str, address: Any, query: dict[str, str], headers: Mapping[str, str]
    ) -> Answer:
        """Check a V4 signed URL: cloud.google.com/storage/docs/authentication/canonical-requests"""
        signature = query.pop("X-Goog-Signature")
        signed = query["X-Goog-SignedHeaders"].split(";")
        canonical = "\n".join(
            (
                method,
                address.path,
                "&".join(
                    f"{quote(key, safe='-_.~')}={quote(value, safe='-_.~')}"
                    for key, value in sorted(query.items())
                ),
                *(f"{name}:{headers[name]}" for name in signed),
                "",
                ";".join(signed),
                "UNSIGNED-PAYLOAD",
            )
        )
        begin, scope = query["X-Goog-Date"], query["X-Goog-Credential"].partition("/")[2]
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        try:
            text = f"GOOG4-RSA-SHA256\n{begin}\n{scope}\n{digest}"
            self._verify(bytes.fromhex(signature), text.encode())
        except (InvalidSignature, ValueError):
            return 403, {}, b"<Error><Code>SignatureDoesNotMatch</Code></Error>"
        from_ = datetime.strptime(begin, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        if not from_ - 900 <= time.time() <= from_ + int(query["X-Goog-Expires"]):
            return 400, {}, b"<Error><Code>ExpiredToken</Code></Error>"
        bucket, _, name = unquote(address.path)[1:].partition("/")
        return self.media(bucket, name, query={}, headers=headers, body=b"")

    # -- objects ------------------------------------------------------------------

    def find(self, name: str, generation: str | None = None) -> Object:
        found = self.fake.objects.get(name)
        if found is None or (generation and int(generation) != found.generation):
            raise Refusal(404, "notFound", f"No such object: registry/{name}")
        return found

    def media(
        self, _bucket: str, name: str, *, query: Any, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        found = self.find(name, query.get("generation"))
        size, more = len(found.data), {"X-Goog-Generation": str(found.generation)}
        more["X-Goog-Hash"] = f"crc32c={_crc(found.data)},md5={_md5(found.data)}"
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", headers.get("Range") or "")
        if wanted is None or not self.fake.ranges:
            return 200, more, found.data
        start, end = int(wanted[1]), min(int(wanted[2] or size - 1), size - 1)
        if start >= size:
            raise Refusal(416, "requestedRangeNotSatisfiable")
        more["Content-Range"] = f"bytes {start}-{end}/{size}"
        return 206, more, found.data[start : end + 1]

    def metadata(self, _bucket: str, name: str, *, query: Any, headers: Any, body: bytes) -> Answer:
        return _json(_resource(self.find(name)))

    def delete(self, _bucket: str, name: str, *, query: Any, headers: Any, body: bytes) -> Answer:
        def act() -> None:
            self.find(name)
            del self.fake.objects[name]

        self.fake.change(act)
        return 204, {}, b""

    def listing(self, _bucket: str, *, query: Any, headers: Any, body: bytes) -> Answer:
        begin, mark = query.get("prefix", ""), query.get("delimiter")
        entries: dict[str, Object | None] = {}
        for name in self.fake.names(begin):
            rest, found, _ = name[len(begin) :].partition(mark) if mark else ("", "", "")
            if found:
                entries[f"{begin}{rest}{mark}"] = None
            else:
                entries[name] = self.fake.objects.get(name)
        after = base64.b64decode(query.get("pageToken", "")).decode()
        names = [name for name in sorted(entries) if name > after]
        page, rest = names[: self.fake.page], names[self.fake.page :]
        found = {"kind": "storage#objects", "items": [], "prefixes": []}
        for name in page:
            one = entries[name]
            found["prefixes" if one is None else "items"].append(  # type: ignore[attr-defined]
                name if one is None else _resource(one)
            )
        if rest:
            found["nextPageToken"] = base64.b64encode(page[-1].encode()).decode()
        return _json(found)

    def move(
        self, _bucket: str, name: str, target: str, *, query: Any, headers: Any, body: bytes
    ) -> Answer:
        if not self.fake.moves:
            return 404, {"Content-Type": "text/html"}, b"Not Found"

        def act() -> Object:
            found = self.find(name)
            made = self.fake.store(target, found.data, found.properties)
            del self.fake.objects[name]
            return made

        return _json(_resource(self.fake.change(act)))

    def rewrite(
        self, _from: str, name: str, _to: str, target: str, *, query: Any, headers: Any, body: bytes
    ) -> Answer:
        found = self.find(name)
        token = query.get("rewriteToken", f"1 {found.generation}")
        round_, _, generation = token.partition(" ")
        if int(generation) != found.generation:
            raise Refusal(404, "notFound", "the source is another")
        told = {"kind": "storage#rewriteResponse", "objectSize": str(len(found.data))}
        if int(round_) < self.fake.rounds:
            told |= {"done": False, "rewriteToken": f"{int(round_) + 1} {generation}"}
            return _json({**told, "totalBytesRewritten": "1"})
        made = self.fake.store(target, found.data, json.loads(body or b"{}"))
        told |= {"done": True, "totalBytesRewritten": str(len(found.data))}
        return _json({**told, "resource": _resource(made)})

    # -- uploads --------------------------------------------------------------------

    def upload(self, bucket: str, *, query: Any, headers: Any, body: bytes) -> Answer:
        if query["uploadType"] == "resumable":
            return self._begin(query, body)
        if query["uploadType"] != "multipart":
            raise Refusal(400, "invalid", "uploadType")
        boundary = headers["Content-Type"].partition('boundary="')[2].rstrip('"').encode()
        _, first, rest = body.split(b"--" + boundary + b"\r\n", 2)
        data = rest.partition(b"\r\n\r\n")[2]
        if not data.endswith(end := b"\r\n--" + boundary + b"--"):
            raise Refusal(400, "invalid", "Malformed multipart body")
        data = data.removesuffix(end)
        properties = json.loads(first.partition(b"\r\n\r\n")[2])
        name = properties.pop("name")
        if properties.pop("crc32c", None) not in (None, _crc(data)):
            raise Refusal(400, "invalid", "Provided CRC32C does not match")
        return _json(_resource(self._put(name, data, properties, query)))

    def _put(self, name: str, data: bytes, properties: dict[str, str], query: Any) -> Object:
        _check_properties(properties)
        wanted = query.get("ifGenerationMatch") if self.fake.conditions else None

        def act() -> Object:
            there = self.fake.objects.get(name)
            if wanted is not None and int(wanted) != (there.generation if there else 0):
                raise Refusal(412, "conditionNotMet")
            self._within_quota(name, len(data))
            return self.fake.store(name, data, properties)

        made: Object = self.fake.change(act)
        return made

    def _within_quota(self, name: str, more: int) -> None:
        for begin, most in self.fake.quotas.items():
            held = sum(len(self.fake.objects[one].data) for one in self.fake.names(begin))
            if name.startswith(begin) and held + more > most:
                raise Refusal(403, "quotaExceeded")

    def _begin(self, query: Any, body: bytes) -> Answer:
        from tests.backends.fakegcs import Session

        properties = json.loads(body)
        _check_properties(properties)
        key = hashlib.sha256(str(time.monotonic_ns()).encode()).hexdigest()[:24]
        self.fake.sessions[key] = Session(query["name"], properties)
        address = (
            f"{self.fake.url}/upload/storage/v1/b/registry/o?uploadType=resumable&upload_id={key}"
        )
        return (
            200,
            {"Location": address.replace(self.fake.url, f"http://{self.headers['Host']}")},
            b"",
        )

    def _session(self, query: Any) -> Session:
        if query["upload_id"] not in self.fake.sessions:
            raise Refusal(410, "uploadGone")
        return self.fake.sessions[query["upload_id"]]

    def chunk(self, _bucket: str, *, query: Any, headers: Any, body: bytes) -> Answer:
        session = self._session(query)
        if session.done is not None:
            return _json(_resource(session.done))
        span = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", headers["Content-Range"])
        if span is None or (span[1] is None) != (body == b""):
            raise Refusal(400, "invalid", f"Content-Range: {headers['Content-Range']}")
        total = None if span[3] == "*" else int(span[3])
        if span[1] is not None:
            self._keep(session, int(span[1]), int(span[2]), total, body)
        if total is not None and len(session.data) == total:
            name, data = session.name, bytes(session.data)
            session.done = self._put(name, data, session.properties, {})
            return _json(_resource(session.done))
        kept = len(session.data)
        return 308, {"Range": f"bytes=0-{kept - 1}"} if kept else {}, b""

    def _keep(self, session: Session, start: int, end: int, total: int | None, body: bytes) -> None:
        if end - start + 1 != len(body) or (total is None and len(body) % UNIT):
            raise Refusal(400, "invalid", f"a chunk of {len(body)} bytes for {start}-{end}")
        if start > len(session.data):
            raise Refusal(400, "invalid", "a gap")
        self._within_quota(session.name, len(session.data) + len(body))
        fresh = body[len(session.data) - start :]  # bytes that are stored already are ignored
        if self.fake.stands_still:
            fresh = b""
        if self.fake.spoils:
            fresh = b"!" + fresh[1:]
        if self.fake.kept_of_chunk is not None:
            fresh, self.fake.kept_of_chunk = fresh[: self.fake.kept_of_chunk], None
        session.data += fresh

    def cancel(self, _bucket: str, *, query: Any, headers: Any, body: bytes) -> Answer:
        self._session(query)
        del self.fake.sessions[query["upload_id"]]
        return 499, {}, b""

    # -- batches -----------------------------------------------------------------

    def batch(self, *, query: Any, headers: Any, body: bytes) -> Answer:
        head = f"Content-Type: {headers['Content-Type']}\r\n\r\n".encode()
        parts = list(email.message_from_bytes(head + body).get_payload())
        if len(parts) > _LARGEST_BATCH:
            raise Refusal(400, "invalid", "too many calls")
        out = []
        for part in parts:
            method, address, _ = (
                part.get_payload().split("\r\n" if b"\r" in body else "\n", 1)[0].split(" ")
            )
            target = address[address.index("/", 8) :] if "://" in address else address
            self.fake.requests.append(f"batched {method} {target}")
            status, _, found = self.answer(method, target, headers, b"")
            out.append(
                f"--b\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 {status} X\r\n"
                f"Content-Type: application/json\r\n\r\n{found.decode()}\r\n"
            )
        data = "".join([*out, "--b--\r\n"]).encode()
        return 200, {"Content-Type": "multipart/mixed; boundary=b"}, data


_B, _O = r"/storage/v1/b/([^/]+)/o", r"/([^/]+)"
_IF = "ifGenerationMatch"
_ACCOUNTS = r"/computeMetadata/v1/instance/service-accounts/(?:default|[^/]+@[^/]+)"

#: path, method, handler, and the known parameters
ROUTES = (
    ("/token", "POST", "token", ""),
    ("/sts", "POST", "federated", ""),
    (f"{_ACCOUNTS}/token", "GET", "machine_token", "scopes"),
    (f"{_ACCOUNTS}/", "GET", "machine", "recursive"),
    ("/computeMetadata/v1/universe/universe-domain", "GET", "machine", ""),
    ("/computeMetadata/v1/project/project-id", "GET", "machine", ""),
    ("/", "GET", "machine", ""),
    (r"/v1/projects/-/serviceAccounts/([^:]+):signBlob", "POST", "sign_blob", ""),
    (f"/download{_B}{_O}", "GET", "media", "alt generation"),
    (f"{_B}{_O}", "GET", "metadata", "projection"),
    (f"{_B}{_O}", "DELETE", "delete", ""),
    (_B, "GET", "listing", "prefix delimiter pageToken fields projection maxResults"),
    (f"{_B}{_O}/moveTo/o{_O}", "POST", "move", ""),
    (f"{_B}{_O}/rewriteTo/b/([^/]+)/o{_O}", "POST", "rewrite", "rewriteToken"),
    (f"/upload{_B}", "POST", "upload", f"uploadType name {_IF}"),
    (f"/upload{_B}", "PUT", "chunk", "uploadType upload_id"),
    (f"/upload{_B}", "DELETE", "cancel", "uploadType upload_id"),
    ("/batch/storage/v1", "POST", "batch", ""),
)
OPEN = {"token", "federated", "machine_token", "machine"}


def _check_properties(properties: Mapping[str, str]) -> None:
    if properties.get("storageClass", "STANDARD") not in _CLASSES:
        raise Refusal(400, "invalid", "Invalid storage class")


def _error(refusal: Refusal, more: Mapping[str, str] = {}) -> Answer:
    told = {"domain": "global", "reason": refusal.reason, "message": str(refusal)}
    body = {"error": {"code": refusal.status, "message": str(refusal), "errors": [told]}}
    return refusal.status, {"Content-Type": "application/json", **more}, _dump(body)


def _json(value: Any) -> Answer:
    return 200, {"Content-Type": "application/json; charset=UTF-8"}, _dump(value)


def _dump(value: Any) -> bytes:
    return json.dumps(value).encode()


def _unbase(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def _crc(data: bytes) -> str:
    return base64.b64encode(google_crc32c.Checksum(data).digest()).decode()


def _resource(found: Object) -> dict[str, Any]:
    when = datetime.fromtimestamp(found.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {
        "kind": "storage#object",
        "name": found.name,
        "bucket": "registry",
        "generation": str(found.generation),
        "metageneration": "1",
        "size": str(len(found.data)),
        "crc32c": _crc(found.data),
        "timeCreated": when,
        "updated": when,
        **found.properties,
    }
