"""Lookup of the address of the database host.

PostgreSQL's C library would look it up in the event loop, and a name server that does not answer
would stop all requests. Python's lookup runs in a thread of gevent. Those threads are few and a lookup
cannot be cancelled, so a circuit breaker refuses further lookups after a failure.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

from v1registry.lib.support.circuit_breaker import CircuitBreaker

PAUSE = 10.0  # seconds


class Addresses:
    """Sets `hostaddr` for connections to a host given by name."""

    def __init__(self) -> None:
        self._calls = CircuitBreaker(PAUSE)

    def fill_in(self, arguments: dict[str, Any]) -> None:
        """Set `hostaddr` in the arguments of psycopg. Raise OSError if the lookup fails."""
        host = arguments.get("host")
        if not isinstance(host, str) or "hostaddr" in arguments or not _is_name(host):
            return
        ticket = self._calls.admit()
        if ticket is None:
            raise OSError(f"the address of {host} could not be found a moment ago")
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except BaseException:  # including the exception of a timeout
            self._calls.failed(ticket)
            raise
        self._calls.succeeded(ticket)
        addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
        # libpq tries the addresses in turn; it requires one host for each address
        arguments["hostaddr"] = ",".join(addresses)
        arguments["host"] = ",".join([host] * len(addresses))


def _is_name(host: str) -> bool:
    """Return whether `host` is one host name: no address, no socket folder, no list of hosts."""
    if not host or host.startswith(("/", "@")) or "," in host:
        return False
    try:
        ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return True
    return False
