"""HTTP client for one registry, with persistent connections, credentials and retries."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3

from v1registry.storage.origins import Insecure, NoRedirects, joined, origin, secured
from v1registry.storage.reasons import reason_of
from v1registry.transfer.challenge import Keyring
from v1registry.transfer.connections import Connections
from v1registry.transfer.credentials import RegistryLogin
from v1registry.transfer.errors import Gone, Rejected, Unreachable
from v1registry.transfer.reasons import retry_after, words_of

TRIES = 6  # attempts of one request, including the first
_FIRST_WAIT = 0.5  # seconds before the first retry; doubled for each further retry
_LONGEST_WAIT = 30.0
_CONNECT = 10.0  # seconds
_LONGER = 5  # factor of the timeout while a registry stores a body, or does not answer at all
STILL = 60.0  # seconds: timeout of an answer, and of sending one piece
_STORING = ("PUT", "PATCH")
_TEMPORARY = frozenset({408, 425, 429, 500, 502, 503, 504})
_REDIRECTS = 5  # in a row


class Interrupted(Exception):
    """The transfer is being stopped, so no further request is sent."""


@dataclass(frozen=True, slots=True)
class _Request:
    """A request to the registry, except its URL. `body` may be called for each attempt."""

    method: str
    scopes: tuple[str, ...]
    headers: Mapping[str, str]
    body: Callable[[], Any] | bytes | None


class Http:
    """Sends requests to the registry at `url` (`https://host[:port]`).

    `verify` is True, or a file with a certificate authority, or False. Each thread has its own
    connections. Setting `stop` ends all waiting. `still`: see STILL. `notify` is called with a message
    for each retry and delay.
    """

    def __init__(
        self,
        url: str,
        account: RegistryLogin | None = None,
        *,
        verify: bool | str = True,
        stop: threading.Event | None = None,
        first_wait: float = _FIRST_WAIT,
        still: float = STILL,
        agent: str = "v1registry",
    ) -> None:
        self.url = url.rstrip("/")
        self._verify = verify
        self._keys = Keyring(account, self.url)
        self._stop = stop or threading.Event()
        self._first_wait = first_wait
        self._still = still
        self._agent = agent
        self.notify: Callable[[str], None] = lambda text: None
        self._connections = Connections(still, self._stop)
        self._away = threading.Lock()  # held by the thread that waits for the registry
        self._gone = ""  # the reason, after waiting for the registry has ended
        if verify is False:  # the user chose this: no warning with every request
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        self._local = threading.local()

    def send(
        self,
        method: str,
        path: str,
        *,
        scopes: tuple[str, ...] = (),
        good: tuple[int, ...] = (200,),
        headers: Mapping[str, str] | None = None,
        body: Callable[[], Any] | bytes | None = None,
        tries: int = TRIES,
    ) -> requests.Response:
        """Send a request, with retries, and return the response; its status is one of `good`.

        `path` is a path of this registry, or a URL that it returned. `body` is called for each of
        `tries` attempts. Raise Rejected, Unreachable, Gone if the registry answers no request at
        all, or what `body` raises.
        """
        request = _Request(method, scopes, headers or {}, body)
        what = self._what(method, path)
        for _ in range(2):
            self.still_there()
            wait = self._first_wait
            for tried in range(1, tries + 1):
                response, reason = self._attempt(request, path, good, what)
                if response is not None and not reason:
                    return response
                if tried < tries:
                    self.notify(f"{what}: {reason}; retrying")
                    self.pause(max(wait * random.uniform(0.5, 1.0), retry_after(response)))
                    wait = min(2 * wait, _LONGEST_WAIT)
            if response is not None or tries < TRIES or not self._came_back():
                break
        raise Unreachable(f"{what}: {reason}" + (f" ({tries} tries)" if tries > 1 else ""))

    def _attempt(
        self, request: _Request, path: str, good: tuple[int, ...], what: str
    ) -> tuple[requests.Response | None, str]:
        """Return the response, and the reason for a retry, empty if there is none. Raise Rejected."""
        try:
            response = self._authorized(request, path)
        except requests.exceptions.SSLError as error:
            self.check()
            raise Rejected(f"{what}: {reason_of(error)}") from None
        except requests.RequestException as error:
            return None, reason_of(error)
        if response.status_code in good:
            return response, ""
        reason = words_of(response)
        if response.status_code not in _TEMPORARY:
            raise Rejected(f"{what}: {reason}", response.status_code)
        return response, reason

    def still_there(self) -> None:
        """Raise Gone if the registry has not answered for too long."""
        if self._gone:
            raise Gone(f"{self.url} does not answer any more: {self._gone}")

    def _came_back(self) -> bool:
        """Return whether the registry answered no request and does again, so that a retry makes sense.

        Raise Gone if it does not answer within the limit.
        """
        with self._away:
            end = time.monotonic() + _LONGER * self._still
            wait, was_away = self._first_wait, False
            while True:
                self.still_there()
                try:
                    self._request(_Request("GET", (), {}, None), f"{self.url}/v2/").close()
                    return was_away
                except requests.RequestException as error:
                    reason = reason_of(error)
                if time.monotonic() > end:
                    self._gone = reason
                elif not was_away:
                    was_away = True
                    self.notify(f"{self.url} does not answer: {reason}; waiting for it")
                self.pause(wait)
                wait = min(2 * wait, _LONGEST_WAIT)

    def back_off(self, times: int) -> None:
        """Wait before a retry, after `times` failures."""
        self.pause(self._first_wait * 2.0 ** (times - 1))

    def pause(self, seconds: float) -> None:
        """Wait; raise Interrupted if the transfer is being stopped."""
        if self._stop.wait(min(seconds, _LONGEST_WAIT)):
            raise Interrupted

    def check(self) -> None:
        """Raise Interrupted if the transfer is being stopped."""
        if self._stop.is_set():
            raise Interrupted

    def _authorized(self, request: _Request, path: str) -> requests.Response:
        """Send once, and follow redirects of GET and HEAD. Send credentials to the registry's origin only."""
        self.check()
        url = self._secured(path, f"{self.url}/")
        for _ in range(_REDIRECTS):
            if origin(url) == origin(self.url):
                response = self._with_credentials(request, url)
            else:  # for example a signed URL of an object store
                response = self._request(request, url)
            if request.method not in ("GET", "HEAD") or not response.is_redirect:
                return response
            response.close()
            before, url = url, self._secured(response.headers["Location"], url)
            if url == before.replace("http:", "https:", 1):
                scheme, host, _ = urlsplit(url)[:3]
                raise Rejected(f"{self.url} redirects to https: use --to {scheme}://{host}")
        raise Rejected(f"{self._what(request.method, path)}: more than {_REDIRECTS} redirects")

    def _secured(self, location: str, base: str) -> str:
        """Return the URL to use for a location that the registry named. Raise Rejected."""
        try:
            url = secured(joined(base, location), self.url)
            origin(url)
            return url
        except Insecure as error:
            raise Rejected(f"{error}; nothing was sent there") from None

    def _with_credentials(self, request: _Request, url: str) -> requests.Response:
        """Send, and answer at most two challenges of the registry.

        Some registries refuse a Bearer token for writing, and then require Basic.
        """
        sent = self._keys.header(request.scopes)
        for answers in range(3):
            response = self._request(request, url, sent)
            challenge = response.headers.get("WWW-Authenticate")
            if response.status_code != 401 or challenge is None:
                break
            response.close()
            sent = self._keys.answer(
                challenge, request.scopes, sent, self._fetch, again=answers > 0
            )
        return response

    def _request(
        self, request: _Request, url: str, authorization: str | None = None
    ) -> requests.Response:
        data: Any = request.body() if callable(request.body) else request.body
        try:
            return self._session().request(
                request.method,
                url,
                headers={
                    **request.headers,
                    **({"Authorization": authorization} if authorization else {}),
                },
                data=data,
                timeout=(_CONNECT, self._still * (_LONGER if request.method in _STORING else 1)),
                allow_redirects=False,  # see _authorized
                verify=self._verify,
            )
        finally:
            if hasattr(data, "close"):
                data.close()

    def _fetch(self, method: str, url: str, **more: Any) -> requests.Response:
        """Send a request to a token server. Raise RequestException for a temporary failure.

        Follow redirects on the same host only, and never from https to http: the redirect would take
        the password to another server.
        """
        for _ in range(_REDIRECTS):
            response = self._session().request(
                method,
                url,
                timeout=(_CONNECT, self._still),
                verify=self._verify,
                allow_redirects=False,
                **more,
            )
            if method != "GET" or not response.is_redirect:
                break
            try:
                there = joined(url, response.headers["Location"])
                if origin(there) not in (origin(url), ("https", origin(url)[1], 443)):
                    break
            except Insecure:
                break
            response.close()
            url = there
            more.pop("params", None)  # the new URL holds them if needed
        if response.status_code in _TEMPORARY:
            raise requests.RequestException(f"{url} {words_of(response)}")
        return response

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = NoRedirects()
            for scheme in ("http://", "https://"):
                session.mount(scheme, self._connections.adapter())
            session.trust_env = True  # for proxies
            session.auth = _no_netrc  # otherwise requests would send credentials from ~/.netrc
            session.headers["User-Agent"] = self._agent
        return session

    def _what(self, method: str, path: str) -> str:
        return f"{method} {urlsplit(joined(f'{self.url}/', path)).path}"


def _no_netrc(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request
