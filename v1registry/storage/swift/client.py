"""The client of the Swift driver: tokens, retries, and the mapping of errors.

keystoneauth1 and swiftclient are extras: only the driver `swift` imports this package.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import requests
from keystoneauth1 import exceptions
from keystoneauth1.identity import v2, v3
from keystoneauth1.plugin import BaseAuthPlugin
from keystoneauth1.session import Session
from requests.adapters import HTTPAdapter
from swiftclient import authv1
from swiftclient.utils import generate_temp_url
from urllib3.exceptions import HTTPError, ReadTimeoutError

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

_SHOWN = 300  # characters of an error's body in a message

# Statuses that are retried. 401: keystoneauth has fetched a new token by then; and Swift refuses valid
# tokens while its memcached is slow. 422: damaged on the way. 498, 499: Swift's own, for too many
# requests and for a slow one.
_BUSY = {401, 408, 422, 429, 498, 499}
#: statuses of a success; others below 400 come from another program or are damaged
_DONE = {
    "GET": (200, 204, 206),
    "HEAD": (200, 204),
    "PUT": (201, 202),
    "DELETE": (200, 204),
}

#: What a call or a stream raises for faults outside of this program.
FAILURES = (exceptions.ClientException, HTTPError, OSError)  # those of requests are OSErrors


class SwiftAccount:
    """One container of one account of a Swift."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.container = str(options["swift_container"])
        self._options = options
        self._region = options["swift_region_name"] or None
        self._sessions = PerThread(self._new_session)
        _plugin(options)  # raises Refused for wrong options

    def request(
        self,
        method: str,
        name: str | None,
        *,
        ok: tuple[int, ...] = (),
        data: bytes | bytearray | None = None,
        **more: Any,
    ) -> requests.Response:
        """Send a request about an object, or about the container if `name` is None; retry it.

        Return a response of success or with a status in `ok`; raise a storage error otherwise. `more`
        are arguments of requests, and `session` to use another session than this thread's.
        """
        key = self.container if name is None else name
        for pause in pauses():
            try:
                answer = self._send(method, name, data=data, **more)
            except FAILURES as error:
                if pause is None or not _is_transient(error):
                    raise storage_error(error, key) from error
            else:
                status = answer.status_code
                if status in _DONE[method] or status in ok:
                    return answer
                if pause is None and status < 400:
                    raise CorruptObject(
                        f"{key}: the server answered with status {status}, which is not Swift's"
                    )
                if pause is None or not (status < 400 or _is_busy(status)):
                    raise self._refusal(method, name, answer)
                answer.close()
            time.sleep(pause)
        raise AssertionError("unreachable")

    def temporary_url(self, name: str, key: str, digest: str, seconds: int) -> str:
        """Return a signed URL, with which any client can fetch the object until it expires."""
        account = urlsplit(self._public())
        path = f"{account.path.rstrip('/')}/{self.container}/{name}"
        signed = str(generate_temp_url(path, seconds, key, "GET", digest=digest))
        return f"{account.scheme}://{account.netloc}{quote(path)}{signed[len(path) :]}"

    def public_url(self, name: str) -> str:
        """Return the object's URL for anonymous clients, if the container is public."""
        return _join(self._public(), self.container, name)

    def url_keys(self) -> set[str] | None:
        """Return the keys that may sign temporary URLs; None if this user may not read them."""
        account = self.request("HEAD", None, of_account=True, ok=(401, 403, 404))
        if not account.ok:
            return None
        both = (account.headers, self.request("HEAD", None).headers)
        names = [
            f"X-{of}-Meta-Temp-URL-Key{no}" for of in ("Account", "Container") for no in ("", "-2")
        ]
        return {one[name] for one in both for name in names if name in one}

    def is_public(self) -> bool:
        """Return whether anonymous clients may read the container's objects."""
        readers = self.request("HEAD", None).headers.get("X-Container-Read", "")
        return ".r:*" in readers.replace(" ", "").split(",")

    def _send(
        self,
        method: str,
        name: str | None,
        *,
        of_account: bool = False,
        session: Session | None = None,
        **more: Any,
    ) -> requests.Response:
        session = session or self.session()
        account = self._endpoint(session, self._options["swift_endpoint_type"])
        url = account if of_account else _join(account, self.container, name)
        answer = session.request(url, method, raise_exc=False, log=False, **more)
        assert isinstance(answer, requests.Response)
        return answer

    def _public(self) -> str:
        try:
            return self._endpoint(self.session(), "public")
        except FAILURES as error:
            raise storage_error(error, "authentication") from error

    def _endpoint(self, session: Session, interface: str) -> str:
        """Return the account's URL. keystoneauth fetches a token first if it has none that is valid."""
        found = session.get_endpoint(
            service_type="object-store",
            interface=interface,
            region_name=self._region,
            skip_discovery=True,
        )
        if not found:
            raise exceptions.EndpointNotFound(f"no {interface} endpoint")
        return str(found)

    def session(self) -> Session:
        """Return this thread's session."""
        return self._sessions.get()

    def _new_session(self) -> Session:
        transport = requests.Session()
        adapter = _Adapter(self._options["swift_read_timeout"])
        mount(transport, adapter, self._options["swift_authurl"])
        transport.headers["Accept-Encoding"] = "identity"  # no compression on the way
        return Session(
            auth=_plugin(self._options),
            session=transport,
            verify=self._options["swift_cacert"] or True,
            user_agent="v1registry",
            redirect=False,  # a redirect would send the password or the token to another server
        )

    def _refusal(self, method: str, name: str | None, answer: requests.Response) -> StorageError:
        missing = answer.status_code == 404
        if missing and (name is None or method == "PUT"):
            return Refused(
                f"{self.container}: swift_container names a container that does not exist"
            )
        reading = method in ("GET", "HEAD", "DELETE")
        return _refusal(name or self.container, answer, reading=reading)


class _Adapter(HTTPAdapter):
    """Sets the timeouts of all requests, to Keystone as well as to Swift."""

    def __init__(self, read_timeout: float) -> None:
        super().__init__(pool_maxsize=CONNECTIONS)
        self._timeout = (CONNECT_SECONDS, read_timeout)

    def send(self, request: Any, **more: Any) -> requests.Response:  # type: ignore[override]
        return super().send(request, **{**more, "timeout": self._timeout})


def storage_error(error: BaseException, key: str) -> StorageError:
    """Return the storage error for an error of the libraries."""
    text = f"{key}: {described(error)}"
    if isinstance(error, exceptions.Unauthorized):
        return Refused(f"{text} (swift_user or swift_password is wrong)")
    if isinstance(error, exceptions.EndpointNotFound):
        return Refused(f"{text} (swift_region_name, swift_endpoint_type)")
    if isinstance(error, exceptions.HttpError) and not _is_busy(error.http_status):
        return Refused(f"{text} (from swift_authurl)")
    if isinstance(error, exceptions.ConnectionError | exceptions.HttpError):
        return Unavailable(text)
    if isinstance(error, exceptions.ClientException):
        return Refused(text)  # a wrong catalog, or a server that is not Keystone
    return Unavailable(text)


def _refusal(key: str, answer: requests.Response, *, reading: bool) -> StorageError:
    """Return the storage error for a response of Swift."""
    status = answer.status_code
    text = f"{key}: {status} {answer.reason or ''}"
    if not reading and answer.text:
        text += f": {' '.join(answer.text.split())[:_SHOWN]}"
    answer.close()
    if status == 404:
        return NotFound(text)
    if status in (413, 507):
        return StoreFull(text)
    if status == 409 or _is_busy(status):
        return Unavailable(text)  # 409: a newer write by another client
    if status == 403:
        return Refused(f"{text} (swift_user may not do this here)")
    return Refused(text)


def _is_busy(status: int) -> bool:
    return status in _BUSY or (status >= 500 and status not in (501, 507))


def _is_transient(error: BaseException) -> bool:
    """Return whether a retry may succeed.

    Not after a read timeout: the registry's client has waited as long already.
    """
    if not isinstance(error, exceptions.ConnectionError) or isinstance(error, exceptions.SSLError):
        return False
    cause = error.__context__  # of requests; for a body that stops, it wraps urllib3's timeout
    timeouts = requests.exceptions.ReadTimeout | ReadTimeoutError
    return not isinstance(cause, timeouts) and not any(
        isinstance(one, timeouts) for one in getattr(cause, "args", ())
    )


def _join(endpoint: str, container: str, name: str | None) -> str:
    url = f"{endpoint.rstrip('/')}/{quote(container, safe='')}"
    return url if name is None else f"{url}/{quote(name)}"


def auth_version(options: Mapping[str, Any]) -> int:
    """Return the version of the authentication API: 1, 2 or 3, as configured or by the URL."""
    if options["swift_auth_version"]:
        return int(options["swift_auth_version"])
    path = urlsplit(options["swift_authurl"]).path.rstrip("/")
    if "/auth" in path or path.endswith(("/v1", "/v1.0")):
        return 1
    return 2 if path.endswith(("/v2", "/v2.0")) else 3


def _plugin(options: Mapping[str, Any]) -> BaseAuthPlugin:
    """Return the plugin of keystoneauth that fetches tokens, again when they expire."""
    version, url = auth_version(options), str(options["swift_authurl"])
    user, password = options["swift_user"], options["swift_password"]
    tenant = options["swift_tenant_name"] or options["swift_project_name"] or None
    if urlsplit(url).scheme not in ("http", "https"):
        raise Refused("swift_authurl: must be a URL that begins with http:// or https://")
    if version == 1:
        plugin: BaseAuthPlugin = authv1.PasswordPlugin(url, user, password)
        return plugin
    if tenant is None:
        raise Refused(f"swift_tenant_name: must be set with version {version} of Keystone")
    if version == 2:
        return v2.Password(
            _versioned(url, "/v2.0"), username=user, password=password, tenant_name=tenant
        )
    return v3.Password(
        _versioned(url, "/v3"),
        username=user,
        password=password,
        user_domain_name=options["swift_user_domain"],
        project_name=tenant,
        project_domain_name=options["swift_project_domain"],
    )


def _versioned(url: str, version: str) -> str:
    base = url.rstrip("/")
    return base if base.endswith(version) else base + version
