"""The read-only v2 view."""

from __future__ import annotations

from v1registry.config.options import Option

OPTIONS: tuple[Option, ...] = (
    Option(
        "v2.enabled",
        "boolean",
        "Show every image to clients of today, below `/v2/`, to be pulled ([v2.md](v2.md)).",
        default=True,
        variable="V2_ENABLED",
    ),
    Option(
        "v2.hidden_from",
        "words",
        "Beginnings of the `User-Agent` of clients for which there is no v2 here, since they shall"
        " speak v1; `none` means those that send no such header. Add `docker/17.` where engines"
        " 17.03 to 17.11 push.",
        default=["none", "docker/0.", "docker/1.", "Go-http-client/", "Go 1.1 package http"],
        variable="V2_HIDDEN_FROM",
    ),
    Option(
        "v2.hosts",
        "words",
        "Host names (of the `Host` header, perhaps with a port) under which v2 is shown, to"
        " everybody; under all others to nobody.",
        default=[],
        variable="V2_HOSTS",
    ),
    Option(
        "v2.port",
        "number",
        "A port of its own for v2, shown there to everybody; 0: none. With it, or with `v2.hosts`,"
        " the port of v1 shows no v2.",
        default=0,
        variable="V2_PORT",
    ),
    Option(
        "v2.read_pushed",
        "duration",
        "Read each pushed layer, at low priority, when no push has ended for so long, for what v2"
        " clients must know of it. 0: not before the first of them asks, or `v1registry backfill` runs.",
        default="5s",
        variable="V2_READ_PUSHED",
    ),
)
