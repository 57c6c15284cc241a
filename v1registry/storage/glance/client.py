"""The clients of the Glance driver: sessions with Keystone tokens, and the mapping of errors.

keystoneauth1 is an extra: only the driver `glance` imports this module.
"""

from __future__ import annotations

import contextlib
import copy
import html
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import requests
from keystoneauth1 import exceptions, identity, noauth, plugin, token_endpoint
from keystoneauth1.identity import v2, v3
from keystoneauth1.session import Session
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from v1registry.storage import errors
from v1registry.storage.errors import (
    CorruptObject,
    NotFound,
    Refused,
    StorageError,
    StoreFull,
    Unavailable,
)
from v1registry.storage.origins import mount
from v1registry.storage.reasons import described
from v1registry.storage.remote import CONNECT_SECONDS, CONNECTIONS, PerThread
from v1registry.storage.retry import pauses

#: the form of an id in Glance
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

_DONE = {200, 201, 204, 206}
_RETRIED = {429, 500, 502, 503, 504}
_VERSION = re.compile(r"/v\d+(\.\d+)?$")

#: What reading the body of a response raises if the connection fails.
BREAKS = (HTTPError, OSError)
#: What a request raises for faults outside of this program.
FAILURES = (exceptions.ClientException, requests.RequestException, *BREAKS)


def storage_error(error: BaseException, key: str) -> StorageError:
    """Return the storage error for an exception of the libraries."""
    text = f"{key}: {described(error)}"
    # from Keystone; `status_error` handles those of Glance
    if isinstance(error, exceptions.HttpError):
        busy = error.http_status in (408, 429) or error.http_status >= 500
        return (Unavailable if busy else Refused)(f"{text} (Keystone)")
    if isinstance(error, exceptions.SSLError | exceptions.CatalogException):
        return Refused(text)
    return Unavailable(text)


def status_error(status: int, text: str) -> StorageError:
    """Return the storage error for an HTTP status of Glance."""
    if status in (404, 410):
        return NotFound(text)
    if status in (413, 507):  # 413: a quota, the maximum size of an image, or a full disk
        return StoreFull(text)
    if status in (408, 429) or status >= 500:
        return Unavailable(text)
    return Refused(text)


class GlanceErrors(errors.MappedErrors):
    """Turns exceptions of keystoneauth1 and requests in a `with` block into storage errors."""

    __slots__ = ()

    failures = FAILURES
    error_of = staticmethod(storage_error)


@dataclass(frozen=True, slots=True)
class CallerCredentials:
    """What a request brings: a token, the URL of its Glance, and an image that waits for data."""

    token: str = field(repr=False)
    url: str | None = None
    image: str | None = None


_CALLER: ContextVar[CallerCredentials | None] = ContextVar("glance_caller", default=None)


def caller() -> CallerCredentials | None:
    """Return the credentials of the caller whose request runs here; None: the registry's account."""
    return _CALLER.get()


def set_caller(credentials: CallerCredentials | None) -> None:
    """Use these credentials from now on, in this green thread."""
    _CALLER.set(credentials)


@contextlib.contextmanager
def acting_for(credentials: CallerCredentials | None) -> Iterator[None]:
    """Use these credentials within a `with` block."""
    before = _CALLER.set(credentials)
    try:
        yield
    finally:
        _CALLER.reset(before)


class GlanceClient:
    """The connections of one thread to Glance. Requests carry a token if Keystone is configured."""

    _callers_token: plugin.BaseAuthPlugin | None = None

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = options
        self._timeout = (CONNECT_SECONDS, options["glance_read_timeout"])
        self._auth = _auth(options)
        self._session = self._new_session()
        self._url: str | None = None

    def on_behalf(self, credentials: CallerCredentials) -> GlanceClient:
        """Return a client that uses the same connections with the caller's token."""
        other = copy.copy(self)
        other._url = credentials.url or self.endpoint()
        other._callers_token = token_endpoint.Token(other._url, credentials.token)
        return other

    def request(
        self, method: str, path: str, key: str, *, fine: Iterable[int] = (), **more: Any
    ) -> requests.Response:
        """Send a request that may be sent twice; retry it if that may help.

        `fine`: statuses to return beside those of a success, instead of raising an error.
        """
        for pause in pauses():
            try:
                with GlanceErrors(key):
                    answer = self._send(self._session, method, path, **more)
            except Unavailable as failure:
                # no retry after a timeout: the registry's client has waited as long already
                if pause is None or isinstance(failure.__cause__, exceptions.ConnectTimeout):
                    raise
            else:
                status = answer.status_code
                if status in _DONE or status in fine:
                    return answer
                if pause is None and status < 300:
                    raise CorruptObject(
                        f"{key}: the server answered with status {status}, which is not Glance's"
                    )
                if pause is None or not (status < 300 or status in _RETRIED):
                    raise status_error(answer.status_code, f"{key}: {_reason(answer)}")
            time.sleep(pause)
        raise AssertionError("unreachable")

    def upload(self, path: str, key: str, pieces: Iterable[Any]) -> None:
        """PUT a body of unknown length, without a retry, because `pieces` can be read only once.

        It uses a new connection: the server may close one that was kept open at any moment. Raise
        what `pieces` raises.
        """
        body = _Body(pieces)
        try:
            session = self._new_session()
            with GlanceErrors(key), contextlib.closing(session.session):
                answer = self._send(
                    session,
                    "PUT",
                    path,
                    data=body.chunks(),
                    headers={"Content-Type": "application/octet-stream"},
                    allow_reauth=False,
                )
        except (StorageError, _Broken):
            if body.failure is not None:
                raise body.failure from None
            raise
        if answer.status_code < 300 and answer.status_code not in _DONE:
            raise CorruptObject(
                f"{key}: the server answered with status {answer.status_code}, which is not Glance's"
            )
        if answer.status_code >= 300:
            raise status_error(answer.status_code, f"{key}: {_reason(answer)}")

    def project(self) -> str | None:
        """Return the id of the project of the registry's account; None without Keystone."""
        with GlanceErrors("storage"):
            found: str | None = self._session.get_project_id()
        return found

    def _send(self, session: Session, method: str, path: str, **more: Any) -> requests.Response:
        answer: requests.Response = session.request(
            self.endpoint() + path,
            method,
            auth=self._callers_token,
            raise_exc=False,
            redirect=False,
            log=False,
            timeout=self._timeout,
            **more,
        )
        return answer

    def endpoint(self) -> str:
        """Return Glance's URL."""
        if self._url is None:
            found = self._options["glance_url"] or self._session.get_endpoint(
                service_type="image",
                interface="public",
                region_name=self._options["glance_region_name"] or None,
            )
            if not found:
                raise Refused("storage: Keystone's catalog has no Glance: set glance_url")
            self._url = base(found)
        return self._url

    def _new_session(self) -> Session:
        session = requests.Session()
        options = self._options
        named = [options["glance_url"], *(options["glance_endpoints"] or "").split(",")]
        mount(
            session,
            HTTPAdapter(pool_maxsize=CONNECTIONS),
            options["glance_authurl"] or options["glance_url"],
            tuple(url.strip() for url in named if url and url.strip()),
        )
        return Session(
            self._auth,
            session,
            verify=self._options["glance_cacert"] or True,
            timeout=self._options["glance_read_timeout"],
            app_name="v1registry",
            redirect=False,  # a redirect would send the password or the token to another server
        )


class GlanceClients:
    """The clients of all threads."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._clients = PerThread(lambda: GlanceClient(options))

    def get(self) -> GlanceClient:
        """Return this thread's client, with the caller's token if the request has one."""
        credentials = caller()
        own = self.own()
        return own if credentials is None else own.on_behalf(credentials)

    def own(self) -> GlanceClient:
        """Return this thread's client, with the registry's own account."""
        return self._clients.get()


class _Broken(Exception):
    """Raised into the HTTP library to end a body that is incomplete."""


class _Body:
    """The pieces of a body, and the exception that ended them.

    The HTTP library must not see that exception: it takes some for faults of the server.
    """

    def __init__(self, pieces: Iterable[Any]) -> None:
        self._pieces = pieces
        self.failure: BaseException | None = None

    def chunks(self) -> Iterable[Any]:
        try:
            yield from self._pieces
        except GeneratorExit:
            raise
        except BaseException as failure:
            self.failure = failure
            raise _Broken from failure


def base(url: str) -> str:
    """Return Glance's URL without a version at its end."""
    return _VERSION.sub("", url.rstrip("/"))


def _auth(options: Mapping[str, Any]) -> plugin.BaseAuthPlugin:
    """Return the plugin of keystoneauth that fetches tokens; the URL may name Keystone's version."""
    url = options["glance_authurl"]
    if not url:
        return noauth.NoAuth(endpoint=options["glance_url"])
    account = {"username": options["glance_user"], "password": options["glance_password"]}
    if url.rstrip("/").endswith("/v2.0"):
        return v2.Password(url, tenant_name=options["glance_tenant_name"], **account)
    account |= {
        "project_name": options["glance_tenant_name"],
        "user_domain_name": options["glance_user_domain"],
        "project_domain_name": options["glance_project_domain"],
    }
    if url.rstrip("/").endswith("/v3"):
        return v3.Password(url, **account)
    return identity.Password(url, **account)


def _reason(answer: requests.Response) -> str:
    """Return status and text of an error response, which is an HTML page."""
    page = html.unescape(
        re.sub(r"<head>.*?</head>|<h1>.*?</h1>|<[^>]*>", " ", answer.text, flags=re.S)
    )
    return f"{answer.status_code} {answer.reason or ''}: {' '.join(page.split())[:300]}"
