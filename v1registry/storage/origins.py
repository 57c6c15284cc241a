"""Origins (RFC 6454): decides which URLs that a server names may be followed.

A server names URLs in `Location`, token realms, catalogs and storage addresses. Behind a proxy that
ends TLS, it often sees plain HTTP requests only, and so names `http://` URLs.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import LocationParseError
from urllib3.util import Url, parse_url

from v1registry.storage.errors import Refused

_PORTS = {"http": 80, "https": 443}


class Insecure(Exception):
    """A URL that must not be followed; the text says why."""


def origin(url: str) -> tuple[str, str, int]:
    """Return scheme, host in lower case and port. Raise Insecure for anything but HTTP.

    requests uses the same parser, which decides where it connects. URLs have no backslashes: for
    urlsplit, `https://one\\@other/` is a URL of `other`. urlsplit must accept the URL as well, because
    HTTP libraries call it without handling its ValueError.
    """
    try:
        urlsplit(url)
        parts = parse_url(url)
    except (LocationParseError, ValueError):
        parts = Url()
    if parts.scheme not in _PORTS or not parts.host or "\\" in url:
        raise Insecure(f"{url[:200]!r} is not an http:// or https:// URL")
    return parts.scheme, parts.host.strip("[]"), parts.port or _PORTS[parts.scheme]


def joined(base: str, url: str) -> str:
    """Return the absolute URL for `url`, which may be relative to `base`. Raise Insecure."""
    try:
        return urljoin(base, url)
    except ValueError:
        raise Insecure(f"{url[:200]!r} is not an http:// or https:// URL") from None


def secured(url: str, base: str) -> str:
    """Return the URL to use for `url`, which the server at `base` named.

    A plain URL on the host of an https `base` becomes a URL at the origin of `base`. Raise Insecure
    for plain URLs on other hosts: they would carry passwords, tokens or layers unencrypted.
    """
    scheme, host, _ = origin(url)
    base_scheme, base_host, _ = origin(base)
    if base_scheme != "https" or scheme == "https":
        return url
    if host != base_host:
        raise Insecure(f"{base} uses https, but names the unencrypted address {url[:200]!r}")
    own = urlsplit(base)
    return urlsplit(url)._replace(scheme=own.scheme, netloc=own.netloc).geturl()


class NoRedirects(requests.Session):
    """Never reads `Location`: requests raises ValueError for some, even with allow_redirects=False."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


class RefusesRedirects(NoRedirects):
    """Raises TooManyRedirects for a redirect: the request's body may be a credential."""

    def send(self, request: requests.PreparedRequest, **more: Any) -> requests.Response:
        answer = super().send(request, **more)
        if answer.is_redirect:
            answer.close()
            raise requests.TooManyRedirects(f"{request.url}: answers with a redirect; not followed")
        return answer


class SecureAdapter(HTTPAdapter):
    """Adapter for `http://` where the server is configured with https: sends by `https` or refuses.

    `allowed`: plain URLs that the configuration itself names.
    """

    def __init__(self, https: HTTPAdapter, base: str, allowed: tuple[str, ...] = ()) -> None:
        super().__init__()
        self._https = https
        self._base = base
        self._allowed = {origin(url) for url in allowed}

    def send(self, request: requests.PreparedRequest, **more: Any) -> requests.Response:  # type: ignore[override]
        url = str(request.url)
        try:
            if origin(url) not in self._allowed:
                request.url = secured(url, self._base)
        except Insecure as error:
            raise Refused(f"storage: {error}; nothing was sent there") from None
        return self._https.send(request, **more)


def mount(
    session: requests.Session, adapter: HTTPAdapter, base: str, allowed: tuple[str, ...] = ()
) -> None:
    """Send the session's requests by `adapter`; plain ones only if `base` is plain itself.

    Raise Refused if the configured `base` or `allowed` are not URLs.
    """
    session.mount("https://", adapter)
    try:
        plain = adapter if origin(base)[0] == "http" else SecureAdapter(adapter, base, allowed)
    except Insecure as error:
        raise Refused(f"storage: {error}") from None
    session.mount("http://", plain)
