"""Options of every registry: logging, sending layers, search, uploads."""

from __future__ import annotations

from v1registry.config.option import option, table


@table
class GeneralOptions:
    """Options of every registry: logging, sending layers, search, uploads."""

    loglevel: str = option(
        "choice",
        "info",
        choices=("debug", "info", "warn", "warning", "error", "critical", "fatal", "notset"),
    )
    """The lowest level of messages in the log. The flavor `dev` sets `debug`."""

    log_format: str = option("choice", "plain", choices=("plain", "json"))
    """The format of the access log and the messages: text, or one JSON object a line."""

    debug: bool = option("boolean", False)
    """Accepted for compatibility with docker-registry 0.x. `_ping` never discloses versions, hosts
    or arguments."""

    issue: str = option("text", '"docker-registry server"', variable=None)
    """The response to `GET /`, a JSON string."""

    storage_redirect: bool = option("boolean", False)
    """Redirect clients to the store for layers, if the driver can make URLs. The driver for local
    files cannot."""

    nginx_x_accel_store: str | None = option("URL path")
    """The path of an `internal` location of nginx. nginx then fetches layers from the object store
    and sends them to clients, which need not reach the store. Only for drivers that can make URLs.
    It takes precedence over `storage_redirect`."""

    verify_layers: bool = option("boolean", False)
    """Verify the checksum of each layer while the registry sends it. If it is wrong, the registry
    closes the connection before the last piece and logs an error. This costs a SHA-256 of all bytes
    (0.6 s of a processor for a GB), and sendfile is not used. Ranges are not verified, nor are
    layers that clients or nginx fetch from the store."""

    read_only: bool = option("boolean", False)
    """Refuse every change with 503. Use it for a copy, for a read-only mount, or for a second
    registry on a store that another registry writes."""

    store_id: str | None = option("text")
    """The id in the store marker `_v1registry/store`. Set it if the store is a mounted disk: the
    server then does not start with another store or without the disk."""

    registry_endpoints: str | None = option("endpoints")
    """The hosts in `X-Docker-Endpoints`, which tell clients where the images are: a text with
    commas, or a list. Default: the host of the request. Several hosts give no failover: engines do
    not try the next host if the first refuses connections."""

    search_backend: bool = option("search", False)
    """`sqlalchemy` or `true` switches `/v1/search` on. It searches the names in the store, or the
    database. While it is off, searches find nothing. The flavors `local` and `dev` switch it on.
    With an index of our own, it is always on."""

    sqlalchemy_index_database: str | None = option("text", secret=True)
    """The database of the search, shared by processes and nodes, if `index.database` is not set.
    Default: none; each process reads the names from the store. The same holds for the default of
    docker-registry 0.x, a file in `/tmp`."""

    uploads_life: int = option("duration", "1d", at_least=1)
    """How long an abandoned upload stays after its last change. Checksums of received layers are
    kept for the same time."""

    clean_interval: int = option("duration", "1h")
    """How often the cleaner searches for abandoned uploads; 0: only by the command `clean`."""
