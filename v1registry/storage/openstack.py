"""The client of the drivers for OpenStack: sends requests by sessions of keystoneauth1.

keystoneauth1 fetches and renews tokens, and finds addresses in the catalog. This module adds what it
does not do: connections of each thread, secure addresses only, no second attempt after a read timeout,
the check that a response comes from this service, and the mapping of errors.

keystoneauth1 is an extra: only the drivers `swift` and `glance` import this module.
"""

from __future__ import annotations

import contextlib
import html
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import requests
from keystoneauth1 import exceptions, identity
from keystoneauth1.identity import v2, v3
from keystoneauth1.plugin import BaseAuthPlugin
from keystoneauth1.session import Session
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, ReadTimeoutError

from v1registry.storage.errors import (
    CorruptObject,
    NotFound,
    Refused,
    StorageError,
    StoreFull,
    Unavailable,
)
from v1registry.storage.origins import Insecure, NoRedirects, mount, origin
from v1registry.storage.reasons import described
from v1registry.storage.remote import CONNECT_SECONDS, CONNECTIONS, PerThread
from v1registry.storage.retry import pauses

_SHOWN = 300  # characters of an error's body in a message
_MARKUP = re.compile(r"<head>.*?</head>|<h1>.*?</h1>|<[^>]*>", re.DOTALL)

#: What a request or a stream raises for faults outside of this program.
FAILURES = (
    exceptions.ClientException,
    HTTPError,
    OSError,  # includes the exceptions of requests
    ValueError,  # for invalid responses, such as a broken URL
)


class OpenStackClient(ABC):
    """The sessions of all threads for one service. Its options begin with `name` and `_`."""

    name: str
    #: the name of the service in Keystone's catalog
    service_type: str
    #: whose requests they are, for messages
    user: str
    #: the options that choose an address in the catalog
    address_options: str
    #: statuses of a success, for each method; others below 400 come from another program
    done: Mapping[str, Collection[int]]
    #: statuses below 500 that are retried
    busy: Collection[int]

    def __init__(
        self, options: Mapping[str, Any], base: str, allowed: tuple[str, ...] = ()
    ) -> None:
        self._options = options
        self._base = base
        self._allowed = allowed
        self._sessions = PerThread(self.new_session)

    @abstractmethod
    def new_plugin(self) -> BaseAuthPlugin:
        """Return a plugin of keystoneauth1 that fetches tokens, again when they expire."""

    @abstractmethod
    def _send(self, method: str, path: Any, **more: Any) -> requests.Response:
        """Send a request once; `more` are arguments of requests and `session`."""

    def session(self) -> Session:
        """Return this thread's session."""
        return self._sessions.get()

    def new_session(self, auth: BaseAuthPlugin | None = None) -> Session:
        """Return a session with connections of its own, which uses the tokens of `auth`."""
        transport = NoRedirects()
        adapter = _Adapter(self._options[f"{self.name}_read_timeout"])
        mount(transport, adapter, self._base, self._allowed)
        transport.headers["Accept-Encoding"] = "identity"  # no compression on the way
        return Session(
            auth=auth or self.new_plugin(),
            session=transport,
            verify=self._options[f"{self.name}_cacert"] or True,
            user_agent="v1registry",
            redirect=False,  # a redirect would send the password or the token to another server
        )

    def endpoint_of(self, session: Session, interface: str) -> str:
        """Return the address in the catalog; keystoneauth1 fetches a token first if it has none.

        Raise Refused if it is not a URL.
        """
        found = session.get_endpoint(
            service_type=self.service_type,
            interface=interface,
            region_name=self._options[f"{self.name}_region_name"] or None,
            skip_discovery=True,
        )
        if not found:
            raise exceptions.EndpointNotFound(f"the catalog has no {interface} address")
        try:
            origin(str(found))
        except Insecure as error:
            raise Refused(
                f"the {interface} address of {self.service_type} in the catalog: {error}"
                f" ({self.address_options})"
            ) from None
        return str(found)

    def request(
        self, method: str, path: Any, key: str, *, ok: Collection[int] = (), **more: Any
    ) -> requests.Response:
        """Send a request that may be sent twice; retry it if that may help.

        Return a response of success or with a status in `ok`; raise a storage error about `key`
        otherwise. `more` are arguments of requests, and `session` to use another session than this
        thread's.
        """
        for pause in pauses():
            try:
                answer = self._send(method, path, **more)
            except FAILURES as error:
                if pause is None or not _is_transient(error):
                    raise self.storage_error(error, key) from error
            else:
                status = answer.status_code
                if status in self.done[method] or status in ok:
                    return answer
                if pause is None or not (_is_damaged(answer) or self.is_busy(status)):
                    raise self.refusal(answer, key)
                answer.close()
            time.sleep(pause)
        raise AssertionError("unreachable")

    def is_busy(self, status: int) -> bool:
        """Return whether a later request may succeed after this status."""
        return status in self.busy or _is_busy(status)

    def refusal(self, answer: requests.Response, key: str) -> StorageError:
        """Return the storage error for a response that is not a success; close the response."""
        status, text = answer.status_code, f"{key}: {answer.status_code} {answer.reason or ''}"
        # the body of a response that is being received is not worth waiting for
        if answer.raw.closed and (page := html.unescape(_MARKUP.sub(" ", answer.text))):
            text += f": {' '.join(page.split())[:_SHOWN]}"
        answer.close()
        if _is_damaged(answer):
            return CorruptObject(f"{text} (this is not an answer of {self.name.capitalize()})")
        if status in (404, 410):
            return NotFound(text)
        if status in (413, 507):  # a quota, the maximum size of an object, or a full disk
            return StoreFull(text)
        if self.is_busy(status):
            return Unavailable(text)
        return Refused(f"{text} ({self.user} may not do this here)" if status == 403 else text)

    @contextlib.contextmanager
    def mapped_errors(self) -> Iterator[None]:
        """Turn FAILURES in a `with` block about tokens and the catalog into storage errors."""
        try:
            yield
        except FAILURES as error:
            raise self.storage_error(error, "authentication") from error

    @property
    def _advice(self) -> str:
        return f"check that {self.name}_authurl names the right server, and that server's catalog"

    def storage_error(self, error: BaseException, key: str) -> StorageError:
        """Return the storage error for one of FAILURES."""
        text = f"{key}: {described(error)}"
        if isinstance(error, ValueError) and not isinstance(error, OSError):
            return Refused(f"{key}: invalid response: {error} ({self._advice})")
        if isinstance(error, exceptions.Unauthorized):
            return Refused(f"{text} ({self.name}_user or {self.name}_password is wrong)")
        if isinstance(error, exceptions.EndpointNotFound):
            return Refused(f"{text} ({self.address_options})")
        if isinstance(error, exceptions.HttpError) and not _is_busy(error.http_status):
            return Refused(f"{text} (from {self.name}_authurl)")
        passing = exceptions.ConnectionError, exceptions.HttpError, exceptions.DiscoveryFailure
        if isinstance(error, exceptions.ClientException) and not isinstance(error, passing):
            return Refused(f"{text} ({self._advice})")
        return Unavailable(text)


class _Adapter(HTTPAdapter):
    """Sets the timeouts of all requests, to Keystone as well as to the service."""

    def __init__(self, read_timeout: float) -> None:
        super().__init__(pool_maxsize=CONNECTIONS)
        self._timeout = (CONNECT_SECONDS, read_timeout)

    def send(self, request: Any, **more: Any) -> requests.Response:  # type: ignore[override]
        return super().send(request, **{**more, "timeout": self._timeout})


def _is_busy(status: int) -> bool:
    return status in (408, 429) or (status >= 500 and status not in (501, 507))


def _is_damaged(answer: requests.Response) -> bool:
    return answer.status_code < 400 and not answer.is_redirect


def _is_transient(error: BaseException) -> bool:
    """Return whether a retry may succeed.

    Not after a read timeout: the registry's client has waited as long already.
    """
    if isinstance(error, exceptions.HttpError):  # from Keystone
        return _is_busy(error.http_status)
    if not isinstance(error, exceptions.ConnectionError) or isinstance(error, exceptions.SSLError):
        return False
    cause = error.__context__  # of requests; for a body that stops, it wraps urllib3's timeout
    timeouts = requests.exceptions.ReadTimeout | ReadTimeoutError
    return not isinstance(cause, timeouts) and not any(
        isinstance(one, timeouts) for one in getattr(cause, "args", ())
    )


def password_plugin(
    url: str,
    version: int | None,
    user: str,
    password: str,
    project: str | None,
    domains: tuple[str, str],
) -> BaseAuthPlugin:
    """Return the plugin for a user of Keystone, whose versions are at `url` if `version` is None.

    `domains` are those of the user and of the project.
    """
    if version == 2:
        return v2.Password(url, username=user, password=password, tenant_name=project)
    return (identity.Password if version is None else v3.Password)(
        url,
        username=user,
        password=password,
        user_domain_name=domains[0],
        project_name=project,
        project_domain_name=domains[1],
    )
