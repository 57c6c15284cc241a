"""What every registry has: logging, the way it runs, search."""

from __future__ import annotations

from v1registry.config.options import Option

LEVELS = ("debug", "info", "warn", "warning", "error", "critical", "fatal", "notset")

OPTIONS: tuple[Option, ...] = (
    Option(
        "loglevel",
        "choice",
        "The least severe messages that are logged. The flavor `dev` says `debug`.",
        default="info",
        variable="LOGLEVEL",
        choices=LEVELS,
    ),
    Option(
        "log_format",
        "choice",
        "Access log and messages as text, or as one JSON object a line.",
        default="plain",
        variable="LOG_FORMAT",
        choices=("plain", "json"),
    ),
    Option(
        "debug",
        "boolean",
        "Accepted as in 0.x, but `_ping` tells versions, host or arguments to nobody, with it"
        " neither.",
        default=False,
        variable="DEBUG",
    ),
    Option(
        "issue",
        "text",
        "What `GET /` answers, as a JSON string.",
        default='"docker-registry server"',
    ),
    Option(
        "storage_redirect",
        "boolean",
        "Send clients to the store itself for layers, where the driver can make URLs. Local files"
        " cannot.",
        default=False,
        variable="STORAGE_REDIRECT",
    ),
    Option(
        "nginx_x_accel_store",
        "URL path",
        "nginx fetches layers from the object store and sends them, so that clients need not reach it:"
        " the path of its `internal` location for this. For drivers that can make URLs; goes before"
        " `storage_redirect`.",
        variable="NGINX_X_ACCEL_STORE",
    ),
    Option(
        "verify_layers",
        "boolean",
        "Hold each layer that is sent through the registry against its checksum while it is sent. Where"
        " it differs, the connection ends before the last piece, and the log says so. Costs a SHA-256"
        " of all that is sent (0.6 s of a processor for a GB), and files are not sent by the kernel then."
        " Not of ranges, nor of what clients or nginx fetch themselves.",
        default=False,
        variable="VERIFY_LAYERS",
    ),
    Option(
        "read_only",
        "boolean",
        "Serve, and refuse every change with 503: for a copy, a read-only mount, or a second"
        " registry on a store that another one writes.",
        default=False,
        variable="READ_ONLY",
    ),
    Option(
        "store_id",
        "text",
        "The id in the store's marker `_v1registry/store`. Set it where the store is a mounted disk:"
        " a start with another store, or without the disk, is refused.",
        variable="STORE_ID",
    ),
    Option(
        "registry_endpoints",
        "endpoints",
        "Hosts that `X-Docker-Endpoints` tells clients to use: a text with commas, or a list."
        " Default: the host that the client asked. Several hosts are no failover: engines do not try"
        " the next one if the first refuses connections.",
        variable="REGISTRY_ENDPOINTS",
    ),
    Option(
        "search_backend",
        "search",
        "`sqlalchemy` or `true` switches `/v1/search` on: over the names in the store, or in the"
        " database. While it is off, searches find nothing. The flavors `local` and `dev` switch"
        " it on. An index of our own has it always.",
        default=False,
        variable="SEARCH_BACKEND",
    ),
    Option(
        "sqlalchemy_index_database",
        "text",
        "The database of the search, shared by processes and nodes, where there is no"
        " `index.database`. Default: none, and each process reads the names from the store; so it"
        " does with the default of 0.x, a file in `/tmp`.",
        variable="SQLALCHEMY_INDEX_DATABASE",
        secret=True,
    ),
)
