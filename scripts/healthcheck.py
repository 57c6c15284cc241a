"""The HEALTHCHECK of the image: exit 0 if the registry of this container answers a ping.

It looks where the server was told to listen (REGISTRY_HOST, REGISTRY_PORT), first in plain, then
over TLS. The certificate is not verified: it names the outside, and nothing is sent.
"""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import sys

TIMEOUT = 4  # seconds for each of the two tries, within the 10 of HEALTHCHECK


class UnixConnection(http.client.HTTPConnection):
    """HTTP over the socket file `path`."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(self._path)


def connections(host: str, port: int) -> list[http.client.HTTPConnection]:
    """Return the connections to try, in order."""
    if host.startswith("unix:"):
        return [UnixConnection(host.removeprefix("unix:"))]
    if host in ("", "0.0.0.0", "::", "[::]"):
        host = "::1" if ":" in host else "127.0.0.1"
    host = host.strip("[]")
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return [
        http.client.HTTPConnection(host, port, timeout=TIMEOUT),
        http.client.HTTPSConnection(host, port, timeout=TIMEOUT, context=context),
    ]


def healthy(connection: http.client.HTTPConnection) -> bool:
    """Return whether the ping is answered with 200."""
    try:
        connection.request("GET", "/v1/_ping", headers={"User-Agent": "healthcheck"})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    port = os.environ.get("REGISTRY_PORT") or "5000"
    listening = connections(
        os.environ.get("REGISTRY_HOST") or os.environ.get("REGISTRY_ADDRESS", ""),
        int(port) if port.isdigit() else 5000,  # the server ignores a service link, tcp://...
    )
    sys.exit(0 if any(healthy(connection) for connection in listening) else 1)
