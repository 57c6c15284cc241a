"""Options of the read-only v2 view."""

from __future__ import annotations

from v1registry.config.option import option, table


@table
class V2Options:
    """The group `v2`."""

    enabled: bool = option("boolean", True)
    """Serve every image below `/v2/` too, so that current clients can pull it ([v2.md](v2.md))."""

    hidden_from: tuple[str, ...] = option(
        "words", ["none", "docker/0.", "docker/1.", "Go-http-client/", "Go 1.1 package http"]
    )
    """Clients that do not see `/v2/` and so use v1: the beginnings of their `User-Agent`. `none`
    stands for clients without this header. Add `docker/17.` if engines 17.03 to 17.11 push."""

    hosts: tuple[str, ...] = option("words", [])
    """Host names (of the `Host` header, with or without a port) that serve v2 to all clients. Other
    host names then serve no v2."""

    port: int = option("number", 0)
    """A separate port that serves v2 to all clients; 0: none. If `v2.port` or `v2.hosts` is set,
    the port of v1 serves no v2."""

    read_pushed: int = option("duration", "5s")
    """Scan pushed layers at low priority once no push has ended for this time, so that v2 clients
    need not wait. 0: layers are scanned only when a v2 client requests them, or by `v1registry
    backfill`."""
