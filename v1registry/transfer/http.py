"""Requests to one registry: connections kept, credentials shown, retried where that may help."""

from __future__ import annotations

import email.utils
import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from v1registry.transfer.challenge import Keyring
from v1registry.transfer.credentials import Account
from v1registry.transfer.errors import Rejected, Unreachable

TRIES = 6  # of one request, the first among them
_FIRST_WAIT = 0.5  # seconds before the second try; doubled for each further one
_LONGEST_WAIT = 30.0
_CONNECT, _READ = 10.0, 300.0  # seconds; a registry may hash a large layer before it answers
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_EXCERPT = 500  # characters of an error's text that are shown

Sleep = Callable[[float], None]


class Interrupted(Exception):
    """The transfer is being stopped: nothing more is sent."""


class Http:
    """Sends requests to the registry at `url` (`https://host[:port]`).

    `verify` is True, or a file with the authority to trust, or False. Each
    thread has a connection of its own; `stop` ends waiting, in every thread.
    """

    def __init__(
        self,
        url: str,
        account: Account | None = None,
        *,
        verify: bool | str = True,
        stop: threading.Event | None = None,
        first_wait: float = _FIRST_WAIT,
        agent: str = "v1registry",
    ) -> None:
        self.url = url.rstrip("/")
        self._verify = verify
        self._keys = Keyring(account, secure=self.url.startswith("https://"))
        self._stop = stop or threading.Event()
        self._first_wait = first_wait
        self._agent = agent
        if verify is False:  # whoever says so knows it; not once more with every request
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
        **more: Any,
    ) -> requests.Response:
        """The answer to a request, its status one of `good`.

        `path` is one of this registry, or a whole URL that it gave us. `body` is
        called anew for each of `tries`. Raise Rejected, Unreachable, or what `body`
        raises.
        """
        wait = self._first_wait
        for tried in range(1, tries + 1):
            reason = ""
            try:
                response = self._authorized(method, path, scopes, headers, body, more)
            except requests.exceptions.SSLError as error:
                raise Rejected(f"{self._what(method, path)}: {_cause(error)}") from None
            except requests.RequestException as error:
                reason, response = _cause(error), None
            if response is not None:
                if response.status_code in good:
                    return response
                reason = self._reason(response)
                if response.status_code not in _PASSING:
                    text = f"{self._what(method, path)}: {reason}"
                    raise Rejected(text, response.status_code)
            if tried < tries:
                self.pause(max(wait * random.uniform(0.5, 1.0), _asked(response)))
                wait = min(2 * wait, _LONGEST_WAIT)
        raise Unreachable(f"{self._what(method, path)}: {reason} ({tries} tries)")

    def back_off(self, times: int) -> None:
        """Wait before something is tried once more that failed so many times."""
        self.pause(self._first_wait * 2.0 ** (times - 1))

    def pause(self, seconds: float) -> None:
        """Wait; raise Interrupted if the transfer is being stopped."""
        if self._stop.wait(min(seconds, _LONGEST_WAIT)):
            raise Interrupted

    def check(self) -> None:
        """Raise Interrupted if the transfer is being stopped."""
        if self._stop.is_set():
            raise Interrupted

    def _authorized(
        self,
        method: str,
        path: str,
        scopes: tuple[str, ...],
        headers: Mapping[str, str] | None,
        body: Callable[[], Any] | bytes | None,
        more: dict[str, Any],
    ) -> requests.Response:
        """One try, and once more with what the registry then asks to be shown."""
        self.check()
        url = urljoin(f"{self.url}/", path)
        if urlsplit(url).netloc != urlsplit(self.url).netloc:
            # an upload that the registry sends elsewhere: signed by it, none of our credentials
            return self._request(method, url, headers, body, more)
        sent = self._keys.header(scopes)
        for _ in range(2):
            shown = {**(headers or {}), **({"Authorization": sent} if sent else {})}
            response = self._request(method, url, shown, body, more)
            challenge = response.headers.get("WWW-Authenticate")
            if response.status_code != 401 or challenge is None:
                break
            response.close()
            sent = self._keys.answer(challenge, scopes, sent, self._fetch)
        return response

    def _request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        body: Callable[[], Any] | bytes | None,
        more: dict[str, Any],
    ) -> requests.Response:
        data: Any = body() if callable(body) else body
        try:
            return self._session().request(
                method,
                url,
                headers=dict(headers or {}),
                data=data,
                timeout=(_CONNECT, _READ),
                allow_redirects=method in ("GET", "HEAD"),
                verify=self._verify,
                **more,
            )
        finally:
            if hasattr(data, "close"):
                data.close()

    def _fetch(self, method: str, url: str, **more: Any) -> requests.Response:
        """For tokens: another server, retried by whoever retries the request."""
        return self._session().request(
            method, url, timeout=(_CONNECT, _CONNECT), verify=self._verify, **more
        )

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            session.trust_env = True  # proxies; a .netrc is no place for our credentials:
            session.auth = _no_netrc
            session.headers["User-Agent"] = self._agent
        return session

    def _what(self, method: str, path: str) -> str:
        return f"{method} {urlsplit(urljoin(f'{self.url}/', path)).path}"

    def _reason(self, response: requests.Response) -> str:
        """Status and the registry's own words, bounded, printable."""
        try:
            errors = response.json()["errors"]
            words = "; ".join(f"{e.get('code', '')} {e.get('message', '')}".strip() for e in errors)
        except (ValueError, KeyError, TypeError, AttributeError):
            words = ""
        text = f"answered {response.status_code} {words}".strip()[:_EXCERPT]
        return "".join(c if c.isprintable() else " " for c in text)


def _no_netrc(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _asked(response: requests.Response | None) -> float:
    """Seconds that the server asks us to wait, by Retry-After (RFC 9110 section 10.2.3)."""
    value = response.headers.get("Retry-After", "") if response is not None else ""
    if value.isdigit():
        return float(value)
    parsed = email.utils.parsedate_to_datetime(value) if "," in value else None
    return max(0.0, parsed.timestamp() - time.time()) if parsed else 0.0


def _cause(error: BaseException) -> str:
    """The innermost reason: requests and urllib3 wrap it several times."""
    inner: Any = error
    while inner.args and isinstance(inner.args[0], BaseException):
        inner = inner.args[0]
    reason = getattr(inner, "reason", None)
    return str(reason if isinstance(reason, BaseException) else inner)[:_EXCERPT]
