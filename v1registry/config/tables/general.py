"""Options of every registry: logging, sending layers, search."""

from __future__ import annotations

from v1registry.config.options import Option

LEVELS = ("debug", "info", "warn", "warning", "error", "critical", "fatal", "notset")

OPTIONS: tuple[Option, ...] = (
    Option(
        "loglevel",
        "choice",
        "The lowest level of messages in the log. The flavor `dev` sets `debug`.",
        default="info",
        variable="LOGLEVEL",
        choices=LEVELS,
    ),
    Option(
        "log_format",
        "choice",
        "The format of the access log and the messages: text, or one JSON object a line.",
        default="plain",
        variable="LOG_FORMAT",
        choices=("plain", "json"),
    ),
    Option(
        "debug",
        "boolean",
        "Accepted for compatibility with docker-registry 0.x. `_ping` never discloses versions,"
        " hosts or arguments.",
        default=False,
        variable="DEBUG",
    ),
    Option(
        "issue",
        "text",
        "The response to `GET /`, a JSON string.",
        default='"docker-registry server"',
    ),
    Option(
        "storage_redirect",
        "boolean",
        "Redirect clients to the store for layers, if the driver can make URLs. The driver for"
        " local files cannot.",
        default=False,
        variable="STORAGE_REDIRECT",
    ),
    Option(
        "nginx_x_accel_store",
        "URL path",
        "The path of an `internal` location of nginx. nginx then fetches layers from the object"
        " store and sends them to clients, which need not reach the store. Only for drivers that"
        " can make URLs. It takes precedence over `storage_redirect`.",
        variable="NGINX_X_ACCEL_STORE",
    ),
    Option(
        "verify_layers",
        "boolean",
        "Verify the checksum of each layer while the registry sends it. If it is wrong, the"
        " registry closes the connection before the last piece and logs an error. This costs a"
        " SHA-256 of all bytes (0.6 s of a processor for a GB), and sendfile is not used. Ranges"
        " are not verified, nor are layers that clients or nginx fetch from the store.",
        default=False,
        variable="VERIFY_LAYERS",
    ),
    Option(
        "read_only",
        "boolean",
        "Refuse every change with 503. Use it for a copy, for a read-only mount, or for a second"
        " registry on a store that another registry writes.",
        default=False,
        variable="READ_ONLY",
    ),
    Option(
        "store_id",
        "text",
        "The id in the store marker `_v1registry/store`. Set it if the store is a mounted disk:"
        " the server then does not start with another store or without the disk.",
        variable="STORE_ID",
    ),
    Option(
        "registry_endpoints",
        "endpoints",
        "The hosts in `X-Docker-Endpoints`, which tell clients where the images are: a text with"
        " commas, or a list. Default: the host of the request. Several hosts give no failover:"
        " engines do not try the next host if the first refuses connections.",
        variable="REGISTRY_ENDPOINTS",
    ),
    Option(
        "search_backend",
        "search",
        "`sqlalchemy` or `true` switches `/v1/search` on. It searches the names in the store, or"
        " the database. While it is off, searches find nothing. The flavors `local` and `dev`"
        " switch it on. With an index of our own, it is always on.",
        default=False,
        variable="SEARCH_BACKEND",
    ),
    Option(
        "sqlalchemy_index_database",
        "text",
        "The database of the search, shared by processes and nodes, if `index.database` is not"
        " set. Default: none; each process reads the names from the store. The same holds for the"
        " default of docker-registry 0.x, a file in `/tmp`.",
        variable="SQLALCHEMY_INDEX_DATABASE",
        secret=True,
    ),
)
