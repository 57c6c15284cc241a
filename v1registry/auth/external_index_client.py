"""HTTP client for an index: kept connections, no redirects, limits on time and size."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import urllib3
from urllib3.exceptions import HTTPError, ProtocolError

from v1registry.lib import documents, errors
from v1registry.lib.errors import Failure
from v1registry.lib.running import Run, Within, for_size

Read = Callable[[Any], Any]

_CONNECTIONS = 8
_HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",  # so that the size limit holds for the bytes on the wire
    "User-Agent": "v1registry",
}
_RETRY_AFTER = {"Retry-After": "5"}

_log = logging.getLogger(__name__)


class IndexClient:
    """A client for the index at `endpoint`.

    `timeout` is the longest time of a whole response in seconds, which `within` enforces. `limit`
    is its largest size in bytes. `run_in_thread` runs a function on a large response. `ca` is a PEM file
    with the certificate authority of the index's certificate; None for those of the system.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        ca: str | None,
        timeout: int,
        limit: int,
        within: Within,
        run_in_thread: Run,
    ) -> None:
        self._endpoint = endpoint
        self._timeout = timeout
        self._limit = limit
        self._within = within
        self._run_in_thread = run_in_thread
        self._prefix = urllib3.util.parse_url(endpoint).path or ""
        more = {"cert_reqs": "CERT_REQUIRED", "ca_certs": ca} if endpoint[:6] == "https:" else {}
        self._pool = urllib3.connection_from_url(
            endpoint,
            maxsize=_CONNECTIONS,
            block=True,
            retries=False,
            timeout=urllib3.Timeout(connect=timeout, read=timeout),
            **more,
        )

    def ask(self, path: str, authorization: str, read: Read = lambda value: value) -> Any:
        """Return the JSON of the index's response to this Authorization; None for a refusal (4xx).

        `read` converts the JSON, and raises ValueError with the reason why it is unusable. Raise Failure
        503 if the index does not respond, or not as an index does.
        """
        return self._ask(path, {"Authorization": authorization}, read)[0]

    def ask_for_token(self, path: str, authorization: str) -> tuple[Any, str]:
        """Return the result of `ask`, and the token in the index's response; empty without one."""
        return self._ask(path, {"Authorization": authorization, "X-Docker-Token": "true"})

    def _ask(
        self, path: str, headers: Mapping[str, str], read: Read = lambda value: value
    ) -> tuple[Any, str]:
        try:
            status, body, token = self._within(self._timeout, lambda: self._get(path, headers))
        except (HTTPError, OSError) as error:
            raise self.unavailable(path, _reason(error)) from None
        if status == 200 and len(body) <= self._limit:
            try:
                return for_size(self._run_in_thread, len(body))(_value, body, read), token
            except ValueError as error:
                raise self.unavailable(path, str(error)) from None
        if status == 200:
            raise self.unavailable(path, f"its response is larger than {self._limit} bytes")
        if 400 <= status < 500 and status not in (408, 425, 429):
            return None, ""
        raise self.unavailable(path, f"its response has status {status}")

    def _get(self, path: str, headers: Mapping[str, str]) -> tuple[int, bytes, str]:
        try:
            return self._send(path, headers)
        except ProtocolError:
            # The index has closed the kept connection.
            return self._send(path, headers)

    def _send(self, path: str, headers: Mapping[str, str]) -> tuple[int, bytes, str]:
        answer = self._pool.urlopen(
            "GET",
            self._prefix + path,
            headers={**_HEADERS, **headers},
            redirect=False,
            retries=False,
            preload_content=False,
            pool_timeout=self._timeout,
        )
        try:
            body = answer.read(self._limit + 1, decode_content=False)
            if len(body) <= self._limit:
                answer.drain_conn()
                answer.release_conn()
            return answer.status, body, answer.headers.get("X-Docker-Token", "")
        finally:
            answer.close()

    def unavailable(self, path: str, reason: str) -> Failure:
        """Log why the index gave no usable response, and return the Failure for the client."""
        _log.warning("The index gave no usable response to %s: %s", self._endpoint + path, reason)
        return Failure(*errors.RIGHTS_UNAVAILABLE, _RETRY_AFTER)


def _value(body: bytes, read: Read) -> Any:
    try:
        value = documents.load(body)
    except ValueError:
        raise ValueError("its response is not JSON") from None
    return read(value)


def _reason(error: BaseException) -> str:
    """Return the reason of an error without the address, which the log message already names."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, TimeoutError | urllib3.exceptions.TimeoutError):
        return "no response within index_timeout"
    return type(error).__name__
