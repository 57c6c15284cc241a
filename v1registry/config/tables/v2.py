"""Options of the read-only v2 view."""

from __future__ import annotations

from v1registry.config.options import Option

OPTIONS: tuple[Option, ...] = (
    Option(
        "v2.enabled",
        "boolean",
        "Serve every image below `/v2/` too, so that current clients can pull it ([v2.md](v2.md)).",
        default=True,
        variable="V2_ENABLED",
    ),
    Option(
        "v2.hidden_from",
        "words",
        "Clients that do not see `/v2/` and so use v1: the beginnings of their `User-Agent`."
        " `none` stands for clients without this header. Add `docker/17.` if engines 17.03 to"
        " 17.11 push.",
        default=["none", "docker/0.", "docker/1.", "Go-http-client/", "Go 1.1 package http"],
        variable="V2_HIDDEN_FROM",
    ),
    Option(
        "v2.hosts",
        "words",
        "Host names (of the `Host` header, with or without a port) that serve v2 to all clients."
        " Other host names then serve no v2.",
        default=[],
        variable="V2_HOSTS",
    ),
    Option(
        "v2.port",
        "number",
        "A separate port that serves v2 to all clients; 0: none. If `v2.port` or `v2.hosts` is"
        " set, the port of v1 serves no v2.",
        default=0,
        variable="V2_PORT",
    ),
    Option(
        "v2.read_pushed",
        "duration",
        "Scan pushed layers at low priority once no push has ended for this time, so that v2"
        " clients need not wait. 0: layers are scanned only when a v2 client requests them, or by"
        " `v1registry backfill`.",
        default="5s",
        variable="V2_READ_PUSHED",
    ),
)
