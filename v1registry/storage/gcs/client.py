"""The clients of the GCS driver: credentials, retries, and the mapping of errors.

google-cloud-storage is an extra: only the modules of the driver `gcs` import it.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import google.auth
import requests
import urllib3.exceptions
from google.api_core.client_options import ClientOptions
from google.api_core.exceptions import GoogleAPICallError, from_http_response
from google.auth.credentials import AnonymousCredentials, Signing
from google.auth.exceptions import (
    DefaultCredentialsError,
    GoogleAuthError,
    RefreshError,
    TransportError,
)
from google.auth.transport.requests import AuthorizedSession, Request
from google.cloud import storage
from google.cloud.storage.exceptions import DataCorruption
from google.oauth2 import service_account
from requests.adapters import HTTPAdapter

from v1registry.storage.errors import NotFound, Refused, StorageError, StoreFull, Unavailable
from v1registry.storage.origins import Insecure, NoRedirects, RefusesRedirects, origin, secured
from v1registry.storage.reasons import described
from v1registry.storage.remote import CONNECT_SECONDS, CONNECTIONS, PerThread, proxies
from v1registry.storage.retry import pauses

T = TypeVar("T")

ANONYMOUS = "anonymous"  # a value of `gcs_credentials`: send requests without credentials

_ATTEMPTS = 4
_RETRY_SECONDS = 10  # no retry begins later than this after the first attempt, Retry-After included
_TRANSIENT = {408, 429, 500, 502, 503, 504}  # cloud.google.com/storage/docs/retry-strategy
_TOO_FAST = {"rateLimitExceeded", "userRateLimitExceeded"}  # some of them with status 403
_FULL = {"quotaExceeded", "dailyLimitExceeded"}
_NO_BUCKET = "The specified bucket does not exist"

# To read and write objects, and to let Google sign URLs for an account without a key here.
_SCOPES = (
    "https://www.googleapis.com/auth/devstorage.read_write",
    "https://www.googleapis.com/auth/iam",
)

_SIGN = "https://iamcredentials.{}/v1/projects/-/serviceAccounts/{}:signBlob"

_log = logging.getLogger(__name__)

#: What a call or a stream raises for faults outside of this program.
FAILURES = (
    GoogleAPICallError,
    GoogleAuthError,
    DataCorruption,
    urllib3.exceptions.HTTPError,
    OSError,  # includes the exceptions of requests
    ValueError,  # for invalid responses
)


def storage_error(error: BaseException, key: str) -> StorageError:
    """Return the storage error for an error of Google's libraries."""
    text = f"{key}: {described(error)}"
    if isinstance(error, GoogleAPICallError):
        return _answered(error, text)
    unusable = isinstance(error, RefreshError) and not _is_transient(error)
    if unusable or isinstance(error, DefaultCredentialsError):
        return Refused(text)
    return Unavailable(text)


def _answered(error: GoogleAPICallError, text: str) -> StorageError:
    reasons, code = _reasons(error), error.code or 0
    if code in _TRANSIENT or code > 501 or reasons & _TOO_FAST:
        return Unavailable(text)
    if reasons & _FULL:
        return StoreFull(text)
    if code in (404, 410):  # 410: an upload's session has expired
        if _NO_BUCKET in text:
            return Refused(f"{text} (boto_bucket names a bucket that does not exist)")
        return NotFound(text)
    return Refused(text)


def _reasons(error: GoogleAPICallError) -> set[str]:
    """Return the error's reasons as GCS names them, such as quotaExceeded."""
    errors = error.errors
    if not errors:  # the library does not read them from the response to an upload
        with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError):
            errors = error.response.json()["error"]["errors"]
    return {str(one.get("reason")) for one in errors or () if isinstance(one, Mapping)}


def _is_transient(error: BaseException) -> bool:
    """Return whether a retry may succeed.

    Not after a read timeout: the registry's client has waited as long already.
    """
    if isinstance(error, GoogleAPICallError):
        return error.code in _TRANSIENT or bool(_reasons(error) & _TOO_FAST)
    if isinstance(error, requests.ReadTimeout):
        return False
    if isinstance(error, RefreshError | TransportError):
        causes = [error.__cause__, *error.args]
        known = [cause for cause in causes if isinstance(cause, BaseException)]
        if known:
            return all(_is_transient(cause) for cause in known)
        return error.retryable or isinstance(error, TransportError)
    return not isinstance(error, GoogleAuthError)


def _retry_after(error: BaseException) -> float:
    """Return the seconds that the store asks to wait; 0 if it asks for none."""
    response = getattr(error, "response", None)
    text = str(getattr(response, "headers", {}).get("Retry-After", ""))
    return float(text) if text.isdecimal() else 0


def attempt(key: str, call: Callable[[], T]) -> T:
    """Return what `call` returns; repeat it a few times while it fails. Raise a storage error."""
    begin = time.monotonic()
    for shortest in pauses(_ATTEMPTS):
        try:
            return call()
        except FAILURES as error:
            pause = max(shortest or 0, _retry_after(error))
            is_late = time.monotonic() + pause - begin > _RETRY_SECONDS
            # the library has already retried requests for an access token
            is_final = isinstance(error, RefreshError) or not _is_transient(error)
            if shortest is None or is_late or is_final:
                raise storage_error(error, key) from error
        time.sleep(pause)
    raise AssertionError("unreachable")


class _Session(AuthorizedSession):  # type: ignore[misc]
    """Sends requests with credentials, and follows no redirects."""

    get_redirect_target = NoRedirects.get_redirect_target


class _Connections(NamedTuple):
    """The connections of one thread: a session with credentials and the library's bucket."""

    session: AuthorizedSession
    bucket: storage.Bucket
    endpoint: str
    ask: Any  # sends a request without credentials, for Google's libraries


class GcsClient:
    """The connections of all threads to one bucket. Methods raise Refused without credentials."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.timeout = (float(CONNECT_SECONDS), float(options["gcs_read_timeout"]))
        self._options = options
        self._credentials: Any = None
        self._connections = PerThread(self._connect)

    @property
    def bucket(self) -> storage.Bucket:
        """The library's bucket, with this thread's connections."""
        return self._connections.get().bucket

    def send(self, method: str, address: str, *, stream: bool = False, **more: Any) -> Any:
        """Send a request for which the library has no method. Raise if the response is an error."""
        session = self._connections.get().session
        return self._sent(session.request, method, address, stream=stream, **more)

    def send_named(self, method: str, url: str, **more: Any) -> Any:
        """Send a request to a URL that the store named; send credentials only to the store's origin.

        The URL of an upload's session is a credential itself. Raise Refused for `http://` if the
        store uses https.
        """
        session, _, endpoint, _ = self._connections.get()
        try:
            url = secured(url, endpoint)
            own = origin(url) == origin(endpoint)
        except Insecure as error:
            raise Refused(f"storage: {error}; nothing was sent there") from None
        plain = functools.partial(requests.Session.request, session)
        return self._sent(session.request if own else plain, method, url, **more)

    def _sent(
        self, send: Any, method: str, address: str, *, stream: bool = False, **more: Any
    ) -> Any:
        answer = send(
            method,
            address if "://" in address else self._connections.get().endpoint + address,
            timeout=self.timeout,
            stream=stream,
            allow_redirects=False,
            **more,
        )
        if answer.status_code >= 400 or answer.is_redirect:
            with answer:
                raise from_http_response(answer)
        return answer

    @functools.cached_property
    def signer(self) -> Signing | None:
        """The signer of URLs: the account's key, or Google's service; None if neither can sign."""
        session, _, _, ask = self._connections.get()
        credentials = session.credentials
        if isinstance(credentials, Signing):
            return credentials
        if getattr(credentials, "service_account_email", None) == "default":
            request = functools.partial(ask, timeout=self.timeout)
            attempt("storage", lambda: credentials.refresh(request))  # sets the account's name
        email = getattr(credentials, "service_account_email", None)
        if email is None:
            _log.warning("storage_redirect has no effect: these credentials cannot sign URLs")
            return None
        return _SignedByGoogle(self, _SIGN.format(credentials.universe_domain, email), email)

    def _connect(self) -> _Connections:
        options = self._options
        try:
            if self._credentials is None:
                self._credentials = _credentials(options["gcs_credentials"])
        except (GoogleAuthError, OSError, ValueError) as error:
            raise Refused(f"storage: no credentials: {error}") from error
        credentials = self._credentials
        domain = attempt("storage", lambda: credentials.universe_domain)
        endpoint = (options["gcs_endpoint"] or f"https://storage.{domain}").rstrip("/")
        tokens = RefusesRedirects()  # they would send the account's assertion to another server
        session = _Session(credentials, auth_request=Request(tokens))
        for scheme in ("https://", "http://"):
            session.mount(scheme, HTTPAdapter(pool_maxsize=CONNECTIONS))
        for one in (session, tokens):
            one.proxies = proxies(options) or {}
        try:
            client = storage.Client(
                project=None,
                credentials=credentials,
                _http=session,
                client_options=ClientOptions(api_endpoint=endpoint, universe_domain=domain),
            )
            bucket = client.bucket(options["boto_bucket"])
        except ValueError as error:
            raise Refused(f"storage: {error}") from error
        # Otherwise the library requests the bucket's metadata for tracing, in threads of its own, and
        # repeats it if the account may not read them.
        client._bucket_metadata_cache = None
        return _Connections(session, bucket, endpoint, Request(tokens))


def _credentials(file: str | None) -> Any:
    if file == ANONYMOUS:
        return AnonymousCredentials()
    if file:
        return service_account.Credentials.from_service_account_file(file, scopes=_SCOPES)
    credentials, _ = google.auth.default(scopes=_SCOPES)
    return credentials


class _SignedByGoogle(Signing):  # type: ignore[misc]
    """Signs with Google's service signBlob, for an account without a key here (a machine's role).

    google.auth.iam does the same, but with retries and timeouts of its own.
    """

    def __init__(self, client: GcsClient, address: str, email: str) -> None:
        self._client = client
        self._address = address
        self._email = email

    def sign_bytes(self, message: bytes) -> bytes:
        payload = base64.b64encode(message).decode()
        answer = self._client.send("POST", self._address, json={"payload": payload})
        return base64.b64decode(answer.json()["signedBlob"])

    @property
    def signer_email(self) -> str:
        return self._email

    @property
    def signer(self) -> None:
        """The key: none, because Google signs."""
