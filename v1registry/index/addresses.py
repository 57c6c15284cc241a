"""Looking up the database's host ourselves.

PostgreSQL's library does it in C, where nothing of this process goes on meanwhile: with a name server
that does not answer, no request at all. Python's own look-up waits in a thread of gevent's. Those are
few, and a look-up cannot be broken off, so after one that failed others are refused for a while.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

from v1registry.lib.support.circuit_breaker import Breaker

PAUSE = 10.0  # seconds


class Addresses:
    """Fills in `hostaddr` where a connection is to be opened to a host by its name."""

    def __init__(self) -> None:
        self._calls = Breaker(PAUSE)

    def fill_in(self, arguments: dict[str, Any]) -> None:
        """`arguments` are those of psycopg. Raise OSError if the host's address is not to be had."""
        host = arguments.get("host")
        if not isinstance(host, str) or "hostaddr" in arguments or not _is_name(host):
            return
        ticket = self._calls.admit()
        if ticket is None:
            raise OSError(f"the address of {host} could not be found a moment ago")
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except BaseException:  # broken off, too, since it took too long
            self._calls.failed(ticket)
            raise
        self._calls.succeeded(ticket)
        addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
        # one host for each address: they are tried in turn
        arguments["hostaddr"] = ",".join(addresses)
        arguments["host"] = ",".join([host] * len(addresses))


def _is_name(host: str) -> bool:
    """Not an address, a socket's folder, or several hosts, which the library sees to."""
    if not host or host.startswith(("/", "@")) or "," in host:
        return False
    try:
        ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return True
    return False
