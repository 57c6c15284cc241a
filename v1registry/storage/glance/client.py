"""The client of the Glance driver: requests with the token of the caller or of the registry.

keystoneauth1 is an extra: only the driver `glance` imports this module.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import requests
from keystoneauth1 import noauth, plugin, token_endpoint
from keystoneauth1.session import Session

from v1registry.storage.openstack import FAILURES, OpenStackClient, password_plugin

#: the form of an id in Glance
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

_DONE = (200, 201, 204, 206)
_VERSION = re.compile(r"/v\d+(\.\d+)?$")


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


class GlanceClient(OpenStackClient):
    """Sends requests to Glance. A path begins with the version of the API.

    A request carries the caller's token, or else that of the registry's account; none without
    Keystone.
    """

    name = "glance"
    service_type = "image"
    user = "glance_user, or the caller whose token the request has,"
    address_options = "glance_url, glance_region_name"
    done = MappingProxyType(dict.fromkeys(("GET", "POST", "PUT", "PATCH", "DELETE"), _DONE))
    busy = ()

    def __init__(self, options: Mapping[str, Any]) -> None:
        named = [options["glance_url"], *(options["glance_endpoints"] or "").split(",")]
        super().__init__(
            options,
            options["glance_authurl"] or options["glance_url"],
            tuple(url.strip() for url in named if url and url.strip()),
        )
        self._url: str | None = None

    def upload(self, path: str, key: str, pieces: Iterable[Any]) -> None:
        """PUT a body of unknown length, without a retry, because `pieces` can be read only once.

        It uses a new connection: the server may close one that was kept open at any moment. Raise
        what `pieces` raises.
        """
        raised: list[BaseException] = []
        session = self.new_session(self.session().auth)
        try:
            with contextlib.closing(session.session):
                answer = self._send(
                    "PUT",
                    path,
                    session=session,
                    data=_chunks(pieces, raised),
                    headers={"Content-Type": "application/octet-stream"},
                    allow_reauth=False,
                )
        except Exception as error:
            if raised:
                raise raised[0] from None
            if isinstance(error, FAILURES):
                raise self.storage_error(error, key) from error
            raise
        if answer.status_code not in _DONE:
            raise self.refusal(answer, key)

    def project(self) -> str | None:
        """Return the id of the project of the registry's account; None without Keystone."""
        with self.mapped_errors():
            found: str | None = self.session().get_project_id()
        return found

    def endpoint(self) -> str:
        """Return the URL of the registry's own Glance."""
        with self.mapped_errors():
            return self._endpoint()

    def _endpoint(self) -> str:
        if self._url is None:
            found = self._options["glance_url"] or self.endpoint_of(self.session(), "public")
            self._url = base(found)
        return self._url

    def _send(
        self, method: str, path: str, *, session: Session | None = None, **more: Any
    ) -> requests.Response:
        credentials = caller()
        url = (credentials and credentials.url) or self._endpoint()
        token = token_endpoint.Token(url, credentials.token) if credentials else None
        answer: requests.Response = (session or self.session()).request(
            url + path, method, auth=token, raise_exc=False, log=False, **more
        )
        return answer

    def new_plugin(self) -> plugin.BaseAuthPlugin:
        """Return a plugin of keystoneauth1; the URL may name Keystone's version."""
        options, url = self._options, self._options["glance_authurl"]
        if not url:
            return noauth.NoAuth(endpoint=options["glance_url"])
        version = {"v2.0": 2, "v3": 3}.get(url.rstrip("/").rpartition("/")[2])
        domains = options["glance_user_domain"], options["glance_project_domain"]
        account = options["glance_user"], options["glance_password"], options["glance_tenant_name"]
        return password_plugin(url, version, *account, domains)


class _IncompleteBody(Exception):
    """Raised into the HTTP library to end a body that is incomplete."""


def _chunks(pieces: Iterable[Any], raised: list[BaseException]) -> Iterator[Any]:
    """Yield the pieces; add the exception that ends them to `raised`.

    The HTTP library must not see that exception: it takes some for faults of the server.
    """
    try:
        yield from pieces
    except GeneratorExit:
        raise
    except BaseException as error:
        raised.append(error)
        raise _IncompleteBody from error


def base(url: str) -> str:
    """Return Glance's URL without a version at its end."""
    return _VERSION.sub("", url.rstrip("/"))
